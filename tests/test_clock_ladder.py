"""The ladder and the office as pure functions: what is due when, by the almanac, over all dates."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter import config, workdays
from mailrouter.deadlines import ladder
from mailrouter.deadlines.ladder import Policy, Rung, Step
from mailrouter.deadlines.office import Office
from mailrouter.organisation import Clock, Unit
from mailrouter.tables import Assignment, AssignmentState
from tests.clock import ZONE

SETTINGS = config.Settings()
OFFICE = Office.of(SETTINGS)
DUE = date(2026, 3, 30)  # a Monday; summer time began on the day before
DATES = st.dates(date(2026, 1, 1), date(2040, 12, 31))
MOMENTS = st.builds(datetime.combine, DATES, st.times(), st.just(UTC))


def local(day: date, hour: int = 8, minute: int = 0) -> datetime:
    """A moment of the city's clock."""
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


CONFIRMED = local(date(2026, 3, 3), 9)


def policy(kind: str = "klagomal", unit: Unit | None = None) -> Policy:
    """The clock of a kind."""
    return ladder.policy_of(SETTINGS.deadline, unit, kind)


def part(due: date = DUE, created: datetime = CONFIRMED, **changes: Any) -> Assignment:
    """A part that a förvaltning has and has registered."""
    known: dict[str, Any] = {
        "id": 1, "case_id": 1, "unit": "u", "unit_name": "U", "area": "cykel", "state": AssignmentState.DELIVERED,
        "created_at": created, "created_by": "maria", "answer_due": due, "external_number": "U-1", "reminded": 0,
    }  # fmt: skip
    return Assignment(**known | changes)


def said(rungs: list[Rung]) -> list[tuple[str, str]]:
    """Rungs as local moments and names."""
    return [(f"{rung.at.astimezone(ZONE):%m-%d %H:%M}", rung.step.value) for rung in rungs]


def test_the_whole_ladder() -> None:
    """Every rung of a part that nobody touches for two months, at eight by the city's clock, holidays left out."""
    untouched = part(external_number="")
    assert said(ladder.rungs(untouched, policy(), OFFICE, local(date(2026, 5, 5)))) == [
        ("03-03 13:00", "undelivered"),
        ("03-06 08:00", "unregistered"),
        ("03-23 08:00", "ahead"),
        ("03-27 08:00", "ahead"),
        ("03-30 08:00", "ahead"),
        ("04-07 08:00", "overdue"),  # Easter Monday is no working day
        ("04-13 08:00", "overdue"),
        ("04-20 08:00", "overdue"),
        ("04-27 08:00", "delayed"),
        ("04-27 08:00", "overdue"),
        ("05-04 08:00", "overdue"),
    ]


def test_across_new_year() -> None:
    """The step that falls on New Year's Eve is taken on the working day before it."""
    steps = ladder.rungs(part(date(2027, 1, 7), local(date(2026, 12, 15))), policy(), OFFICE, local(date(2027, 1, 8)))
    assert [when for when, step in said(steps) if step == "ahead"] == ["12-30 08:00", "01-05 08:00", "01-07 08:00"]


def test_a_late_decision_skips_what_is_past() -> None:
    """A case confirmed five days before its date is first told of two days before it."""
    late = part(created=local(date(2026, 3, 25)))
    assert ladder.following(late, policy(), OFFICE, late.created_at + timedelta(days=1)) == local(date(2026, 3, 27))


def test_missed_rungs_are_due_together() -> None:
    """What came while nothing ran is due at once; what was climbed before is not due again."""
    missed = part(climbed_at=local(date(2026, 3, 23)))
    assert said(ladder.due(missed, policy(), OFFICE, local(date(2026, 4, 8)))) == [
        ("03-27 08:00", "ahead"),
        ("03-30 08:00", "ahead"),
        ("04-07 08:00", "overdue"),
    ]


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"external_number": ""}, {"unregistered", "ahead", "overdue", "delayed"}),
        ({}, {"ahead", "overdue", "delayed"}),
        ({"state": AssignmentState.SENDING}, {"undelivered"}),
        ({"state": AssignmentState.ANSWERED}, set()),
        ({"state": AssignmentState.RETURNED}, set()),
        ({"paused_at": CONFIRMED + timedelta(days=1)}, {"paused"}),
    ],
)
def test_what_is_over_is_not_told(changes: dict[str, Any], left: set[str]) -> None:
    """A rung whose reason is gone is left out: it arrived, was registered, is answered, or the clock stands still."""
    due = ladder.due(part(**changes), policy(), OFFICE, local(date(2026, 6, 1)))
    assert {rung.step.value for rung in due} == left


