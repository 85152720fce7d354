"""The answer clock: when reminders are due, and that each goes out once, on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlmodel import Session, col, select

from mailrouter import config, deadlines, diarium, number, triage, workdays
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, Dispatch, DispatchKind, DispatchState, Event
from tests.clock import ZONE

SETTINGS = config.Settings()
DUE = date(2026, 3, 30)  # a Monday; summer time began on the day before
UNIT = "stadsmiljo@stad.example"


def local(day: date, hour: int = 8, minute: int = 0) -> datetime:
    """A moment of the city's clock."""
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


CONFIRMED = local(date(2026, 3, 3), 9)


def delivered(
    session: Session,
    due: date = DUE,
    confirmed: datetime = CONFIRMED,
    state: AssignmentState = AssignmentState.DELIVERED,
) -> Assignment:
    """A part of a routed case that a förvaltning has, as triage and forward leave it."""
    new = diarium.NewCase("anna@example.se", "", "lampa", True, confirmed, {})
    (opened,) = diarium.open_cases(session, [new], now=confirmed, zone=ZONE, weeks=4)
    part = Assignment(
        case_id=opened.case_id, unit="stadsmiljoforvaltningen", unit_name="Stadsmiljöförvaltningen", area="cykel",
        state=state, created_at=confirmed, created_by="maria", answer_due=due,
        due_at=deadlines.first_reminder(due, SETTINGS, confirmed),
    )  # fmt: skip
    session.add(part)
    session.flush()
    session.add(
        Dispatch(
            case_id=opened.case_id, assignment_id=part.id, kind=DispatchKind.FORWARD, recipient=UNIT,
            token=number.new_token(), state=DispatchState.SENT, created_at=confirmed,
        )
    )  # fmt: skip
    case = diarium.lock(session, opened.case_id)
    diarium.record(session, case, EventKind.CONFIRMED, actor="maria", now=confirmed, detail={})
    return part


def reminders(db: Store) -> Sequence[Dispatch]:
    """Every reminder in the outbox, in order."""
    with db.read() as session:
        statement = select(Dispatch).where(Dispatch.kind == DispatchKind.REMINDER).order_by(col(Dispatch.id))
        return session.exec(statement).all()


def only_part(db: Store) -> Assignment:
    """The only part there is."""
    with db.read() as session:
        return session.exec(select(Assignment)).one()


# When


def test_steps_across_summer_time() -> None:
    """Seven, two and no days before, at eight by the city's clock, whatever that is in UTC; Saturday becomes Friday."""
    first = deadlines.first_reminder(DUE, SETTINGS, CONFIRMED)
    assert first == datetime(2026, 3, 23, 7, 0, tzinfo=UTC)
    second = deadlines.first_reminder(DUE, SETTINGS, first)
    assert second == datetime(2026, 3, 27, 7, 0, tzinfo=UTC)
    third = deadlines.first_reminder(DUE, SETTINGS, second)
    assert third == datetime(2026, 3, 30, 6, 0, tzinfo=UTC)
    assert deadlines.first_reminder(DUE, SETTINGS, third) is None


def test_steps_across_new_year() -> None:
    """The step that falls on New Year's Eve is taken on the working day before it."""
    assert deadlines.first_reminder(date(2027, 1, 7), SETTINGS, local(date(2026, 12, 15))) == local(date(2026, 12, 30))
    assert deadlines.first_reminder(date(2027, 1, 7), SETTINGS, local(date(2026, 12, 30))) == local(date(2027, 1, 5))


def test_a_late_decision_skips_what_is_past() -> None:
    """A case confirmed five days before its date is reminded two days before it; one confirmed after it, never."""
    assert deadlines.first_reminder(DUE, SETTINGS, local(date(2026, 3, 25))) == local(date(2026, 3, 27))
    assert deadlines.first_reminder(DUE, SETTINGS, local(date(2026, 4, 1))) is None


