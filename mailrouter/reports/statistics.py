"""What managers ask: how much comes in, how fast it is answered, where it waits, how good the suggestions are.

Read-only sums, made by the database; nothing grows with the number of cases but the time they take. The page
says in Swedish how each figure is counted; the words here and there must agree.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, and_, case, exists, func, literal_column, true
from sqlalchemy import select as sa_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from mailrouter.diarium import NOT_A_CASE, EventKind
from mailrouter.reports.discretion import Row, discreet, told
from mailrouter.reports.periods import Period
from mailrouter.store import Store, days_between
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState, Disposition, Event, Mail

KEPT = timedelta(minutes=1)  # figures are as old as this at most
_WAITING = (AssignmentState.SENDING, AssignmentState.DELIVERED)
_UNSENT = (CaseState.OPEN, CaseState.QUARANTINED)
# Written out, so that the indexes of such rows fit.
_CONFIRMED: ColumnElement[bool] = literal_column("event.kind = 'confirmed'")
_WAITS: ColumnElement[bool] = literal_column("assignment.state IN ('sending', 'delivered')")


@dataclass(frozen=True, slots=True)
class Inflow:
    """How many cases came in during a step of the period (a day or a week)."""

    step: Period
    count: int


@dataclass(frozen=True, slots=True)
class Answers:
    """How fast cases were answered: ``days`` counts cases by the days from arrival to answer.

    ``judged`` are those that were answered or whose weeks have passed; ``in_time`` those of them answered within.
    """

    days: Mapping[int, int] = field(default_factory=dict)
    judged: int = 0
    in_time: int = 0

    @property
    def share(self) -> float | None:
        """The part that was answered in time, or None when there is nothing to judge yet."""
        return self.in_time / self.judged if self.judged else None

    @property
    def answered(self) -> int:
        """How many were answered."""
        return sum(self.days.values())

    @property
    def median(self) -> int | None:
        """Days within which half of the answers came."""
        return percentile(self.days, 0.5)

    @property
    def slow(self) -> int | None:
        """Days within which nine of ten answers came."""
        return percentile(self.days, 0.9)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for an answer just now, and how much of it is overdue; None where telling would single out."""

    count: int | None
    overdue: int | None