def test_the_head_is_told_after_the_registrator() -> None:
    """In the first overdue week the registrator alone, from the second the head too."""
    first, second = date(2026, 4, 7), date(2026, 4, 13)
    for day, head in ((first, False), (second, True)):
        before = part(climbed_at=local(day) - timedelta(hours=1))
        due = ladder.due(before, policy(), OFFICE, local(day))
        assert [rung.step for rung in due] == [Step.OVERDUE]
        assert ladder.is_for_head(due, before, policy(), day) is head


@pytest.mark.parametrize(
    ("kind", "given", "due"),
    [
        ("klagomal", date(2026, 3, 4), date(2026, 3, 30)),
        ("begaran-handling", date(2026, 3, 4), date(2026, 3, 6)),
        ("begaran-handling", date(2026, 3, 6), date(2026, 3, 10)),  # over a weekend
        ("begaran-handling", date(2026, 3, 29), date(2026, 3, 30)),  # never past the four weeks
        ("overklagande", date(2026, 3, 4), date(2026, 3, 4)),
        ("overklagande", date(2026, 3, 7), date(2026, 3, 9)),  # a Saturday
        ("orosanmalan", date(2026, 3, 7), date(2026, 3, 7)),  # a Saturday is a day like any other
        ("orosanmalan", date(2026, 4, 20), date(2026, 4, 20)),  # found late: from when they get it
    ],
)
def test_kinds_with_a_clock_of_their_own(kind: str, given: date, due: date) -> None:
    """What cannot wait counts from the day the unit gets it; all else four weeks from the arrival on 2 March."""
    assert ladder.answer_date(policy(kind), date(2026, 3, 2), given) == due


def test_what_cannot_wait_is_told_sooner() -> None:
    """A request for a document: after two office hours a mail of its own, and every working day once it is late."""
    asked = part(date(2026, 3, 5), external_number="")
    assert said(ladder.rungs(asked, policy("begaran-handling"), OFFICE, local(date(2026, 3, 10)))) == [
        ("03-03 11:00", "undelivered"),
        ("03-03 11:00", "urgent"),
        ("03-05 08:00", "ahead"),
        ("03-06 08:00", "overdue"),
        ("03-06 08:00", "unregistered"),
        ("03-09 08:00", "overdue"),
        ("03-10 08:00", "overdue"),
    ]


def test_what_must_be_done_at_once_knows_no_night() -> None:
    """A report of a child at risk on a Saturday evening is told of two hours later."""
    evening = local(date(2026, 3, 7), 19)
    reported = part(date(2026, 3, 7), evening, external_number="")
    (first, *_) = ladder.due(reported, policy("orosanmalan"), OFFICE, evening + timedelta(hours=2))
    assert (first.step, first.at) == (Step.URGENT, evening + timedelta(hours=2))
    assert ladder.unconfirmed_at(policy("orosanmalan"), OFFICE, evening) == evening + timedelta(hours=2)
    assert ladder.unconfirmed_at(policy("overklagande"), OFFICE, evening) == local(date(2026, 3, 9), 10)
    assert ladder.unconfirmed_at(policy(), OFFICE, evening) == local(date(2026, 3, 9), 16)


def test_praise_is_registered_but_not_chased() -> None:
    """Nobody is reminded to answer praise; its diarienummer is asked for."""
    steps = {rung.step for rung in ladder.rungs(part(), policy("berom"), OFFICE, local(date(2026, 6, 1)))}
    assert steps == {Step.UNDELIVERED, Step.UNREGISTERED}


def test_a_unit_has_a_clock_of_its_own() -> None:
    """What the unit names holds for it, the settings for the rest."""
    clock = Clock(weeks=2, remind_days_before=(1,), kind_days={"felanmalan": 1})
    unit = Unit("u", "U", "forvaltning", "u@stad.example", clock=clock)
    own = policy("klagomal", unit)
    assert (own.weeks, own.remind_days_before, own.overdue_days) == (2, (1,), 7)
    assert ladder.answer_date(own, date(2026, 3, 2), date(2026, 3, 2)) == date(2026, 3, 16)
    assert policy("felanmalan", unit).days == 1
    assert policy("orosanmalan", unit).days == 0
    assert policy("felanmalan").days is None


def test_paused_days_move_the_date() -> None:
    """Ten days' pause move the date ten days, and then to a working day."""
    assert ladder.answer_date(policy(), date(2026, 3, 2), date(2026, 3, 2), 10) == date(2026, 4, 9)
    assert ladder.answer_date(policy(), date(2026, 3, 2), date(2026, 3, 2), 5) == date(2026, 4, 7)


