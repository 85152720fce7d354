"""The outbox: claim a dispatch, hand it to the smarthost, have what became of it settled.

Claiming (T4a) writes the attempt down; then the mail is handed over with no transaction open;
settlement.py writes down what became of it (T4b). A crash in between is healed by the lease: the mail
goes out again under the same Message-ID, so that at most a second copy arrives and none is lost.
"""

import hashlib
import logging
import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlmodel import Session, col, select

from mailrouter import citizen, compose, deadlines, diarium, signing
from mailrouter.compose.signature import Signer, signer
from mailrouter.config import Settings
from mailrouter.letter.values import Nature
from mailrouter.organisation import Organisation
from mailrouter.settlement import Result, Task, settle_all
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

SENSITIVE_FLAGS = frozenset({"kanslig", "skyddad"})
SENSITIVE_KINDS = frozenset({"orosanmalan"})
SETTLE_PAUSE_SECONDS = 1.0  # between tries to write down what was sent while the database is away


@dataclass(frozen=True, slots=True)
class _Round:
    """One call of ``send_due``: what its threads share."""

    store: Store
    smarthost: Smarthost
    settings: Settings
    organisation: Organisation | None
    chance: random.Random
    signer: Signer | None
    now: datetime
    began: float  # time.monotonic() at ``now``

    @property
    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.began)

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.work.lease_seconds)


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
    chance = chance or random.SystemRandom()
    signed = signer(settings.forward)
    this = _Round(store, smarthost, settings, organisation, chance, signed, now, time.monotonic())
    tasks = _claim(this)
    if not tasks:
        return 0
    errors: list[Exception] = []
    with ThreadPoolExecutor(settings.smarthost.connections, thread_name_prefix="send") as pool:
        under_way: set[Future[Result]] = {pool.submit(_carry, this, task) for task in tasks}
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            results = [future.result() for future in done]
            errors += _write_down(this, sorted(results, key=lambda result: result.task.case_id))
    if errors:
        raise errors[0]
    return len(tasks)


def _claim(this: _Round) -> list[Task]:
    """T4a: take what is due and write down that it is being tried."""
    with this.store.write() as session:
        claimed = this.store.claim(
            session,
            Dispatch,
            this.now,
            col(Dispatch.state) == DispatchState.QUEUED,
            limit=this.settings.work.batch,
            lease=this.lease,
        )
        wanted = [one for one in claimed if not _cancel_pointless(session, one) and not _held(this, one)]
        attempts = [Attempt(dispatch_id=dispatch.id, started_at=this.now) for dispatch in wanted]
        session.add_all(attempts)
        session.flush()
        if wanted:
            signing.make_key(session, this.settings.city, this.now)
        numbers = _numbers(session, wanted)
        tasks = [
            Task(dispatch.id, attempt.id, dispatch.assignment_id, dispatch.case_id, numbers[dispatch.case_id])
            for dispatch, attempt in zip(wanted, attempts, strict=True)
        ]
    for task in tasks:
        log.info("forward-claimed case=%s", task.case_number)
    return tasks


def _numbers(session: Session, dispatches: Sequence[Dispatch]) -> dict[int, str]:
    keys = {dispatch.case_id for dispatch in dispatches}
    return dict(session.exec(select(Case.id, Case.number).where(col(Case.id).in_(keys))).all())


def _cancel_pointless(session: Session, dispatch: Dispatch) -> bool:
    """What was queued before the förvaltning answered, or gave back, all that it is reminded of is not sent."""
    match dispatch.kind:
        case DispatchKind.REMINDER:
            parts = {dispatch.assignment_id}
        case DispatchKind.DIGEST:
            parts = {line["assignment"] for line in dispatch.detail["cases"]}
        case _:
            return False
    if AssignmentState.DELIVERED in session.exec(select(Assignment.state).where(col(Assignment.id).in_(parts))).all():
        return False
    diarium.move_dispatch(dispatch, DispatchState.CANCELLED)
    settle(dispatch)
    return True


def _held(this: _Round, dispatch: Dispatch) -> bool:
    """A digest that could not leave while the office was open waits until it opens again."""
    office = deadlines.Office.of(this.settings)
    if dispatch.kind is not DispatchKind.DIGEST or office.is_open(this.now):
        return False
    postpone(dispatch, office.next_opening(this.now))
    return True


def _carry(this: _Round, task: Task) -> Result:
    """Compose, sign and send one mail; without an outcome when there was no time to try it."""
    if this.elapsed > this.lease / 2:
        return Result(task, None)  # a slow smarthost used up the lease; another node must not send it at the same time
    try:
        with this.store.read() as session:
            ready = _compose(session, task, this.settings, this.organisation)
        octets = this.signer.sign(ready.octets) if this.signer else ready.octets
    except DBAPIError as error:
        log.warning("forward-not-read case=%s error=%s", task.case_number, type(error).__name__)
        return Result(task, Later(f"Registret gick inte att läsa ({type(error).__name__})."))
    except compose.ComposeError as error:
        return Result(task, Never(str(error)))
    except Exception as error:
        log.exception("forward-not-composed case=%s", task.case_number)
        said = f"Mejlet gick inte att sätta ihop ({type(error).__name__}). Felet finns i driftloggen."
        return Result(task, Never(said))
    log.info("forward-sending case=%s", task.case_number)
    outcome = _hand_over(this, task, ready, octets)
    if isinstance(outcome, Sent):
        log.info("forward-handed-over case=%s", task.case_number)
    return Result(task, outcome, hashlib.sha256(octets).hexdigest(), len(octets))


