"""Reading a restricted case is written down before anything of it is shown."""

from mailrouter import restrictions
from mailrouter.desk.context import Desk
from mailrouter.tables import Case


def note_reading(desk: Desk, actor: str, case: Case) -> None:
    """Write down that ``actor`` reads ``case``, when it is a restricted one."""
    if case.restricted:
        with desk.store.write() as session:
            restrictions.note_reading(session, case.id, actor, desk.clock())
