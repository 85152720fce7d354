"""What was just done, said at the top of the next page. It is read from the case's history, not from the address."""

from dataclasses import dataclass

from sqlmodel import Session

from mailrouter.desk import queries
from mailrouter.desk.auth import Visitor
from mailrouter.diarium import NoSuchCaseError
from mailrouter.tables import Event


@dataclass(frozen=True, slots=True)
class Notice:
    """The newest event of a case, with the names of the units that have it."""

    number: str
    event: Event
    unit_names: tuple[str, ...]


def notice(session: Session, visitor: Visitor, number: str) -> Notice | None:
    """What happened last to the case that somebody just left; None when there is nothing to tell."""
    if not number:
        return None
    try:
        case = queries.find(session, visitor, number)
    except NoSuchCaseError:
        return None
    event = queries.last_event(session, case)
    if event is None:
        return None
    names = {part.id: part.unit_name for part in queries.parts(session, case)}
    chosen = event.detail.get("chosen", [])
    return Notice(case.number, event, tuple(names[one["assignment"]] for one in chosen if one["assignment"] in names))