@given(
    DATES,
    st.integers(-60, 100),
    st.integers(0, 60),
    st.sampled_from(["klagomal", "begaran-handling", "orosanmalan", "berom"]),
)
def test_the_ladder_over_all_dates(due: date, created: int, days: int, kind: str) -> None:
    """Rungs come in order, each once; mails fall on the opening of a working day; ``following`` is the next of them."""
    held = part(due, local(due + timedelta(days=created), 13), external_number="")
    rules = policy(kind)
    until = max(local(due), held.created_at) + timedelta(days=days)
    rungs = ladder.rungs(held, rules, OFFICE, until)
    assert rungs == sorted(set(rungs), key=lambda rung: (rung.at, rung.step))
    assert all(held.created_at < rung.at <= until for rung in rungs)
    mailed = [rung.at for rung in rungs if rung.step in ladder.MAILED]
    assert all(OFFICE.is_open(at) and not OFFICE.is_open(at - timedelta(seconds=1)) for at in mailed)
    climbed, walked = held.created_at, []
    while (at := ladder.following(held, rules, OFFICE, climbed)) is not None and at <= until:
        walked.append(at)
        climbed = at
    assert walked == sorted({rung.at for rung in rungs})


def test_the_next_rung_may_be_far_away() -> None:
    """A number asked for after sixty working days, and a pause of half a year, are not forgotten."""
    slow = config.Deadline(register_days=60, pause_weeks=26)
    praise = ladder.policy_of(slow, None, "berom")
    new = part(external_number="")
    assert ladder.following(new, praise, OFFICE, local(date(2026, 3, 10))) == local(date(2026, 6, 1))
    paused = part(paused_at=CONFIRMED)
    assert ladder.following(paused, praise, OFFICE, CONFIRMED) == local(date(2026, 9, 1))


@given(DATES, st.integers(1, 8), st.integers(0, 90))
def test_the_answer_date_over_all_dates(arrived: date, weeks: int, paused: int) -> None:
    """A working day, no earlier than so many weeks and days, and less than a week later."""
    rules = ladder.policy_of(config.Deadline(weeks=weeks), None, "klagomal")
    due = ladder.answer_date(rules, arrived, arrived, paused)
    least = arrived + timedelta(weeks=weeks, days=paused)
    assert workdays.is_workday(due)
    assert least <= due < least + timedelta(days=14 if paused else 8)


@given(MOMENTS, st.sampled_from(["Europe/Stockholm", "UTC", "America/New_York"]), st.integers(1, 60))
def test_office_hours_over_all_moments(start: datetime, zone: str, hours: int) -> None:
    """So many hours later the office is just open or just closing, and as many hours were open in between."""
    office = Office(ZoneInfo(zone), 8, 16)
    end = office.after(start, hours)
    assert office.is_open(end - timedelta(seconds=1))
    open_for = timedelta()
    moment = start if office.is_open(start) else office.next_opening(start)
    while moment < end:
        closing = datetime.combine(office.day(moment), time(16), office.zone).astimezone(UTC)
        open_for += min(closing, end) - moment
        moment = office.next_opening(moment)
    assert open_for == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("moment", "is_open", "opening"),
    [
        (local(date(2026, 3, 27), 7, 59), False, local(date(2026, 3, 27))),
        (local(date(2026, 3, 27), 8, 0), True, local(date(2026, 3, 30))),
        (local(date(2026, 3, 27), 15, 59), True, local(date(2026, 3, 30))),
        (local(date(2026, 3, 27), 16, 0), False, local(date(2026, 3, 30))),
        (local(date(2026, 3, 28), 10), False, local(date(2026, 3, 30))),
        (local(date(2026, 12, 23), 17), False, local(date(2026, 12, 28))),
        (local(date(2026, 12, 30), 17), False, local(date(2027, 1, 4))),
        (local(date(2027, 1, 5), 17), False, local(date(2027, 1, 7))),
    ],
)
def test_office_hours(moment: datetime, is_open: bool, opening: datetime) -> None:
    """Open from eight to sixteen on working days; the next opening is later than now."""
    assert OFFICE.is_open(moment) is is_open
    assert OFFICE.next_opening(moment) == opening


@given(DATES, st.integers(0, 30))
def test_working_days_are_counted(day: date, count: int) -> None:
    """The count-th working day after a day has just so many working days before it."""
    then = workdays.after(day, count)
    assert workdays.is_workday(then)
    passed = sum(workdays.is_workday(day + timedelta(days=one)) for one in range(1, (then - day).days + 1))
    assert passed == count or (count == 0 and passed == 1)
