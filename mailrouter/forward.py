"""The outbox: claim a dispatch, hand it to the smarthost, settle what became of it; delivery reports come home here.

T4a claims and writes the attempt down; then the mail goes out with no transaction open; T4b settles. A
crash in between is healed by the lease: the mail goes out again under the same Message-ID, so that at
most a second copy arrives and none is lost.
"""

import logging
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from mailrouter import compose, deadlines, diarium
from mailrouter.config import Forward, Settings
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.organisation import Organisation
from mailrouter.smarthost import Later, Never, Outcome, Sent, Smarthost
from mailrouter.store import Store, postpone, settle
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Attempt,
    Case,
    Dispatch,
    DispatchKind,
    DispatchState,
    Mail,
    RawMail,
)

log = logging.getLogger(__name__)

ACTOR = "mailrouter"
JITTER = 0.2  # of the wait, so that a crowd of mails does not come back at the same moment
SETTLE_PAUSE_SECONDS = 1.0  # between tries to write down what was sent while the database is away

# The parts that still hope for this dispatch; a bounce to any other part changes nothing for anybody.
_LIVE = frozenset({AssignmentState.SENDING, AssignmentState.DELIVERED})


@dataclass(frozen=True, slots=True)
class _Task:
    """A claimed dispatch, on its way through a thread."""

    dispatch_id: int
    attempt_id: int
    case_id: int
    case_number: str


class _Clock:
    """``now`` as the caller gave it, moving on with real time while mails are under way."""

    def __init__(self, now: datetime) -> None:
        self._start = now
        self._began = time.monotonic()

    @property
    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self._began)

    @property
    def now(self) -> datetime:
        return self._start + self.elapsed


def send_due(
    store: Store,
    smarthost: Smarthost,
    settings: Settings,
    now: datetime,
    *,
    organisation: Organisation | None = None,
    chance: random.Random | None = None,
) -> int:
    """Send up to ``settings.work.batch`` due dispatches; how many were claimed.

    ``organisation`` gives areas and districts their names in the mails; ``chance`` is the source of jitter.
    Raises what the database raised when an outcome could not be written down before the lease ran out.
    """
    clock = _Clock(now)
    lease = timedelta(seconds=settings.work.lease_seconds)
    tasks = _claim(store, settings, now, lease)
    if not tasks:
        return 0
    chance = chance or random.SystemRandom()
    errors: list[Exception] = []
    with ThreadPoolExecutor(settings.smarthost.connections, thread_name_prefix="send") as pool:
        sending: dict[Future[Outcome | None], _Task] = {
            pool.submit(_carry, store, smarthost, settings, organisation, task, clock, lease / 2): task
            for task in tasks
        }
        for done in as_completed(sending):
            task = sending[done]
            try:
                _write_down(store, settings, task, done.result(), clock, lease, chance)
            except Exception as error:  # noqa: BLE001 (raised below, when every other mail is settled)
                errors.append(error)
            else:
                log.info("forward-settled case=%s", task.case_number)
    if errors:
        raise errors[0]
    return len(tasks)


def _claim(store: Store, settings: Settings, now: datetime, lease: timedelta) -> list[_Task]:
    """T4a: take what is due and write down that it is being tried."""
    tasks = []
    with store.write() as session:
        claimed = store.claim(
            session,
            Dispatch,
            now,
            col(Dispatch.state) == DispatchState.QUEUED,
            limit=settings.work.batch,
            lease=lease,
        )
        for dispatch in claimed:
            if _is_pointless(session, dispatch):
                diarium.move_dispatch(dispatch, DispatchState.CANCELLED)
                settle(dispatch)
                continue
            attempt = Attempt(dispatch_id=dispatch.id, started_at=now)
            session.add(attempt)
            session.flush()
            case = session.get_one(Case, dispatch.case_id)
            tasks.append(_Task(dispatch.id, attempt.id, case.id, case.number))
    for task in tasks:
        log.info("forward-claimed case=%s", task.case_number)
    return tasks


def _is_pointless(session: Session, dispatch: Dispatch) -> bool:
    """A reminder that was queued before the förvaltning answered, or gave the case back, is not sent."""
    if dispatch.kind is not DispatchKind.REMINDER or dispatch.assignment_id is None:
        return False
    return session.get_one(Assignment, dispatch.assignment_id).state is not AssignmentState.DELIVERED


def _carry(
    store: Store,
    smarthost: Smarthost,
    settings: Settings,
    organisation: Organisation | None,
    task: _Task,
    clock: _Clock,
    patience: timedelta,
) -> Outcome | None:
    """Compose and send one mail. None when it was not tried: it is due at once, for whoever has time."""
    if clock.elapsed > patience:
        return None  # a slow smarthost used up the lease; another node must not send what we are still sending
    try:
        with store.read() as session:
            recipient, token, octets = _compose(session, task.dispatch_id, settings, organisation)
    except DBAPIError as error:
        log.warning("forward-not-read case=%s error=%s", task.case_number, type(error).__name__)
        return None
    except compose.ComposeError as error:
        return Never(str(error))
    except Exception as error:
        log.exception("forward-not-composed case=%s", task.case_number)
        return Never(f"Mejlet gick inte att sätta ihop ({type(error).__name__}). Felet finns i driftloggen.")
    log.info("forward-sending case=%s", task.case_number)
    try:
        outcome = smarthost.send(compose.reply_address(token, settings), recipient, octets)
    except Exception as error:
        log.exception("forward-not-sent case=%s", task.case_number)
        return Later(f"Fel i mailrouter ({type(error).__name__}). Felet finns i driftloggen.")
    if isinstance(outcome, Sent):
        log.info("forward-handed-over case=%s", task.case_number)
    return outcome


