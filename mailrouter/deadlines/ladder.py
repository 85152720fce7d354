"""The ladder: who is told what about a part of a case, and when. Pure: rows and a moment in, rungs out.

A rung is a moment. Those between the last look (``Assignment.climbed_at``) and now are due together, so an
outage makes one mail of many rungs, and a late decision leaves out what was past when it was made.
Lateness is never stored: it is a function of the answer date and today.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from mailrouter import workdays
from mailrouter.config import Deadline
from mailrouter.deadlines.office import Office
from mailrouter.organisation import Unit
from mailrouter.tables import Assignment, AssignmentState


class Step(StrEnum):
    """What somebody is told of; also in the ``reminded`` event and in a digest."""

    UNCONFIRMED = "unconfirmed"  # nobody at the desk has decided: to the desk
    UNDELIVERED = "undelivered"  # the smarthost has not taken it yet: to the desk
    PAUSED = "paused"  # the clock has stood still for long: to the desk
    DELAYED = "delayed"  # substantially late: to the desk, with a draft to the citizen (FL 11 §)
    URGENT = "urgent"  # of a kind that cannot wait, and nothing heard: a mail of its own
    UNREGISTERED = "unregistered"  # no diarienummer yet: to the registrator
    AHEAD = "ahead"  # the answer date is near, or today: to the registrator
    OVERDUE = "overdue"  # to the registrator, and later to the head of the unit too


DESK = frozenset({Step.UNCONFIRMED, Step.UNDELIVERED, Step.PAUSED, Step.DELAYED})
MAILED = frozenset({Step.UNREGISTERED, Step.AHEAD, Step.OVERDUE})  # in a digest


@dataclass(frozen=True, slots=True)
class Rung:
    """A moment at which somebody is to be told."""

    at: datetime
    step: Step


@dataclass(frozen=True, slots=True)
class Policy:
    """The clock of one kind of case at one unit."""

    weeks: int
    days: int | None  # working days to answer a kind that cannot wait; None for the others
    at_once: bool  # also at night
    reminded: bool  # about the answer; registration is asked for all the same
    remind_days_before: tuple[int, ...]
    overdue_days: int
    head_days: int
    register_days: int
    delay_weeks: int
    pause_weeks: int
    confirm_hours: int
    deliver_hours: int
    urgent_hours: int


def policy_of(settings: Deadline, unit: Unit | None, kind: str) -> Policy:
    """What holds for a kind of case at a unit: the settings, then the unit's own clock, then the kind's."""
    own = unit.clock if unit is not None else None

    def either(name: str) -> int:
        value = getattr(own, name) if own is not None else None
        return int(getattr(settings, name) if value is None else value)

    days = {**settings.kind_days, **(own.kind_days if own is not None else {})}.get(kind)
    before = own.remind_days_before if own is not None and own.remind_days_before is not None else None
    policy = Policy(
        weeks=either("weeks"),
        days=days,
        at_once=kind in settings.at_once_kinds,
        reminded=kind not in settings.unreminded_kinds,
        remind_days_before=tuple(settings.remind_days_before if before is None else before),
        overdue_days=either("overdue_days"),
        head_days=either("head_days"),
        register_days=either("register_days"),
        delay_weeks=either("delay_weeks"),
        pause_weeks=settings.pause_weeks,
        confirm_hours=settings.confirm_hours,
        deliver_hours=settings.deliver_hours,
        urgent_hours=settings.urgent_hours,
    )
    # What cannot wait is told of every working day once it is late, and to the head at once.
    return policy if days is None else replace(policy, overdue_days=1, head_days=1)


def answer_date(policy: Policy, arrived_on: date, given_on: date, paused_days: int = 0) -> date:
    """The last day to answer what came in on ``arrived_on`` and reached the unit on ``given_on``.

    Weeks count from the arrival. The days of what cannot wait count from when the unit got it, and never
    lead past the weeks; at once means that very day, whichever it is. A day off moves to the next working day.
    """
    due = workdays.answer_date(arrived_on, policy.weeks)
    if policy.days is not None:
        soon = given_on if policy.at_once and policy.days == 0 else workdays.after(given_on, policy.days)
        due = min(due, soon) if due >= given_on else soon
    return workdays.on_or_after(due + timedelta(days=paused_days)) if paused_days else due


def unconfirmed_at(policy: Policy, office: Office, since: datetime) -> datetime:
    """When the desk is told that a case has waited for a decision ``since``."""
    return _soon(policy, office, since, policy.confirm_hours)


def waited_hours(policy: Policy) -> int:
    """After how many hours that is."""
    return policy.confirm_hours if policy.days is None else min(policy.confirm_hours, policy.urgent_hours)


def due(part: Assignment, policy: Policy, office: Office, now: datetime) -> list[Rung]:
    """The rungs that have come since the last look and still mean something, in order."""
    climbed = part.climbed_at or part.created_at
    return [rung for rung in rungs(part, policy, office, now) if climbed < rung.at <= now and _holds(part, rung.step)]


def following(part: Assignment, policy: Policy, office: Office, now: datetime) -> datetime | None:
    """When the part is to be looked at next; None when nothing will come of its own."""
    longest = policy.overdue_days + 2 * policy.register_days + 7 * (policy.pause_weeks + policy.delay_weeks) + 14
    far = max(now, office.opening(part.answer_due)) + timedelta(days=longest)  # past the next rung, whichever it is
    moments = (rung.at for rung in rungs(part, policy, office, far) if rung.at > now)
    return min(moments, default=None)


def rungs(part: Assignment, policy: Policy, office: Office, until: datetime) -> list[Rung]:
    """Every rung of a part after it was made and until a moment, in order, whatever state it is in."""
    found = (
        _paused(part, policy, office, until) if part.paused_at is not None else _running(part, policy, office, until)
    )
    return sorted({rung for rung in found if part.created_at < rung.at <= until}, key=lambda rung: (rung.at, rung.step))


def _running(part: Assignment, policy: Policy, office: Office, until: datetime) -> Iterator[Rung]:
    yield Rung(_soon(policy, office, part.created_at, policy.deliver_hours), Step.UNDELIVERED)
    if policy.days is not None:
        yield Rung(_soon(policy, office, part.created_at, policy.urgent_hours), Step.URGENT)
    given_on = office.day(part.created_at)
    yield Rung(office.opening(workdays.after(given_on, policy.register_days)), Step.UNREGISTERED)
    if not policy.reminded:
        return
    for before in policy.remind_days_before:
        yield Rung(office.opening(workdays.on_or_before(part.answer_due - timedelta(days=before))), Step.AHEAD)
    late = part.answer_due + timedelta(days=policy.overdue_days)
    while (at := office.opening(workdays.on_or_after(late))) <= until:
        yield Rung(at, Step.OVERDUE)
        late += timedelta(days=policy.overdue_days)
    delayed = part.answer_due + timedelta(weeks=policy.delay_weeks)
    yield Rung(office.opening(workdays.on_or_after(delayed)), Step.DELAYED)


def _paused(part: Assignment, policy: Policy, office: Office, until: datetime) -> Iterator[Rung]:
    """While the clock stands still nobody outside is told; the desk is asked now and then whether it still should."""
    assert part.paused_at is not None
    day = office.day(part.paused_at) + timedelta(weeks=policy.pause_weeks)
    while (at := office.opening(workdays.on_or_after(day))) <= until:
        yield Rung(at, Step.PAUSED)
        day += timedelta(weeks=policy.pause_weeks)


def _soon(policy: Policy, office: Office, start: datetime, hours: int) -> datetime:
    """So many office hours later; sooner for what cannot wait, and for what must be done at once at any hour."""
    if policy.at_once:
        return start.astimezone(UTC) + timedelta(hours=policy.urgent_hours)
    return office.after(start, hours if policy.days is None else min(hours, policy.urgent_hours))


def _holds(part: Assignment, step: Step) -> bool:
    """False for a rung whose reason is gone: it arrived, or the förvaltning has registered it."""
    if step is Step.UNDELIVERED:
        return part.state is AssignmentState.SENDING
    if step in (Step.URGENT, Step.UNREGISTERED):
        return part.state is AssignmentState.DELIVERED and not part.external_number
    return step is Step.PAUSED or part.state is AssignmentState.DELIVERED


def is_for_head(rungs_due: list[Rung], part: Assignment, policy: Policy, today: date) -> bool:
    """True when the head of the unit is told too."""
    overdue = any(rung.step is Step.OVERDUE for rung in rungs_due)
    return overdue and (today - part.answer_due).days >= policy.head_days
