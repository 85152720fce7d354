"""The answer clock on both databases: who is told, once a day each, and what stops it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import Session, col, select

from mailrouter import config, deadlines, diarium, number, organisation, triage
from mailrouter.deadlines import Office
from mailrouter.diarium import EventKind
from mailrouter.organisation import Organisation
from mailrouter.store import Store, settle
from mailrouter.tables import Assignment, AssignmentState, Case, Digest, Dispatch, DispatchKind, DispatchState, Event
from tests.clock import ZONE

SETTINGS = config.Settings()
OFFICE = Office.of(SETTINGS)
ROUTES = Path(SETTINGS.classify.organisation)
DUE = date(2026, 3, 30)  # a Monday; summer time began on the day before
UNIT = "stadsmiljo@stad.example"
HEAD = "chefen@stad.example"


def local(day: date, hour: int = 8, minute: int = 0) -> datetime:
    """A moment of the city's clock."""
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


CONFIRMED = local(date(2026, 3, 3), 9)
WEEK_BEFORE = local(date(2026, 3, 23))
ONE_LATE = local(date(2026, 4, 7))  # the first overdue morning; Easter Monday is a day off


def delivered(
    session: Session,
    unit: str = "stadsmiljoforvaltningen",
    mailbox: str = UNIT,
    kind: str = "",
    confirmed: datetime = CONFIRMED,
    **changes: object,
) -> Assignment:
    """A registered part of a routed case that a förvaltning has, as triage and forward leave it."""
    new = diarium.NewCase("anna@example.se", "", "lampa", True, min(confirmed, local(date(2026, 3, 2))), {})
    (opened,) = diarium.open_cases(session, [new], now=confirmed, zone=ZONE, weeks=4)
    case = diarium.lock(session, opened.case_id)
    case.kind = kind
    part = Assignment(
        case_id=case.id, unit=unit, unit_name=unit.capitalize(), area="cykel", state=AssignmentState.DELIVERED,
        created_at=confirmed, created_by="maria", answer_due=DUE, external_number="SMF-1",
    )  # fmt: skip
    deadlines.start(part, case, SETTINGS, None)
    for name, value in changes.items():
        setattr(part, name, value)
    session.add(part)
    session.flush()
    session.add(
        Dispatch(
            case_id=case.id, assignment_id=part.id, kind=DispatchKind.FORWARD, recipient=mailbox,
            token=number.new_token(), state=DispatchState.SENT, created_at=confirmed,
        )
    )  # fmt: skip
    diarium.record(session, case, EventKind.CONFIRMED, actor="maria", now=confirmed, detail={})
    return part


def mails(db: Store, *kinds: DispatchKind) -> Sequence[Dispatch]:
    """Every reminding mail in the outbox, in order."""
    wanted = kinds or (DispatchKind.DIGEST, DispatchKind.REMINDER)
    with db.read() as session:
        statement = select(Dispatch).where(col(Dispatch.kind).in_(wanted)).order_by(col(Dispatch.id))
        return session.exec(statement).all()


def told(db: Store) -> Sequence[Event]:
    """Every reminding event, in order."""
    with db.read() as session:
        return session.exec(select(Event).where(Event.kind == EventKind.REMINDED).order_by(col(Event.id))).all()


def only_part(db: Store) -> Assignment:
    """The only part there is."""
    with db.read() as session:
        return session.exec(select(Assignment)).one()


def only_case(db: Store) -> Case:
    """The only case there is."""
    with db.read() as session:
        return session.exec(select(Case)).one()


def leave(db: Store, at: datetime) -> None:
    """The queued mails leave, as the outbox has it."""
    with db.write() as session:
        for mail in session.exec(select(Dispatch).where(Dispatch.state == DispatchState.QUEUED)):
            diarium.move_dispatch(mail, DispatchState.SENT)
            mail.settled_at = at
            settle(mail)


@pytest.fixture(scope="module")
def city() -> Organisation:
    """The city, in which two units have the same head."""
    known = organisation.load(ROUTES)
    units = {
        key: replace(unit, head=HEAD) if key in ("stadsmiljoforvaltningen", "exploateringsforvaltningen") else unit
        for key, unit in known.units.items()
    }
    return replace(known, units=units)