@given(
    due=st.dates(date(2026, 1, 1), date(2040, 12, 31)),
    days=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    hours=st.tuples(st.integers(0, 12), st.integers(13, 24)),
    zone=st.sampled_from(["Europe/Stockholm", "UTC", "America/New_York"]),
)
def test_every_step_is_a_working_morning(due: date, days: list[int], hours: tuple[int, int], zone: str) -> None:
    """Whatever is configured, each step is the opening of the last working day on or before its day, in order."""
    settings = config.Settings(
        deadline=config.Deadline(remind_days_before=days, office_hours=hours), city=config.City(timezone=zone)
    )
    steps: list[datetime] = []
    now = datetime(2025, 1, 1, tzinfo=UTC)
    while (step := deadlines.first_reminder(due, settings, now)) is not None:
        steps.append(step)
        now = step
    assert steps == sorted(set(steps))
    opened = {step.astimezone(ZoneInfo(zone)).date() for step in steps}
    assert opened == {workdays.on_or_before(due - timedelta(days=before)) for before in days}
    assert all(deadlines.is_office_open(settings, step) for step in steps)
    assert not any(deadlines.is_office_open(settings, step - timedelta(seconds=1)) for step in steps if hours[0])


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
    assert deadlines.is_office_open(SETTINGS, moment) is is_open
    assert deadlines.next_opening(SETTINGS, moment) == opening


# That it happens


def test_a_reminder_is_queued_at_each_step(db: Store) -> None:
    """At each step one mail to the mailbox of the forward and one event; after the last nothing is due."""
    with db.write() as session:
        delivered(session)
    days = [date(2026, 3, 23), date(2026, 3, 27), date(2026, 3, 30)]
    for count, day in enumerate(days, start=1):
        assert deadlines.remind_due(db, SETTINGS, local(day) - timedelta(seconds=1)) == 0
        assert deadlines.remind_due(db, SETTINGS, local(day)) == 1
        assert deadlines.remind_due(db, SETTINGS, local(day, 15)) == 0
        assert only_part(db).reminded == count
    assert only_part(db).due_at is None
    assert [mail.created_at for mail in reminders(db)] == [local(day) for day in days]
    assert {(mail.recipient, mail.state, mail.due_at == mail.created_at) for mail in reminders(db)} == {
        (UNIT, DispatchState.QUEUED, True)
    }
    with db.read() as session:
        told = session.exec(select(Event).where(Event.kind == EventKind.REMINDED).order_by(col(Event.id))).all()
        assert [one.detail["days_left"] for one in told] == [7, 3, 0]
        assert [one.detail["dispatch"] for one in told] == [mail.id for mail in reminders(db)]


@pytest.mark.parametrize(
    "moment", [local(date(2026, 3, 23), 7, 59), local(date(2026, 3, 23), 16), local(date(2026, 3, 28), 10)]
)
def test_nobody_is_reminded_outside_office_hours(db: Store, moment: datetime) -> None:
    """At night and at weekends what is due waits for the morning."""
    with db.write() as session:
        delivered(session)
    assert deadlines.remind_due(db, SETTINGS, moment) == 0
    assert deadlines.remind_due(db, SETTINGS, deadlines.next_opening(SETTINGS, moment)) == 1
    assert len(reminders(db)) == 1


def test_an_outage_gives_one_reminder(db: Store) -> None:
    """All three steps were missed: one reminder goes out, and nothing is due afterwards."""
    with db.write() as session:
        delivered(session)
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 2), 11)) == 1
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 2), 12)) == 0
    assert len(reminders(db)) == 1
    assert (only_part(db).due_at, only_part(db).reminded) == (None, 3)


def test_what_has_not_arrived_is_not_reminded_of(db: Store) -> None:
    """While the forward is under way the reminder waits until the next morning, and then it comes."""
    with db.write() as session:
        delivered(session, state=AssignmentState.SENDING)
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 23))) == 1
    assert reminders(db) == []
    assert only_part(db).due_at == local(date(2026, 3, 24))
    with db.write() as session:
        session.exec(select(Assignment)).one().state = AssignmentState.DELIVERED
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 24))) == 1
    assert len(reminders(db)) == 1
    assert only_part(db).due_at == local(date(2026, 3, 27))


@pytest.mark.parametrize(
    "state",
    [AssignmentState.FAILED, AssignmentState.RETURNED, AssignmentState.ANSWERED, AssignmentState.WITHDRAWN],
)
def test_what_is_over_is_not_reminded_of(db: Store, state: AssignmentState) -> None:
    """A part that failed, was returned, answered or withdrawn has no clock any more."""
    with db.write() as session:
        delivered(session, state=state)
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 23))) == 1
    assert reminders(db) == []
    assert only_part(db).due_at is None


def test_an_answer_stops_the_clock(db: Store) -> None:
    """Marked as answered at the desk: nothing is due."""
    with db.write() as session:
        part = delivered(session)
        triage.answered(session, part.case_id, part.id, seen=None, actor="maria", now=CONFIRMED)
    assert deadlines.remind_due(db, SETTINGS, local(DUE)) == 0
    assert reminders(db) == []


