"""Swedish working days: date arithmetic only."""

from datetime import date, timedelta
from functools import lru_cache

import holidays


@lru_cache(maxsize=64)
def _days_off(year: int) -> frozenset[date]:
    """Public holidays, and midsummer's, Christmas and New Year's eve, which count as such (lag 1930:173, 2 §)."""
    return frozenset(holidays.country_holidays("SE", years=year, categories=("public", "de_facto")))


def is_workday(day: date) -> bool:
    """False on Saturdays, Sundays, public holidays, midsummer's, Christmas and New Year's eve."""
    return day.weekday() < 5 and day not in _days_off(day.year)


def on_or_after(day: date) -> date:
    """``day``, or the first working day after it (lag 1930:173, 2 §)."""
    while not is_workday(day):
        day += timedelta(days=1)
    return day


def on_or_before(day: date) -> date:
    """``day``, or the last working day before it."""
    while not is_workday(day):
        day -= timedelta(days=1)
    return day


def after(day: date, count: int) -> date:
    """The ``count``-th working day after ``day``; with 0 the day itself, or the first working day after it."""
    if count == 0:
        return on_or_after(day)
    for _ in range(count):
        day = on_or_after(day + timedelta(days=1))
    return day


@lru_cache(maxsize=1024)
def answer_date(arrived_on: date, weeks: int) -> date:
    """The last day to answer a mail that came in on ``arrived_on``; a day off moves to the next working day."""
    return on_or_after(arrived_on + timedelta(weeks=weeks))