def test_a_digest_is_queued_at_each_step(db: Store) -> None:
    """At each step one mail to the mailbox of the forward and one event; in the week after, one of the delay."""
    with db.write() as session:
        delivered(session)
    days = [date(2026, 3, 23), date(2026, 3, 27), date(2026, 3, 30), date(2026, 4, 7)]
    for count, day in enumerate(days, start=1):
        deadlines.remind_due(db, SETTINGS, local(day) - timedelta(seconds=1))
        assert len(mails(db)) == count - 1
        assert deadlines.remind_due(db, SETTINGS, local(day)) == 1
        leave(db, local(day))
        assert deadlines.remind_due(db, SETTINGS, local(day, 15)) == 0
        assert only_part(db).reminded == count
    assert [mail.created_at for mail in mails(db)] == [local(day) for day in days]
    assert {(mail.recipient, mail.kind) for mail in mails(db)} == {(UNIT, DispatchKind.DIGEST)}
    assert [one.detail["days_left"] for one in told(db)] == [7, 3, 0, -8]
    assert [one.detail["dispatch"] for one in told(db)] == [mail.id for mail in mails(db)]


def test_a_mailbox_is_told_of_all_in_one_mail(db: Store) -> None:
    """Forty cases are one mail to each mailbox, with a line and an event for every case."""
    with db.write() as session:
        for _ in range(20):
            delivered(session)
            delivered(session, "exploateringsforvaltningen", "expl@stad.example")
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 40
    assert [(mail.recipient, len(mail.detail["cases"])) for mail in mails(db)] == [
        (UNIT, 20), ("expl@stad.example", 20)
    ]  # fmt: skip
    assert len(told(db)) == 40
    assert len({one.case_id for one in told(db)}) == 40


def test_what_comes_later_in_the_day_waits_for_the_next(db: Store) -> None:
    """A second case that is due on the same day is told of on the next working day, and not forgotten."""
    with db.write() as session:
        delivered(session)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 27)))
    leave(db, local(date(2026, 3, 27)))
    with db.write() as session:
        delivered(session)
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 27), 9)) == 1
    assert len(mails(db)) == 1
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 30))) == 2
    assert [len(mail.detail["cases"]) for mail in mails(db)] == [1, 2]


def test_a_digest_that_never_left_becomes_part_of_the_next(db: Store) -> None:
    """The smarthost was away for days: one mail tells it all, and the older one is cancelled."""
    with db.write() as session:
        delivered(session)
        delivered(session, answer_due=DUE + timedelta(days=1), due_at=local(date(2026, 3, 24)))
        gone = delivered(session)
    deadlines.remind_due(db, SETTINGS, WEEK_BEFORE)
    with db.write() as session:
        triage.answered(session, gone.case_id, gone.id, seen=None, actor="maria", now=WEEK_BEFORE)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 24)))
    assert [mail.state for mail in mails(db)] == [DispatchState.CANCELLED, DispatchState.QUEUED]
    assert [line["days_left"] for line in mails(db)[1].detail["cases"]] == [6, 7]
    leave(db, local(date(2026, 3, 27)))
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 27))) == 2
    assert len(mails(db)) == 2  # they were told today already, of what was queued before


def test_heads_are_told_once_a_day_too(db: Store, city: Organisation) -> None:
    """Two weeks late: each registrator has one mail, and the head of both units has one with both cases."""
    with db.write() as session:
        delivered(session)
        delivered(session, "exploateringsforvaltningen", "expl@stad.example")
    deadlines.remind_due(db, SETTINGS, ONE_LATE, organisation=city)
    assert HEAD not in {mail.recipient for mail in mails(db)}
    leave(db, ONE_LATE)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 13)), organisation=city)
    late = mails(db)[2:]
    assert {(mail.recipient, mail.detail["to"], len(mail.detail["cases"])) for mail in late} == {
        (UNIT, "registrator", 1), ("expl@stad.example", "registrator", 1), (HEAD, "chef", 2)
    }  # fmt: skip
    assert [one.detail["to"] for one in told(db)][2:].count("chef") == 2


def test_without_a_head_the_mailbox_is_told_once(db: Store) -> None:
    """A unit that names no head gets its one mail, not two."""
    with db.write() as session:
        delivered(session)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 13)))
    assert [mail.detail["to"] for mail in mails(db)] == ["registrator"]


def test_a_restricted_case_is_a_number_only(db: Store) -> None:
    """Of a restricted case a digest tells the number and the date."""
    with db.write() as session:
        diarium.lock(session, delivered(session).case_id).restricted = "skyddad"
    deadlines.remind_due(db, SETTINGS, WEEK_BEFORE)
    (line,) = mails(db)[0].detail["cases"]
    assert line["subject"] == ""
    assert line["number"] == only_case(db).number


