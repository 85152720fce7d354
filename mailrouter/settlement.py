"""T4b: what became of a mail, written into the register.

Every function here has the case locked, so that nobody else decides about it meanwhile.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter import citizen, diarium, number
from mailrouter.config import Forward, Settings
from mailrouter.diarium import EventKind
from mailrouter.organisation import Organisation
from mailrouter.smarthost import Later, Never, Outcome, Sent
from mailrouter.store import postpone, settle
from mailrouter.tables import Assignment, AssignmentState, Attempt, Case, Dispatch, DispatchKind, DispatchState

ACTOR = "mailrouter"
JITTER = 0.2  # of the wait, so that a crowd of mails does not come back at the same moment

# The parts that still hope for this dispatch; a bounce to any other part changes nothing for anybody.
_LIVE = frozenset({AssignmentState.SENDING, AssignmentState.DELIVERED})

RESENT = frozenset({DispatchKind.FORWARD, DispatchKind.COMPLETION})  # what must arrive; a reminder comes again anyway

# The mailbox does not exist, or no longer (RFC 3463 3.2, and the words of servers that give no such code).
_UNKNOWN = re.compile(
    r"\b5\.1\.(?:0|1|2|3|6|10)\b|\b5\.2\.1\b|\b(?:user|recipient|mailbox|address)\s+(?:is\s+)?(?:unknown|not\s+found)"
    r"|\bunknown\s+(?:user|recipient|mailbox|address)|\bno\s+such\s+(?:user|recipient|mailbox|address)"
    r"|\bdoes\s+not\s+exist|\bdoesn't\s+exist|\bfinns\s+inte|\bokänd\s+mottagare",
    re.IGNORECASE,
)


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
    session: Session,
    results: Sequence[Result],
    settings: Settings,
    now: datetime,
    chance: random.Random,
    *,
    organisation: Organisation | None = None,
) -> None:
    """Write down what became of ``results``, which come ordered by case so that nobody waits in a circle.

    ``organisation`` knows the units' alternative mailboxes.
    """
    tasks = [result.task for result in results]
    held = [  # the session forgets what nobody holds
        *_locked(session, Case, {task.case_id for task in tasks}),
        *_locked(session, Dispatch, {task.dispatch_id for task in tasks}),
        *_locked(session, Assignment, {task.assignment_id for task in tasks if task.assignment_id is not None}),
        *_locked(session, Attempt, {task.attempt_id for task in tasks}),
    ]
    for result in results:
        _settle(session, result, settings, organisation, now, chance)
    held.clear()


def _locked(
    session: Session, table: type[Case] | type[Dispatch] | type[Assignment] | type[Attempt], keys: set[int]
) -> Sequence[Any]:
    statement = select(table).where(col(table.id).in_(keys)).order_by(col(table.id))
    return session.exec(statement.with_for_update()).all()


def _settle(
    session: Session,
    result: Result,
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
    chance: random.Random,
) -> None:
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
            _later(session, case, dispatch, outcome, now, settings.forward, chance, organisation)
        case Never():
            fail(session, case, dispatch, outcome.reply, now, organisation)


def _too_late(session: Session, case: Case, dispatch: Dispatch, outcome: Outcome, now: datetime) -> None:
    """It was cancelled, or bounced, while it was under way: only tell what happened."""
    settle(dispatch)
    if isinstance(outcome, Sent) and dispatch.state is DispatchState.CANCELLED:
        detail = describe(dispatch, outcome.reply) | {"cancelled": True}
        diarium.record(session, case, EventKind.SENT, actor=ACTOR, now=now, detail=detail)


def _sent(session: Session, case: Case, dispatch: Dispatch, outcome: Sent, settings: Settings, now: datetime) -> None:
    diarium.move_dispatch(dispatch, DispatchState.SENT)
    dispatch.settled_at = now
    settle(dispatch)
    part = _part(session, dispatch)
    if dispatch.kind is DispatchKind.FORWARD and part is not None and part.state is AssignmentState.SENDING:
        diarium.move_assignment(part, AssignmentState.DELIVERED)
    detail = describe(dispatch, outcome.reply) | {"channel": outcome.channel, "sha256": dispatch.detail["sha256"]}
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
    organisation: Organisation | None,
) -> None:
    tries = select(func.min(Attempt.started_at), func.count()).where(
        Attempt.dispatch_id == dispatch.id, Attempt.outcome == "later"
    )
    first, count = session.exec(tries).one()
    if now - first >= timedelta(days=settings.give_up_days):
        reply = f"Gav upp efter {settings.give_up_days} dagar. Senaste svaret: {outcome.reply}"
        fail(session, case, dispatch, reply, now, organisation)
        return
    postpone(dispatch, now + retry_wait(dispatch.attempts, settings, chance))
    if outcome.held:
        case.attention = f"Mejlet till {dispatch.recipient} är inte skickat. {outcome.reply}"
    if count == 1:
        detail = describe(dispatch, outcome.reply)
        diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)


def retry_wait(attempts: int, settings: Forward, chance: random.Random) -> timedelta:
    """How long to wait after the ``attempts``-th try failed for now: ``forward.retry_minutes`` plus jitter."""
    minutes = settings.retry_minutes[min(attempts, len(settings.retry_minutes)) - 1]
    return timedelta(minutes=minutes) * (1 + chance.uniform(0, JITTER))


def fail(
    session: Session,
    case: Case,
    dispatch: Dispatch,
    reply: str,
    now: datetime,
    organisation: Organisation | None = None,
) -> None:
    """Nobody gets this mail: a forward takes its case back to the desk, any other asks for attention.

    When the mailbox does not exist and the unit has an alternative one, that is tried once before.
    """
    diarium.move_dispatch(dispatch, DispatchState.FAILED)
    dispatch.settled_at = now
    settle(dispatch)
    if dispatch.kind in citizen.KINDS:
        _not_told(session, case, dispatch, reply, now)
        return
    part = _part(session, dispatch)
    unit = part.unit_name if part is not None else dispatch.recipient
    detail = describe(dispatch, reply) | {"outcome": "never"}
    if (
        part is not None
        and part.state in _LIVE
        and _try_alternative(session, case, dispatch, part, reply, now, organisation)
    ):
        return
    if dispatch.kind is not DispatchKind.FORWARD:
        called = "Kompletteringen" if dispatch.kind is DispatchKind.COMPLETION else "Påminnelsen"
        case.attention = f"{called} till {unit} ({dispatch.recipient}) kom inte fram: {reply}"
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


def _try_alternative(
    session: Session,
    case: Case,
    dispatch: Dispatch,
    part: Assignment,
    reply: str,
    now: datetime,
    organisation: Organisation | None,
) -> bool:
    """Send the mail to the unit's other mailbox, once, when this one does not exist; False when there is none."""
    unit = organisation.units.get(part.unit) if organisation is not None else None
    other = unit.alternative if unit is not None else None
    if not other or dispatch.kind not in RESENT or not _UNKNOWN.search(reply):
        return False
    tried = select(Dispatch.id).where(
        Dispatch.assignment_id == part.id,
        Dispatch.kind == dispatch.kind,
        Dispatch.mail_id == dispatch.mail_id,
        func.lower(Dispatch.recipient) == other.lower(),
    )
    if session.exec(tried).first() is not None:
        return False
    session.add(resend(dispatch, other, now))
    case.attention = (
        f"Brevlådan {dispatch.recipient} finns inte. Mejlet till {part.unit_name} går nu till {other}. "
        "Be driften rätta adressen."
    )
    detail = describe(dispatch, reply) | {"outcome": "never", "alternative": other}
    diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)
    return True


