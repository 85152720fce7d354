"""Takes the last decision back while nothing of it has left the house (moves R and S of docs/states.md).

A decision made at the desk queues its mails with a short delay. Until the first of them is claimed it can be
undone as if it had not been made; the history keeps both. After that a case is reopened or returned instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from mailrouter import diarium
from mailrouter.diarium import DECISIVE, EventKind
from mailrouter.store import settle
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseState,
    Dispatch,
    DispatchKind,
    DispatchState,
    Event,
)
from mailrouter.triage import TriageError

UNDOABLE = (EventKind.CONFIRMED, EventKind.CLOSED)
_FRESH = (CaseState.OPEN, CaseState.QUARANTINED)  # a decision that ended anything else withdrew what others work with
_CARRIED = (DispatchKind.FORWARD, DispatchKind.COMPLETION, DispatchKind.NOTICE, DispatchKind.ANSWER)


class TooLateError(TriageError):
    """What was decided has begun to leave, or the time to take it back is over."""


@dataclass(frozen=True, slots=True)
class Undoable:
    """A decision that can still be taken back, ``until`` its mails begin to leave."""

    event: Event
    until: datetime


def undoable(session: Session, case: Case, *, now: datetime, within: timedelta) -> Undoable | None:
    """The case's last decision when it can still be taken back; ``within`` is how long one that sends nothing may."""
    event = _last_decision(session, case)
    if event is None or not _restorable(event):
        return None
    mails = _mails(session, event)
    if not all(_waits(mail) for mail in mails):
        return None
    until = min((mail.due_at for mail in mails if mail.due_at), default=event.at + within)
    return Undoable(event, until) if until > now else None


def take_back(
    session: Session, case_id: int, *, seen: int | None, actor: str, now: datetime, within: timedelta
) -> Case:
    """Undo the last decision: its mails are cancelled, its parts withdrawn, the case stands where it stood.

    A mail whose time has come but that nobody has claimed yet may still be stopped.
    Raises TooLateError, or TriageError when there is nothing to undo, or StaleError.
    """
    case = diarium.lock(session, case_id)
    if seen is not None:
        diarium.refuse_stale(session, case, seen)
    event = _last_decision(session, case)
    if event is None or not _restorable(event):
        raise TriageError(f"case {case.number} has no decision that can be undone")
    mails = _mails(session, event, lock=True)
    if not all(_waits(mail) for mail in mails):
        raise TooLateError(f"case {case.number}: the mail has begun to leave; reopen or return it instead")
    if not mails and now > event.at + within:
        raise TooLateError(f"case {case.number}: it is too late to undo; reopen it instead")
    for mail in mails:
        diarium.move_dispatch(mail, DispatchState.CANCELLED)
        settle(mail)
    _withdraw(session, event)
    before = event.detail["before"]
    detail = {"undid": event.sequence, "what": event.kind}
    diarium.record(session, case, EventKind.UNDONE, actor=actor, now=now, detail=detail)
    if before["state"] == CaseState.QUARANTINED:
        diarium.record(session, case, EventKind.QUARANTINED, actor=actor, now=now, detail={})
    case.attention, case.subject_public = before["attention"], before["subject"]
    return case


def _last_decision(session: Session, case: Case) -> Event | None:
    """The newest event that decided something, when it is one of those that can be undone."""
    statement = (
        select(Event)
        .where(Event.case_id == case.id, col(Event.kind).in_(DECISIVE))
        .order_by(col(Event.sequence).desc())
        .limit(1)
    )
    event = session.exec(statement).first()
    return event if event is not None and event.kind in UNDOABLE else None


def _restorable(event: Event) -> bool:
    """True when the event tells what was before it, and it took nothing from a förvaltning."""
    before = event.detail.get("before")
    return before is not None and before["state"] in _FRESH and not event.detail.get("withdrawn")


def _mails(session: Session, event: Event, *, lock: bool = False) -> Sequence[Dispatch]:
    """The mails that the decision queued."""
    statement = (
        select(Dispatch)
        .where(
            Dispatch.case_id == event.case_id,
            col(Dispatch.created_at) >= event.at,
            col(Dispatch.kind).in_(_CARRIED),
        )
        .order_by(col(Dispatch.id))
    )
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return session.exec(statement).all()


def _waits(mail: Dispatch) -> bool:
    return mail.state is DispatchState.QUEUED and mail.leased_until is None and mail.attempts == 0


def _withdraw(session: Session, event: Event) -> None:
    chosen = [one["assignment"] for one in event.detail.get("chosen", ())]
    parts = select(Assignment).where(col(Assignment.id).in_(chosen)).order_by(col(Assignment.id))
    for part in session.exec(parts.with_for_update()):
        diarium.move_assignment(part, AssignmentState.WITHDRAWN)
        settle(part)