@pytest.mark.parametrize(
    "moment", [local(date(2026, 3, 23), 7, 59), local(date(2026, 3, 23), 16), local(date(2026, 3, 28), 10)]
)
def test_nobody_is_told_outside_office_hours(db: Store, moment: datetime) -> None:
    """At night and at weekends what is due waits for the morning."""
    with db.write() as session:
        delivered(session, due_at=moment)
    assert deadlines.remind_due(db, SETTINGS, moment) == 1
    assert mails(db) == []
    opening = OFFICE.next_opening(moment)
    assert deadlines.remind_due(db, SETTINGS, opening) == 1
    assert len(mails(db)) == 1


def test_an_outage_gives_one_mail(db: Store) -> None:
    """All steps were missed for cases of three weeks: one mail goes out, and nothing more on that day."""
    with db.write() as session:
        for day in range(3, 21):
            delivered(session, confirmed=local(date(2026, 3, day), 12))
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 2), 11)) == 18
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 2), 12)) == 0
    assert [len(mail.detail["cases"]) for mail in mails(db)] == [18]


def test_what_has_not_arrived_is_told_to_the_desk(db: Store) -> None:
    """While the forward is under way the desk is told after four office hours, and the unit is not reminded."""
    with db.write() as session:
        delivered(session, state=AssignmentState.SENDING)
    assert deadlines.remind_due(db, SETTINGS, CONFIRMED + timedelta(hours=4)) == 1
    assert "har inte gått att lämna på 4 timmar" in only_case(db).attention
    deadlines.remind_due(db, SETTINGS, WEEK_BEFORE)
    assert mails(db) == []
    with db.write() as session:
        session.exec(select(Assignment)).one().state = AssignmentState.DELIVERED
    deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 27)))
    assert len(mails(db)) == 1


def test_a_number_is_asked_for(db: Store) -> None:
    """Three working days without a diarienummer: the digest says so; once it is there, nobody asks."""
    with db.write() as session:
        delivered(session, external_number="")
        delivered(session)
    deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 6)))
    ((line,),) = (mail.detail["cases"] for mail in mails(db))
    assert line["diarienummer"] == ""
    assert told(db)[0].detail["steps"] == ["unregistered"]


def test_what_cannot_wait_has_a_mail_of_its_own(db: Store) -> None:
    """A report of a child at risk, on a Saturday night: unit and desk are told after two hours, not in the morning."""
    night = local(date(2026, 3, 7), 23)
    with db.write() as session:
        delivered(session, kind="orosanmalan", confirmed=night, external_number="")
    assert deadlines.remind_due(db, SETTINGS, night + timedelta(hours=2)) == 1
    assert [mail.kind for mail in mails(db)] == [DispatchKind.REMINDER]
    assert "Ring dem" in only_case(db).attention
    assert deadlines.remind_due(db, SETTINGS, night + timedelta(hours=3)) == 0
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 9))) == 1
    assert [mail.kind for mail in mails(db)] == [DispatchKind.REMINDER, DispatchKind.DIGEST]


def test_a_substantial_delay_is_told_to_the_desk(db: Store) -> None:
    """Four weeks late, the desk is asked to tell the citizen; what it was asked before is kept."""
    with db.write() as session:
        part = delivered(session, climbed_at=local(date(2026, 4, 24)))
        diarium.lock(session, part.case_id).attention = "Ring Anna."
    deadlines.remind_due(db, SETTINGS, local(date(2026, 4, 27)))
    assert only_case(db).attention.startswith("Ring Anna. Svaret från")
    assert "4 veckor försenat" in only_case(db).attention
    assert len(mails(db)) == 1


@pytest.mark.parametrize(
    "state",
    [AssignmentState.FAILED, AssignmentState.RETURNED, AssignmentState.ANSWERED, AssignmentState.WITHDRAWN],
)
def test_what_is_over_is_not_told(db: Store, state: AssignmentState) -> None:
    """A part that failed, was returned, answered or withdrawn has no clock any more."""
    with db.write() as session:
        delivered(session, state=state)
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 1
    assert mails(db) == []
    assert only_part(db).due_at is None


def test_a_case_that_is_back_on_the_desk_still_runs(db: Store) -> None:
    """Another part came back, and the case was set aside: the förvaltning that has its part is told all the same."""
    with db.write() as session:
        part = delivered(session)
        case = diarium.lock(session, part.case_id)
        for kind in (EventKind.RETURNED, EventKind.QUARANTINED):
            diarium.record(session, case, kind, actor="maria", now=CONFIRMED, detail={})
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 1
    assert len(mails(db)) == 1