@dataclass(frozen=True, slots=True)
class UnitFigures:
    """One förvaltning: what waits there now, and what became of what it got in the period."""

    unit: str
    waiting: Waiting
    got: int
    returned: int
    answers: Answers


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Decisions in the period, and how many chose just what was suggested."""

    decided: int = 0
    accepted: int = 0

    @property
    def share(self) -> float | None:
        """The accepted part, or None without decisions."""
        return self.accepted / self.decided if self.decided else None


@dataclass(frozen=True, slots=True)
class Overview:
    """All figures of a period, for the city or for one unit."""

    period: Period
    unit: str
    made_at: datetime
    inflow: Sequence[Inflow]
    arrived: int
    not_cases: int
    answers: Answers
    unsorted: Waiting
    units: Sequence[UnitFigures]
    restricted: Waiting
    acceptance: Mapping[str, Acceptance]  # sure, unsure, none
    kinds: Sequence[Row]
    districts: Sequence[Row]
    languages: Sequence[Row]
    channels: Sequence[Row]

    @property
    def all_decisions(self) -> Acceptance:
        """Every decision that had a suggestion."""
        asked = [self.acceptance[key] for key in ("sure", "unsure")]
        return Acceptance(sum(one.decided for one in asked), sum(one.accepted for one in asked))

    @property
    def waiting(self) -> Waiting:
        """All that waits at förvaltningar; restricted ones only where their number may be told."""
        told = [one.waiting for one in self.units] + [self.restricted]
        return Waiting(sum(one.count or 0 for one in told), sum(one.overdue or 0 for one in told))


def percentile(histogram: Mapping[int, int], share: float) -> int | None:
    """The smallest value that ``share`` of all are not above (nearest rank); None of nothing."""
    wanted, seen = share * sum(histogram.values()), 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= wanted:
            return value
    return None


def overview(session: Session, period: Period, unit: str, *, weeks: int, today: date, now: datetime) -> Overview:
    """The figures of ``period``; with ``unit``, of the cases that the unit has or had."""
    cohort = and_(col(Case.arrived_on).between(period.first, period.last), _concerns(unit))
    by_day = _by_day(session, cohort)
    figures = _figures(session, cohort)
    waiting, restricted = _waiting(session, unit, today)
    return Overview(
        period=period,
        unit=unit,
        made_at=now,
        inflow=_inflow(period, by_day),
        arrived=sum(by_day.values()),
        not_cases=_count(session, cohort, Case.closed_as == NOT_A_CASE),
        answers=_answers(session, cohort, weeks, today),
        unsorted=_unsorted(session, unit, today),
        units=_units(session, cohort, unit, waiting, weeks, today),
        restricted=restricted,
        acceptance=_acceptance(session, period, unit, now),
        kinds=discreet((kind, bool(hidden), count) for kind, _, _, hidden, count in figures),
        districts=discreet((district, bool(hidden), count) for _, district, _, hidden, count in figures),
        languages=discreet((language, bool(hidden), count) for _, _, language, hidden, count in figures),
        channels=_channels(session, cohort),
    )


def _concerns(unit: str) -> ColumnElement[bool]:
    """The case has or had a part at the unit; every case without a unit."""
    if not unit:
        return true()
    return exists().where(col(Assignment.case_id) == Case.id, col(Assignment.unit) == unit).correlate(Case)


def _hidden() -> Label[bool]:
    return (col(Case.restricted) != "").label("hidden")


def _count(session: Session, *where: Any) -> int:
    return session.exec(select(func.count()).select_from(Case).where(*where)).one()


def _by_day(session: Session, cohort: ColumnElement[bool]) -> dict[date, int]:
    statement = _counted(col(Case.arrived_on).label("arrived_on")).where(cohort)
    return {day: count for day, count in session.execute(statement)}  # noqa: C416 (rows are no pairs to dict)


def _inflow(period: Period, by_day: Mapping[date, int]) -> list[Inflow]:
    return [
        Inflow(step, sum(by_day.get(step.first + timedelta(days=place), 0) for place in range(step.days)))
        for step in period.steps()
    ]


def _figures(session: Session, cohort: ColumnElement[bool]) -> Sequence[Any]:
    by: tuple[Label[Any], ...] = (
        col(Case.kind).label("kind"),
        col(Case.district).label("place"),
        col(Case.language).label("language"),
    )
    return session.execute(_counted(*by, _hidden()).where(cohort)).all()


def _channels(session: Session, cohort: ColumnElement[bool]) -> list[Row]:
    opened = and_(col(Mail.case_id) == Case.id, col(Mail.disposition) == Disposition.CASE)
    statement = _counted(col(Mail.source).label("channel"), _hidden()).join(Mail, opened).where(cohort)
    return discreet((channel, bool(hidden), count) for channel, hidden, count in session.execute(statement))


def _answers(session: Session, cohort: ColumnElement[bool], weeks: int, today: date) -> Answers:
    by = _speed(weeks, today)
    statement = _counted(*by).where(cohort, col(Case.closed_as) != NOT_A_CASE)
    return _summed(session.execute(statement).all(), weeks)


def _speed(weeks: int, today: date) -> tuple[Label[Any], Label[Any]]:
    """Days from arrival to answer, and whether the weeks have passed since arrival."""
    days = days_between(col(Case.answered_at), col(Case.arrived_on))
    return days.label("days"), (col(Case.arrived_on) < today - timedelta(weeks=weeks)).label("passed")


def _counted(*by: Label[Any]) -> Select[Any]:
    """How many cases share each combination of ``by``; grouped by name, since PostgreSQL compares values by place."""
    return sa_select(*by, func.count()).select_from(Case).group_by(*(each.name for each in by))


def _summed(rows: Sequence[Any], weeks: int) -> Answers:
    """Answers from (days or None, the weeks have passed, count)."""
    days: Counter[int] = Counter()
    judged = in_time = 0
    for taken, passed, count in rows:
        if taken is not None:
            days[max(taken, 0)] += count
            in_time += count if taken <= weeks * 7 else 0
        if taken is not None or passed:
            judged += count
    return Answers(dict(days), judged, in_time)


def _unsorted(session: Session, unit: str, today: date) -> Waiting:
    """What nobody has decided yet; a unit has nothing of that."""
    if unit:
        return Waiting(0, 0)
    unsent = col(Case.state).in_(_UNSENT)
    late = func.coalesce(func.sum(case((col(Case.answer_due) < today, 1), else_=0)), 0)
    count, overdue = session.execute(select(func.count(), late).select_from(Case).where(unsent)).one()
    return Waiting(count, overdue)


def _waiting(session: Session, unit: str, today: date) -> tuple[dict[str, Waiting], Waiting]:
    """What waits at each unit just now, and apart from that the restricted cases of all of them."""
    live = (CaseState.ROUTED, CaseState.OPEN)  # a case may be back on the desk while another part waits
    late = case((col(Assignment.answer_due) < today, 1), else_=0)
    statement = (
        _counted(col(Assignment.unit).label("unit"), _hidden())
        .add_columns(func.sum(late))
        .join(Assignment, col(Assignment.case_id) == Case.id)
        .where(_WAITS, col(Case.state).in_(live), *_only(unit))
    )
    open_now: dict[str, Waiting] = {}
    hidden = overdue = 0
    for its, restricted, count, behind in session.execute(statement):
        if restricted:
            hidden, overdue = hidden + count, overdue + behind
        else:
            open_now[its] = Waiting(count, behind)
    return open_now, Waiting(told(hidden), told(overdue))


def _only(unit: str) -> list[ColumnElement[bool]]:
    return [col(Assignment.unit) == unit] if unit else []


def _units(
    session: Session, cohort: ColumnElement[bool], unit: str, waiting: Mapping[str, Waiting], weeks: int, today: date
) -> list[UnitFigures]:
    """One row a unit, the most overdue first; of cases that are not restricted."""
    by: tuple[Label[Any], ...] = (
        col(Assignment.unit).label("unit"),
        col(Assignment.state).label("part"),
        *_speed(weeks, today),
    )
    statement = (
        _counted(*by)
        .join(Assignment, col(Assignment.case_id) == Case.id)
        .where(cohort, col(Case.restricted) == "", *_only(unit))
    )
    rows: dict[str, list[Any]] = {}
    for its, *row in session.execute(statement):
        rows.setdefault(its, []).append(row)
    figures = [_of_unit(its, waiting.get(its, Waiting(0, 0)), rows.get(its, []), weeks) for its in {*rows, *waiting}]
    return sorted(figures, key=lambda one: (-(one.waiting.overdue or 0), -(one.waiting.count or 0), -one.got, one.unit))


def _of_unit(unit: str, waiting: Waiting, rows: Sequence[Any], weeks: int) -> UnitFigures:
    counts: Counter[AssignmentState] = Counter()
    for state, _, _, count in rows:
        counts[state] += count
    kept = [
        (days if state is AssignmentState.ANSWERED else None, passed, count)
        for state, days, passed, count in rows
        if state in {*_WAITING, AssignmentState.ANSWERED}
    ]
    got = counts.total() - counts[AssignmentState.WITHDRAWN] - counts[AssignmentState.FAILED]
    return UnitFigures(unit, waiting, got, counts[AssignmentState.RETURNED], _summed(kept, weeks))


def _acceptance(session: Session, period: Period, unit: str, now: datetime) -> dict[str, Acceptance]:
    """Decisions of the period that stood, by what the suggestion said of itself."""
    undone = aliased(Event)
    taken_back = exists().where(
        col(undone.case_id) == Event.case_id,
        col(undone.kind) == EventKind.UNDONE,
        col(undone.detail)["undid"].as_integer() == Event.sequence,
    )
    zone = now.tzinfo
    begins = datetime.combine(period.first, datetime.min.time(), zone)
    ends = datetime.combine(period.last + timedelta(days=1), datetime.min.time(), zone)
    abstained = col(Event.detail)[("suggested", "abstain")].as_boolean().label("unsure")
    accepted = col(Event.detail)["accepted"].as_boolean().label("accepted")
    statement = (
        sa_select(abstained, accepted, func.count())
        .where(_CONFIRMED, col(Event.at) >= begins, col(Event.at) < ends, ~taken_back, *_decided_for(unit))
        .group_by("unsure", "accepted")
    )
    decided: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for unsure, right, count in session.execute(statement):
        key = "none" if unsure is None else "unsure" if unsure else "sure"
        decided[key] += count
        agreed[key] += count if right else 0
    return {key: Acceptance(decided[key], agreed[key]) for key in ("sure", "unsure", "none")}


def _decided_for(unit: str) -> list[ColumnElement[bool]]:
    if not unit:
        return []
    return [exists().where(col(Assignment.case_id) == Event.case_id, col(Assignment.unit) == unit)]


class Kept:
    """Overviews that were made within the last minute: many managers may look, the register is asked once."""

    def __init__(self) -> None:
        self._made: dict[tuple[Period, str], Overview] = {}
        self._lock = Lock()

    def overview(self, store: Store, period: Period, unit: str, *, weeks: int, today: date, now: datetime) -> Overview:
        """The figures, at most KEPT old. ``now`` is in the city's time zone."""
        with self._lock:
            self._made = {key: one for key, one in self._made.items() if now - one.made_at < KEPT}
            if (period, unit) not in self._made:
                with store.read() as session:
                    made = overview(session, period, unit, weeks=weeks, today=today, now=now)
                self._made[period, unit] = made
            return self._made[period, unit]
