"""Swedish working days against the almanac."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter import workdays

# Weekdays that are days off, from the almanac: public holidays and the three eves.
DAYS_OFF = {
    2024: "01-01 03-29 04-01 05-01 05-09 06-06 06-21 12-24 12-25 12-26 12-31",
    2025: "01-01 01-06 04-18 04-21 05-01 05-29 06-06 06-20 12-24 12-25 12-26 12-31",
    2026: "01-01 01-06 04-03 04-06 05-01 05-14 06-19 12-24 12-25 12-31",
    2027: "01-01 01-06 03-26 03-29 05-06 06-25 12-24 12-31",
    2028: "01-06 04-14 04-17 05-01 05-25 06-06 06-23 12-25 12-26",
}
DATES = st.dates(date(2024, 1, 1), date(2060, 12, 31))


@pytest.mark.parametrize("year", DAYS_OFF)
def test_days_off(year: int) -> None:
    """The weekdays off are those of the almanac, no more and no fewer."""
    days = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
    off = [f"{day:%m-%d}" for day in days if day.year == year and day.weekday() < 5 and not workdays.is_workday(day)]
    assert " ".join(off) == DAYS_OFF[year]


def test_the_weekend_is_off() -> None:
    """Saturdays and Sundays are no working days; squeezed-in days and other eves are."""
    assert not workdays.is_workday(date(2026, 3, 7))
    assert not workdays.is_workday(date(2026, 3, 8))
    assert workdays.is_workday(date(2026, 5, 15))  # the Friday after Ascension Day
    assert workdays.is_workday(date(2026, 4, 30))  # Walpurgis eve


@pytest.mark.parametrize(
    ("arrived", "due"),
    [
        (date(2026, 3, 2), date(2026, 3, 30)),
        (date(2026, 3, 7), date(2026, 4, 7)),  # a Saturday; four weeks later is Easter Eve, then Easter Monday
        (date(2026, 5, 22), date(2026, 6, 22)),  # midsummer's eve
        (date(2026, 4, 16), date(2026, 5, 15)),  # Ascension Day
        (date(2026, 11, 26), date(2026, 12, 28)),  # Christmas Eve, two holidays and a Sunday
        (date(2026, 12, 3), date(2027, 1, 4)),  # New Year's Eve, across the year
        (date(2026, 12, 9), date(2027, 1, 7)),  # Epiphany
        (date(2028, 2, 1), date(2028, 2, 29)),  # a leap day is a day like others
    ],
)
def test_the_answer_date(arrived: date, due: date) -> None:
    """Four weeks from the day of arrival; a day off moves to the next working day (lag 1930:173, 2 §)."""
    assert workdays.answer_date(arrived, 4) == due


@given(DATES)
def test_the_nearest_working_days(day: date) -> None:
    """on_or_after and on_or_before give the day itself or the nearest working day on their side."""
    after, before = workdays.on_or_after(day), workdays.on_or_before(day)
    assert workdays.is_workday(after)
    assert workdays.is_workday(before)
    assert before <= day <= after
    assert after - before < timedelta(days=8)
    between = [before + timedelta(days=number) for number in range(1, (after - before).days)]
    assert not any(workdays.is_workday(one) for one in between)