def test_a_case_that_is_back_on_the_desk_still_runs(db: Store) -> None:
    """Another part came back: the förvaltning that has its part is reminded all the same."""
    with db.write() as session:
        part = delivered(session)
        case = diarium.lock(session, part.case_id)
        diarium.record(session, case, EventKind.RETURNED, actor="maria", now=CONFIRMED, detail={})
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 23))) == 1
    assert len(reminders(db)) == 1


def test_a_case_that_is_over_is_not_reminded_of(db: Store) -> None:
    """A closed case reminds nobody, whatever is left of its parts."""
    with db.write() as session:
        part = delivered(session)
        case = diarium.lock(session, part.case_id)
        diarium.record(session, case, EventKind.CLOSED, actor="maria", now=CONFIRMED, detail={})
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 23))) == 1
    assert reminders(db) == []
    assert only_part(db).due_at is None


def test_what_another_node_did_meanwhile_is_not_repeated(db: Store) -> None:
    """We stall between claiming and reminding until our lease is over: the node that took over has reminded."""
    with db.write() as session:
        delivered(session)
    other = Store(db.engine)
    other.node = "another:1"
    taken: list[object] = []

    def stall(connection: object, *_: object) -> None:
        taken.append(connection)
        if len(taken) == 2:  # the first was for the claim
            assert deadlines.remind_due(other, SETTINGS, local(date(2026, 3, 23), 9)) == 1

    event.listen(db.engine, "checkout", stall)
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 23))) == 1
    event.remove(db.engine, "checkout", stall)
    assert [mail.created_at for mail in reminders(db)] == [local(date(2026, 3, 23), 9)]


def test_each_step_is_taken_by_one(db: Store) -> None:
    """Four workers at the same moment remind each förvaltning once."""
    with db.write() as session:
        for _ in range(60):
            delivered(session)
    moment = local(date(2026, 3, 23))

    def work(_: int) -> int:
        done = 0
        while looked_at := deadlines.remind_due(db, SETTINGS, moment):
            done += looked_at
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 60
    told = [mail.assignment_id for mail in reminders(db)]
    assert len(told) == len(set(told)) == 60


# A year

DAYS_OFF_2026 = {
    date(2026, month, day)
    for month, day in [(1, 1), (1, 6), (4, 3), (4, 6), (5, 1), (5, 14), (6, 19), (12, 24), (12, 25), (12, 31)]
} | {date(2027, 1, 1), date(2027, 1, 6)}
OUTAGE = {date(2026, 9, 8) + timedelta(days=number) for number in range(3)}


def is_off(day: date) -> bool:
    """The calendar again, written down by hand."""
    return day.weekday() >= 5 or day in DAYS_OFF_2026


def test_a_year(db: Store) -> None:
    """A year and a month with holidays, two changes of the clock and three days of outage: every reminder is right."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(400)]
    expected: list[tuple[int, datetime]] = []
    looks = [local(day, hour) for day in days if day not in OUTAGE for hour in (0, 8, 12, 20)]
    useful = [
        look for look in looks if look.astimezone(ZONE).hour in (8, 12) and not is_off(look.astimezone(ZONE).date())
    ]
    with db.write() as session:
        for arrived in days[:335:4]:
            due = arrived + timedelta(weeks=4)
            while is_off(due):
                due += timedelta(days=1)
            confirmed = local(arrived, 13)
            key = delivered(session, due, confirmed).id
            moments = set()
            for before in (7, 2, 0):
                step = due - timedelta(days=before)
                while is_off(step):
                    step -= timedelta(days=1)
                moments.add(next(look for look in useful if look >= local(step)))
            expected += [(key, moment) for moment in moments]
    for look in looks:
        while deadlines.remind_due(db, SETTINGS, look):
            pass
    sent = [(mail.assignment_id or 0, mail.created_at) for mail in reminders(db)]
    assert sorted(sent) == sorted(expected)
    assert len(sent) < 3 * 84  # the outage swallowed some
    with db.read() as session:
        assert session.exec(select(Assignment).where(col(Assignment.due_at).is_not(None))).all() == []
        for case in session.exec(select(Case)):
            events = session.exec(select(Event).where(Event.case_id == case.id).order_by(col(Event.sequence))).all()
            assert diarium.broken_links(case.number, case.last_event, case.last_hash, events) == []