def test_a_case_that_is_over_is_not_told(db: Store) -> None:
    """A closed case reminds nobody, whatever is left of its parts."""
    with db.write() as session:
        case = diarium.lock(session, delivered(session).case_id)
        diarium.record(session, case, EventKind.CLOSED, actor="maria", now=CONFIRMED, detail={})
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 1
    assert mails(db) == []
    assert only_part(db).due_at is None


def test_what_another_node_did_meanwhile_is_not_repeated(db: Store) -> None:
    """We stall between looking and telling: the node that took over has told."""
    with db.write() as session:
        delivered(session)
    other = Store(db.engine)
    other.node = "another:1"
    taken: list[object] = []

    def stall(connection: object, *_: object) -> None:
        taken.append(connection)
        if len(taken) == 2:  # the first was for the look
            assert deadlines.remind_due(other, SETTINGS, local(date(2026, 3, 23), 9)) == 1

    event.listen(db.engine, "checkout", stall)
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 0
    event.remove(db.engine, "checkout", stall)
    assert [mail.created_at for mail in mails(db)] == [local(date(2026, 3, 23), 9)]


def test_a_day_is_taken_by_one(db: Store) -> None:
    """A node that sees other cases of the mailbox due finds the day taken: its cases wait for the next."""
    with db.write() as session:
        delivered(session)
        session.add(Digest(recipient=UNIT, day=date(2026, 3, 23), at=WEEK_BEFORE))
    assert deadlines.remind_due(db, SETTINGS, WEEK_BEFORE) == 1
    assert mails(db) == []
    assert only_part(db).due_at == local(date(2026, 3, 24))
    assert deadlines.remind_due(db, SETTINGS, local(date(2026, 3, 24))) == 1
    assert len(mails(db)) == 1


def test_four_workers_make_one_mail_each(db: Store) -> None:
    """Four workers at the same moment: every mailbox has one mail, every case one event."""
    with db.write() as session:
        for count in range(40):
            delivered(session, mailbox=f"box{count % 5}@stad.example")

    def work(_: int) -> int:
        done = 0
        while looked_at := deadlines.remind_due(db, SETTINGS, WEEK_BEFORE):
            done += looked_at
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 40
    assert sorted(mail.recipient for mail in mails(db)) == [f"box{count}@stad.example" for count in range(5)]
    assert len({one.case_id for one in told(db)}) == len(told(db)) == 40


# At the desk


def test_a_case_nobody_decides_is_marked(db: Store) -> None:
    """After eight office hours it is marked, once; when it comes back and waits again, it is marked again."""
    with db.write() as session:
        new = diarium.NewCase("anna@example.se", "", "lampa", True, CONFIRMED, {})
        (opened,) = diarium.open_cases(session, [new], now=CONFIRMED, zone=ZONE, weeks=4)
    assert deadlines.mark_waiting(db, SETTINGS, local(date(2026, 3, 4), 8, 59)) == 0
    assert deadlines.mark_waiting(db, SETTINGS, local(date(2026, 3, 4), 9)) == 1
    assert "på 8 timmar" in only_case(db).attention
    with db.write() as session:
        triage.noted(session, opened.case_id, seen=None, actor="maria", now=CONFIRMED)
    assert deadlines.mark_waiting(db, SETTINGS, local(date(2026, 3, 9))) == 0
    with db.write() as session:
        case = diarium.lock(session, opened.case_id)
        for kind in (EventKind.CLOSED, EventKind.REOPENED):
            diarium.record(session, case, kind, actor="maria", now=local(date(2026, 3, 9)), detail={})
    assert deadlines.mark_waiting(db, SETTINGS, local(date(2026, 3, 9), 15)) == 0
    assert deadlines.mark_waiting(db, SETTINGS, local(date(2026, 3, 10))) == 1
    assert [one.detail["step"] for one in told(db)] == ["unconfirmed"] * 2


def test_what_must_be_done_at_once_is_marked_at_night(db: Store) -> None:
    """A report of a child at risk that nobody has sent on is marked after two hours, whatever the hour."""
    night = local(date(2026, 3, 7), 23)
    with db.write() as session:
        new = diarium.NewCase("anna@example.se", "", "oro", True, night, {})
        (opened,) = diarium.open_cases(session, [new], now=night, zone=ZONE, weeks=4)
        diarium.lock(session, opened.case_id).kind = "orosanmalan"
    assert deadlines.mark_waiting(db, SETTINGS, night + timedelta(hours=1, minutes=59)) == 0
    assert deadlines.mark_waiting(db, SETTINGS, night + timedelta(hours=2)) == 1
