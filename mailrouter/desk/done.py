"""What was just done, said at the top of the next page. It is read from the case's history, not from the address."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from mailrouter import undo
from mailrouter.desk import queries
from mailrouter.desk.auth import Act, Visitor
from mailrouter.diarium import NoSuchCaseError
from mailrouter.tables import Event


@dataclass(frozen=True, slots=True)
class Notice:
    """The newest event of a case, with the names of the units that have it; it can be undone for ``seconds`` more."""

    number: str
    event: Event
    unit_names: tuple[str, ...]
    seconds: int


def notice(session: Session, visitor: Visitor, number: str, *, now: datetime, within: timedelta) -> Notice | None:
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
    left = undo.undoable(session, case, now=now, within=within) if visitor.may(Act.SORT) else None
    seconds = math.ceil((left.until - now).total_seconds()) if left else 0
    names = {part.id: part.unit_name for part in queries.parts(session, case)}
    chosen = event.detail.get("chosen", [])
    units = tuple(names[one["assignment"]] for one in chosen if one["assignment"] in names)
    return Notice(case.number, event, units, seconds)
