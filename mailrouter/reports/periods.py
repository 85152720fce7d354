"""Spans of days that figures are asked for, by the name that stands in an address line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

WEEKS = 12
LONGEST_BY_DAY = 45  # days; what is longer is drawn by week


@dataclass(frozen=True, slots=True)
class Period:
    """Days from ``first`` to ``last``, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    @property
    def by_day(self) -> bool:
        """True when it is short enough to look at day by day."""
        return self.days <= LONGEST_BY_DAY

    def steps(self) -> Iterator["Period"]:
        """Its days, or its weeks from Monday to Sunday (ISO 8601), of which the first and last may be cut."""
        first = self.first
        while first <= self.last:
            last = first if self.by_day else min(first + timedelta(days=6 - first.weekday()), self.last)
            yield Period(first, last)
            first = last + timedelta(days=1)


def _this_month(today: date) -> Period:
    return Period(today.replace(day=1), today)


def _last_month(today: date) -> Period:
    last = today.replace(day=1) - timedelta(days=1)
    return Period(last.replace(day=1), last)


def _last_weeks(today: date) -> Period:
    monday = today - timedelta(days=today.weekday())
    return Period(monday - timedelta(weeks=WEEKS - 1), today)


def _this_year(today: date) -> Period:
    return Period(today.replace(month=1, day=1), today)


def _last_year(today: date) -> Period:
    return Period(date(today.year - 1, 1, 1), date(today.year - 1, 12, 31))


PERIODS: dict[str, Callable[[date], Period]] = {
    "manaden": _this_month,
    "forra-manaden": _last_month,
    "12-veckor": _last_weeks,
    "aret": _this_year,
    "forra-aret": _last_year,
}
USUAL = "12-veckor"


def period_named(name: str, today: date) -> Period:
    """The period with that name as it lies today; the usual one for any other name."""
    return PERIODS.get(name, PERIODS[USUAL])(today)
