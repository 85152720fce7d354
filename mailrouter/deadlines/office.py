"""Office hours: when they are, when they begin next, and which moment is so many of them away. Pure arithmetic.

Days and hours are those of the city's clock, so summer time and New Year need no thought.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailrouter import workdays
from mailrouter.config import Settings


@dataclass(frozen=True, slots=True)
class Office:
    """``deadline.office_hours`` on working days, in the city's time zone."""

    zone: ZoneInfo
    opens: int
    closes: int

    @classmethod
    def of(cls, settings: Settings) -> "Office":
        """The office that the settings describe."""
        opens, closes = settings.deadline.office_hours
        return cls(ZoneInfo(settings.city.timezone), opens, closes)

    def day(self, now: datetime) -> date:
        """The city's day at a moment."""
        return now.astimezone(self.zone).date()

    def opening(self, day: date) -> datetime:
        """When the office opens on ``day``."""
        return datetime.combine(day, time(self.opens), self.zone).astimezone(UTC)

    def is_open(self, now: datetime) -> bool:
        """True on working days within the hours."""
        local = now.astimezone(self.zone)
        return workdays.is_workday(local.date()) and self.opens <= local.hour < self.closes

    def next_opening(self, now: datetime) -> datetime:
        """When the office opens next, later than ``now``."""
        opening = self.opening(workdays.on_or_after(self.day(now)))
        return opening if opening > now else self.opening(workdays.on_or_after(self.day(now) + timedelta(days=1)))

    def after(self, start: datetime, hours: float) -> datetime:
        """The moment when the office has been open for ``hours`` since ``start``."""
        left = timedelta(hours=hours)
        moment = start if self.is_open(start) else self.next_opening(start)
        while left > (open_for := self._closing(moment) - moment):
            left -= open_for
            moment = self.next_opening(moment)
        return moment + left

    def _closing(self, moment: datetime) -> datetime:
        """When the office closes on the day of ``moment``; 24 is the next midnight."""
        day = self.day(moment)
        if self.closes == 24:
            return datetime.combine(day + timedelta(days=1), time(0), self.zone).astimezone(UTC)
        return datetime.combine(day, time(self.closes), self.zone).astimezone(UTC)
