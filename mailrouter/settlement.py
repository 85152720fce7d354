"""T4b: what became of a mail, written into the register; and what a delivery report says of it later.

Every function here has the case locked, so that nobody else decides about it meanwhile.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter import citizen, diarium
from mailrouter.config import Forward, Settings
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.smarthost import Later, Never, Outcome, Sent
from mailrouter.store import postpone, settle
from mailrouter.tables import Assignment, AssignmentState, Attempt, Case, Dispatch, DispatchKind, DispatchState, Mail

ACTOR = "mailrouter"
JITTER = 0.2  # of the wait, so that a crowd of mails does not come back at the same moment

# The parts that still hope for this dispatch; a bounce to any other part changes nothing for anybody.
_LIVE = frozenset({AssignmentState.SENDING, AssignmentState.DELIVERED})


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed dispatch, on its way through a thread."""

    dispatch_id: int
    attempt_id: int
    assignment_id: int | None
    case_id: int
    case_number: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it; None when it was not tried. ``sha256`` and ``size`` are those of what was handed over."""

    task: Task
    outcome: Outcome | None
    sha256: str = ""
    size: int = 0


def settle_all(
    session: Session, results: Sequence[Result], settings: Settings, now: datetime, chance: random.Random
) -> None:
    """Write down what became of ``results``, which come ordered by case so that nobody waits in a circle."""
    tasks = [result.task for result in results]
    held = [  # the session forgets what nobody holds
        *_locked(session, Case, {task.case_id for task in tasks}),
        *_locked(session, Dispatch, {task.dispatch_id for task in tasks}),
        *_locked(session, Assignment, {task.assignment_id for task in tasks if task.assignment_id is not None}),
        *_locked(session, Attempt, {task.attempt_id for task in tasks}),
    ]
    for result in results:
        _settle(session, result, settings, now, chance)
    held.clear()


def _locked(
    session: Session, table: type[Case] | type[Dispatch] | type[Assignment] | type[Attempt], keys: set[int]
) -> Sequence[Any]:
    statement = select(table).where(col(table.id).in_(keys)).order_by(col(table.id))
    return session.exec(statement.with_for_update()).all()


def _settle(session: Session, result: Result, settings: Settings, now: datetime, chance: random.Random) -> None:
    case = session.get_one(Case, result.task.case_id)
    dispatch = session.get_one(Dispatch, result.task.dispatch_id)
    attempt = session.get_one(Attempt, result.task.attempt_id)
    outcome = result.outcome
    if outcome is None:
        session.delete(attempt)
        dispatch.attempts -= 1
        postpone(dispatch, now)
        return
    attempt.finished_at, attempt.reply = now, outcome.reply
    attempt.outcome, attempt.channel = type(outcome).__name__.lower(), outcome.channel
    if isinstance(outcome, Sent):
        dispatch.detail = dispatch.detail | {"sha256": result.sha256, "size": result.size}
    if dispatch.state is not DispatchState.QUEUED:
        _too_late(session, case, dispatch, outcome, now)
        return
    match outcome:
        case Sent():
            _sent(session, case, dispatch, outcome, settings, now)
        case Later():
            _later(session, case, dispatch, outcome, now, settings.forward, chance)
        case Never():
            _failed(session, case, dispatch, outcome.reply, now)


def _too_late(session: Session, case: Case, dispatch: Dispatch, outcome: Outcome, now: datetime) -> None:
    """It was cancelled, or bounced, while it was under way: only tell what happened."""
    settle(dispatch)
    if isinstance(outcome, Sent) and dispatch.state is DispatchState.CANCELLED:
        detail = _detail(dispatch, outcome.reply) | {"cancelled": True}
        diarium.record(session, case, EventKind.SENT, actor=ACTOR, now=now, detail=detail)


def _sent(session: Session, case: Case, dispatch: Dispatch, outcome: Sent, settings: Settings, now: datetime) -> None:
    diarium.move_dispatch(dispatch, DispatchState.SENT)
    dispatch.settled_at = now
    settle(dispatch)
    part = _part(session, dispatch)
    if dispatch.kind is DispatchKind.FORWARD and part is not None and part.state is AssignmentState.SENDING:
        diarium.move_assignment(part, AssignmentState.DELIVERED)
    detail = _detail(dispatch, outcome.reply) | {"channel": outcome.channel, "sha256": dispatch.detail["sha256"]}
    diarium.record(session, case, EventKind.SENT, actor=ACTOR, now=now, detail=detail)
    if dispatch.kind is DispatchKind.FORWARD:
        citizen.tell_who_has_it(session, case, settings, now)


def _later(
    session: Session,
    case: Case,
    dispatch: Dispatch,
    outcome: Later,
    now: datetime,
    settings: Forward,
    chance: random.Random,
) -> None:
    tries = select(func.min(Attempt.started_at), func.count()).where(
        Attempt.dispatch_id == dispatch.id, Attempt.outcome == "later"
    )
    first, count = session.exec(tries).one()
    if now - first >= timedelta(days=settings.give_up_days):
        reply = f"Gav upp efter {settings.give_up_days} dagar. Senaste svaret: {outcome.reply}"
        _failed(session, case, dispatch, reply, now)
        return
    postpone(dispatch, now + retry_wait(dispatch.attempts, settings, chance))
    if outcome.held:
        case.attention = f"Mejlet till {dispatch.recipient} är inte skickat. {outcome.reply}"
    if count == 1:
        detail = _detail(dispatch, outcome.reply)
        diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)


def retry_wait(attempts: int, settings: Forward, chance: random.Random) -> timedelta:
    """How long to wait after the ``attempts``-th try failed for now: ``forward.retry_minutes`` plus jitter."""
    minutes = settings.retry_minutes[min(attempts, len(settings.retry_minutes)) - 1]
    return timedelta(minutes=minutes) * (1 + chance.uniform(0, JITTER))


def _failed(session: Session, case: Case, dispatch: Dispatch, reply: str, now: datetime) -> None:
    """Nobody gets this mail: a forward takes its case back to the desk, a reminder asks for attention."""
    diarium.move_dispatch(dispatch, DispatchState.FAILED)
    dispatch.settled_at = now
    settle(dispatch)
    if dispatch.kind in citizen.KINDS:
        _not_told(session, case, dispatch, reply, now)
        return
    part = _part(session, dispatch)
    unit = part.unit_name if part is not None else dispatch.recipient
    detail = _detail(dispatch, reply) | {"outcome": "never"}
    if dispatch.kind in {DispatchKind.REMINDER, DispatchKind.DIGEST}:
        case.attention = f"Påminnelsen till {unit} ({dispatch.recipient}) kom inte fram: {reply}"
        diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)
        return
    if part is None or part.state not in _LIVE:
        diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)
        return
    diarium.move_assignment(part, AssignmentState.FAILED)
    settle(part)
    case.attention = f"Mejlet till {unit} ({dispatch.recipient}) kom inte fram: {reply}"
    movable = (case.state, EventKind.DELIVERY_FAILED) in diarium.CASE_MOVES
    kind = EventKind.DELIVERY_FAILED if movable else EventKind.SEND_DELAYED  # in quarantine it is at the desk already
    diarium.record(session, case, kind, actor=ACTOR, now=now, detail=detail)


def _not_told(session: Session, case: Case, dispatch: Dispatch, reply: str, now: datetime) -> None:
    """The citizen cannot be reached: nothing more goes there by itself, and an answer in words asks for a person."""
    if case.contact == dispatch.recipient:
        case.contact = ""
    detail = _detail(dispatch, reply) | {"outcome": "never"}
    written = dispatch.kind is DispatchKind.ANSWER
    if written:
        case.attention = f"Svaret till medborgaren ({dispatch.recipient}) kom inte fram: {reply}"
    movable = written and (case.state, EventKind.DELIVERY_FAILED) in diarium.CASE_MOVES
    kind = EventKind.DELIVERY_FAILED if movable else EventKind.SEND_DELAYED
    diarium.record(session, case, kind, actor=ACTOR, now=now, detail=detail)


def _part(session: Session, dispatch: Dispatch) -> Assignment | None:
    if dispatch.assignment_id is None:
        return None
    return session.get_one(Assignment, dispatch.assignment_id, with_for_update=True, populate_existing=True)


def _detail(dispatch: Dispatch, reply: str) -> dict[str, Any]:
    return {
        "dispatch": dispatch.id,
        "assignment": dispatch.assignment_id,
        "kind": dispatch.kind.value,
        "recipient": dispatch.recipient,
        "reply": reply,
    }


def take_report(session: Session, mail: Mail, report: Report, now: datetime) -> None:
    """A delivery report that came home by its token: a failure takes the case back to the desk, the rest is noted.

    A second report about a mail that failed already changes nothing: its case may have a new förvaltning.
    """
    if mail.dispatch_id is None:
        return
    case = diarium.lock(session, mail.case_id)
    dispatch = session.get_one(Dispatch, mail.dispatch_id, with_for_update=True, populate_existing=True)
    if dispatch.state not in {DispatchState.QUEUED, DispatchState.SENT}:
        return
    failure = next((failure for failure in report.failures if failure.permanent), None)
    if failure is not None:
        _failed(session, case, dispatch, _said(failure), now)
        return
    for told in report.failures:
        arrived = told.action in {"delivered", "relayed", "expanded"}
        kind = EventKind.SENT if arrived else EventKind.SEND_DELAYED
        detail = _detail(dispatch, _said(told)) | {"report": mail.id, "action": told.action}
        diarium.record(session, case, kind, actor=ACTOR, now=now, detail=detail)
    if not report.failures:
        case.attention = f"Ett leveransbesked om mejlet till {dispatch.recipient} gick inte att tyda. Läs det."


def _said(failure: Failure) -> str:
    return " ".join(filter(None, [failure.recipient, failure.action, failure.status, failure.diagnostic]))