def resend(dispatch: Dispatch, recipient: str, due_at: datetime) -> Dispatch:
    """The same mail once more, as a mail of its own: a bounce of the first must not be taken for one of the second."""
    first = dispatch.detail.get("first_created_at", dispatch.created_at.isoformat())
    return Dispatch(
        case_id=dispatch.case_id,
        assignment_id=dispatch.assignment_id,
        mail_id=dispatch.mail_id,
        kind=dispatch.kind,
        recipient=recipient,
        token=number.new_token(),
        created_at=dispatch.created_at,
        due_at=due_at,
        text=dispatch.text,
        detail={"again": dispatch.id, "first_created_at": first},
    )


def _not_told(session: Session, case: Case, dispatch: Dispatch, reply: str, now: datetime) -> None:
    """The citizen cannot be reached: nothing more goes there by itself, and an answer in words asks for a person."""
    if case.contact == dispatch.recipient:
        case.contact = ""
    detail = describe(dispatch, reply) | {"outcome": "never"}
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


def describe(dispatch: Dispatch, reply: str) -> dict[str, Any]:
    """What an event tells of a mail."""
    return {
        "dispatch": dispatch.id,
        "assignment": dispatch.assignment_id,
        "kind": dispatch.kind.value,
        "recipient": dispatch.recipient,
        "reply": reply,
    }
