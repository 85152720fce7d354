"""The answer clock: when a förvaltning is reminded, and the step that queues the reminders that are due.

Days are those of the city's calendar, so summer time and New Year need no thought. Lateness is never
stored: it is a function of the answer date and today.
"""

import logging
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from mailrouter import diarium, number, workdays
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store, postpone, settle
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState, Dispatch, DispatchKind

log = logging.getLogger(__name__)

_WAITING = frozenset({CaseState.ROUTED, CaseState.OPEN})  # open: another part of it came back to the desk


def first_reminder(answer_due: date, settings: Settings, now: datetime) -> datetime | None:
    """When a förvaltning that gets a case ``now`` is reminded first; None when no step is left."""
    return next((step for step in _steps(answer_due, settings) if step > now), None)


def _steps(answer_due: date, settings: Settings) -> list[datetime]:
    """The moments of ``deadline.remind_days_before``: office hours begin, on a working day or the last before it."""
    days = {
        workdays.on_or_before(answer_due - timedelta(days=before)) for before in settings.deadline.remind_days_before
    }
    return [_opening(day, settings) for day in sorted(days)]


def _opening(day: date, settings: Settings) -> datetime:
    zone = ZoneInfo(settings.city.timezone)
    return datetime.combine(day, time(settings.deadline.office_hours[0]), zone).astimezone(UTC)


def is_office_open(settings: Settings, now: datetime) -> bool:
    """True on working days within ``deadline.office_hours``."""
    opens, closes = settings.deadline.office_hours
    local = now.astimezone(ZoneInfo(settings.city.timezone))
    return workdays.is_workday(local.date()) and opens <= local.hour < closes


def next_opening(settings: Settings, now: datetime) -> datetime:
    """When office hours begin next, later than ``now``."""
    today = now.astimezone(ZoneInfo(settings.city.timezone)).date()
    opening = _opening(workdays.on_or_after(today), settings)
    return opening if opening > now else _opening(workdays.on_or_after(today + timedelta(days=1)), settings)


def remind_due(store: Store, settings: Settings, now: datetime) -> int:
    """T5: queue a reminder for each förvaltning whose step has come; how many parts were looked at.

    Outside office hours nothing happens: what is due waits for the morning. Steps that were missed
    during an outage become one reminder.
    """
    if not is_office_open(settings, now):
        return 0
    lease = timedelta(seconds=settings.work.lease_seconds)
    with store.write() as session:
        claimed = store.claim(session, Assignment, now, limit=settings.work.batch, lease=lease)
        parts = [(part.id, part.case_id) for part in claimed]
    log.debug("remind-claimed parts=%d", len(parts))
    for assignment_id, case_id in parts:
        with store.write() as session:  # one short transaction each, and the case is always locked first
            case = diarium.lock(session, case_id)
            part = session.get_one(Assignment, assignment_id, with_for_update=True, populate_existing=True)
            if part.leased_by == store.node:
                _consider(session, case, part, settings, now)
        log.debug("remind-considered case=%s", case.number)
    return len(parts)


def _consider(session: Session, case: Case, part: Assignment, settings: Settings, now: datetime) -> None:
    """Remind, wait or stop, as the state of the part and of its case say."""
    if part.state is AssignmentState.SENDING:
        postpone(part, next_opening(settings, now))  # nobody is reminded of what has not reached them
    elif part.state is AssignmentState.DELIVERED and case.state in _WAITING:
        _remind(session, case, part, settings, now)
    else:
        settle(part)


def _remind(session: Session, case: Case, part: Assignment, settings: Settings, now: datetime) -> None:
    forwarded = forward_of(session, part.id)
    today = now.astimezone(ZoneInfo(settings.city.timezone)).date()
    reminder = Dispatch(
        case_id=case.id,
        assignment_id=part.id,
        kind=DispatchKind.REMINDER,
        recipient=forwarded.recipient,
        token=number.new_token(),
        created_at=now,
        due_at=now,
    )
    session.add(reminder)
    session.flush()
    detail = {
        "assignment": part.id,
        "unit": part.unit,
        "dispatch": reminder.id,
        "days_left": (part.answer_due - today).days,
    }
    diarium.record(session, case, EventKind.REMINDED, actor="mailrouter", now=now, detail=detail)
    steps = _steps(part.answer_due, settings)
    part.reminded = sum(step <= now for step in steps)
    following = first_reminder(part.answer_due, settings, now)
    settle(part)
    part.due_at = following


def forward_of(session: Session, assignment_id: int) -> Dispatch:
    """The forward that gave a förvaltning its part. Raises NoResultFound: a part without one is a defect of ours."""
    statement = (
        select(Dispatch)
        .where(Dispatch.assignment_id == assignment_id, Dispatch.kind == DispatchKind.FORWARD)
        .order_by(col(Dispatch.id).desc())
    )
    return session.exec(statement.limit(1)).one()