def _hand_over(this: _Round, task: Task, ready: "_Ready", octets: bytes) -> Outcome:
    try:
        return this.smarthost.send(
            compose.reply_address(ready.token, this.settings),
            ready.recipient,
            octets,
            outside=ready.outside,
            secure=ready.secure,
            envelope_id=ready.token,
            confirm=not ready.outside,
        )
    except Exception as error:
        log.exception("forward-not-sent case=%s", task.case_number)
        return Later(f"Fel i mailrouter ({type(error).__name__}). Felet finns i driftloggen.")


@dataclass(frozen=True, slots=True)
class _Ready:
    """A mail that can be handed over. One to a citizen may go ``outside`` the city's domains; what was judged
    sensitive crosses no network in clear."""

    recipient: str
    token: str
    octets: bytes
    outside: bool
    secure: bool


def _compose(session: Session, task: Task, settings: Settings, organisation: Organisation | None) -> _Ready:
    """The mail of a dispatch, ready to be handed over."""
    dispatch = session.get_one(Dispatch, task.dispatch_id)
    case = session.get_one(Case, dispatch.case_id)
    if dispatch.kind in citizen.KINDS:
        octets = _to_citizen(session, case, dispatch, settings)
        return _Ready(dispatch.recipient, dispatch.token, octets, outside=True, secure=False)
    assignment = session.get(Assignment, dispatch.assignment_id)
    if assignment is None:
        raise compose.ComposeError("Utskicket hör inte till någon förvaltning.")
    octets = _to_unit(session, case, assignment, dispatch, settings, organisation)
    return _Ready(dispatch.recipient, dispatch.token, octets, outside=False, secure=_is_sensitive(case, dispatch))


def _is_sensitive(case: Case, dispatch: Dispatch) -> bool:
    """Only what carries the citizen's words; a reminder tells no more than its neutral subject."""
    carries = dispatch.kind in {DispatchKind.FORWARD, DispatchKind.COMPLETION}
    return carries and bool(case.restricted or case.kind in SENSITIVE_KINDS or SENSITIVE_FLAGS & set(case.flags))


def _to_citizen(session: Session, case: Case, dispatch: Dispatch, settings: Settings) -> bytes:
    answered = session.get(Mail, dispatch.mail_id)
    if answered is None:
        raise compose.ComposeError("Mejlet som besvaras saknas i registret.")
    keys = signing.keys(session, settings.city)
    match dispatch.kind:
        case DispatchKind.ACKNOWLEDGEMENT:
            return compose.acknowledgement(case, dispatch, answered, settings, keys)
        case DispatchKind.NOTICE:
            return compose.notice(case, dispatch, answered, settings, keys)
        case _:
            return compose.answer(case, dispatch, answered, settings)


def _to_unit(
    session: Session,
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    settings: Settings,
    organisation: Organisation | None,
) -> bytes:
    if dispatch.kind is DispatchKind.DIGEST:
        return compose.digest(dispatch, settings, signing.keys(session, settings.city))
    if dispatch.kind is DispatchKind.REMINDER:
        forwarded = deadlines.forward_of(session, assignment.id)
        return compose.reminder(case, assignment, dispatch, forwarded, settings, organisation)
    mail, original = session.get(Mail, dispatch.mail_id), session.get(RawMail, dispatch.mail_id)
    if mail is None or original is None:
        raise compose.ComposeError("Originalet till mejlet saknas i registret.")
    if dispatch.kind is DispatchKind.COMPLETION:
        forwarded = deadlines.forward_of(session, assignment.id)
        return compose.completion(case, assignment, dispatch, mail, original.octets, forwarded, settings, organisation)
    is_named = mail.nature != Nature.FORM or case.sender != mail.sender  # the sender of a form is a robot
    return compose.forward(
        case,
        assignment,
        dispatch,
        original.octets,
        settings,
        organisation,
        is_named=is_named,
        keys=signing.keys(session, settings.city),
    )


def _write_down(this: _Round, results: Sequence[Result]) -> list[Exception]:
    """T4b for what is done by now, in one transaction; the errors of what could not be written down.

    While the database is away it is tried until the lease ends, since what was handed over and is not
    written down would be sent again. One result that breaks must not take the others with it.
    """
    while True:
        try:
            with this.store.write() as session:
                at = this.now + this.elapsed
                settle_all(session, results, this.settings, at, this.chance, organisation=this.organisation)
        except (OperationalError, InterfaceError) as error:
            if this.elapsed > this.lease:
                return [error]
            log.warning("forward-settle-waits mails=%d error=%s", len(results), type(error).__name__)
            time.sleep(SETTLE_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 (send_due raises it when every other mail is settled)
            if len(results) == 1:
                return [error]
            return [error for result in results for error in _write_down(this, [result])]
        else:
            for result in results:
                log.info("forward-settled case=%s", result.task.case_number)
            return []


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
                "channel": attempt.channel,
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