def _compose(
    session: Session, dispatch_id: int, settings: Settings, organisation: Organisation | None
) -> tuple[str, str, bytes]:
    """Recipient, token and octets of a dispatch."""
    dispatch = session.get_one(Dispatch, dispatch_id)
    case = session.get_one(Case, dispatch.case_id)
    if dispatch.assignment_id is None:
        raise compose.ComposeError("Utskicket hör inte till någon förvaltning.")
    assignment = session.get_one(Assignment, dispatch.assignment_id)
    if dispatch.kind is DispatchKind.REMINDER:
        forwarded = deadlines.forward_of(session, assignment.id)
        octets = compose.reminder(case, assignment, dispatch, forwarded, settings, organisation)
    else:
        raw = session.get(RawMail, dispatch.mail_id) if dispatch.mail_id is not None else None
        if raw is None:
            raise compose.ComposeError("Originalet till mejlet saknas i registret.")
        octets = compose.forward(case, assignment, dispatch, raw.octets, settings, organisation)
    return dispatch.recipient, dispatch.token, octets


def _write_down(
    store: Store,
    settings: Settings,
    task: _Task,
    outcome: Outcome | None,
    clock: _Clock,
    lease: timedelta,
    chance: random.Random,
) -> None:
    """T4b, tried until the lease ends: what was handed over and is not written down would be sent again."""
    while True:
        try:
            with store.write() as session:
                _settle(session, settings, task, outcome, clock.now, chance)
        except DBAPIError as error:
            if clock.elapsed > lease:
                raise
            log.warning("forward-settle-waits case=%s error=%s", task.case_number, type(error).__name__)
            threading.Event().wait(SETTLE_PAUSE_SECONDS)
        else:
            return


def _settle(
    session: Session, settings: Settings, task: _Task, outcome: Outcome | None, now: datetime, chance: random.Random
) -> None:
    case = diarium.lock(session, task.case_id)
    dispatch = session.get_one(Dispatch, task.dispatch_id, with_for_update=True, populate_existing=True)
    attempt = session.get_one(Attempt, task.attempt_id)
    if outcome is None:
        session.delete(attempt)
        dispatch.attempts -= 1
        postpone(dispatch, now)
        return
    attempt.finished_at, attempt.reply = now, outcome.reply
    attempt.outcome = type(outcome).__name__.lower()
    session.flush()
    if dispatch.state is not DispatchState.QUEUED:
        _too_late(session, case, dispatch, outcome, now)
        return
    match outcome:
        case Sent():
            _sent(session, case, dispatch, outcome, now)
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


def _sent(session: Session, case: Case, dispatch: Dispatch, outcome: Sent, now: datetime) -> None:
    diarium.move_dispatch(dispatch, DispatchState.SENT)
    dispatch.settled_at = now
    settle(dispatch)
    part = _part(session, dispatch)
    if dispatch.kind is DispatchKind.FORWARD and part is not None and part.state is AssignmentState.SENDING:
        diarium.move_assignment(part, AssignmentState.DELIVERED)
    detail = _detail(dispatch, outcome.reply)
    diarium.record(session, case, EventKind.SENT, actor=ACTOR, now=now, detail=detail)


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
    part = _part(session, dispatch)
    unit = part.unit_name if part is not None else dispatch.recipient
    detail = _detail(dispatch, reply) | {"outcome": "never"}
    if dispatch.kind is DispatchKind.REMINDER:
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


def outbox(session: Session, case_id: int | None = None) -> list[dict[str, Any]]:
    """Every outgoing mail (of one case) with its attempts, oldest first, ready for JSON."""
    attempts: dict[int, list[dict[str, Any]]] = {}
    of_case = (col(Dispatch.case_id) == case_id,) if case_id is not None else ()
    tried = select(Attempt).join(Dispatch, col(Dispatch.id) == Attempt.dispatch_id).where(*of_case)
    for attempt in session.exec(tried.order_by(col(Attempt.id))):
        attempts.setdefault(attempt.dispatch_id, []).append(
            {
                "started_at": attempt.started_at.isoformat(),
                "finished_at": attempt.finished_at.isoformat() if attempt.finished_at else None,
                "outcome": attempt.outcome,
                "reply": attempt.reply,
            }
        )
    statement = select(Dispatch, Case.number).join(Case, col(Case.id) == Dispatch.case_id).where(*of_case)
    return [
        {
            "case": of,
            "kind": dispatch.kind.value,
            "recipient": dispatch.recipient,
            "state": dispatch.state.value,
            "due_at": dispatch.due_at.isoformat() if dispatch.due_at else None,
            "token": dispatch.token,
            "attempts": attempts.get(dispatch.id, []),
        }
        for dispatch, of in session.exec(statement.order_by(col(Dispatch.id)))
    ]
