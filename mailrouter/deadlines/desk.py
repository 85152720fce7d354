"""Cases that wait at the desk for a decision: after some office hours they are marked, once for each time they came."""

from datetime import datetime, timedelta

from sqlalchemy import and_, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from mailrouter import diarium
from mailrouter.config import Settings
from mailrouter.deadlines import ladder
from mailrouter.deadlines.digests import ACTOR
from mailrouter.deadlines.ladder import Step
from mailrouter.deadlines.office import Office
from mailrouter.deadlines.remind import mark
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Event

# What brings a case to the desk; the clock of its waiting starts anew.
_BROUGHT = (
    EventKind.RECEIVED,
    EventKind.RELEASED,
    EventKind.RETURNED,
    EventKind.DELIVERY_FAILED,
    EventKind.REOPENED,
    EventKind.UNDONE,
)


def mark_waiting(store: Store, settings: Settings, now: datetime) -> int:
    """Mark each open case that nobody has decided in time; how many. What is marked already is left alone."""
    office = Office.of(settings)
    with store.read() as session:
        waiting = [
            key
            for key, kind, since in session.exec(_waiting(now - timedelta(hours=1)))
            if _moment(kind, since, settings, office) <= now
        ]
    marked = 0
    for key in waiting:
        with store.write() as session:
            marked += _mark(session, key, settings, office, now)
    return marked


def _moment(kind: str, since: datetime, settings: Settings, office: Office) -> datetime:
    return ladder.unconfirmed_at(ladder.policy_of(settings.deadline, None, kind), office, since)


def _mark(session: Session, case_id: int, settings: Settings, office: Office, now: datetime) -> bool:
    case = diarium.lock(session, case_id)
    still = session.exec(_waiting(now, case_id)).first()
    if still is None or _moment(case.kind, still[2], settings, office) > now:
        return False  # somebody was faster
    hours = ladder.waited_hours(ladder.policy_of(settings.deadline, None, case.kind))
    reason = f"Ingen har bestämt vem som ska ha ärendet på {hours} timmar."
    mark(case, reason)
    detail = {"step": Step.UNCONFIRMED.value, "reason": reason}
    diarium.record(session, case, EventKind.REMINDED, actor=ACTOR, now=now, detail=detail)
    return True


def _waiting(before: datetime, case_id: int | None = None) -> Select[int, str, datetime]:
    """The open cases without a mark that came to the desk ``before``, and when; not those told of since."""
    came, told = aliased(Event), aliased(Event)
    brought = (
        select(func.max(came.sequence))
        .where(came.case_id == Case.id, col(came.kind).in_(_BROUGHT))
        .correlate(Case)
        .scalar_subquery()
    )
    is_told = (
        select(told.id)
        .where(told.case_id == Case.id, told.kind == EventKind.REMINDED, col(told.sequence) > brought)
        .correlate(Case)
        .exists()
    )
    statement = (
        select(Case.id, Case.kind, Event.at)
        .join(Event, and_(col(Event.case_id) == Case.id, col(Event.sequence) == brought))
        .where(Case.state == CaseState.OPEN, Case.attention == "", col(Event.at) < before, ~is_told)
    )
    return statement if case_id is None else statement.where(Case.id == case_id)
