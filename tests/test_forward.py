"""Forwarding: from a queued dispatch to the mailbox and back to the register, on both databases."""

import email
import email.policy
import json
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from mailrouter import bounces, config, diarium, forward, number, settlement, triage
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.smarthost import Later, MaildirSmarthost, Never, Outcome, Sent
from mailrouter.store import Store
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Attempt,
    Case,
    CaseState,
    Dispatch,
    DispatchKind,
    DispatchState,
    Disposition,
    Event,
    Mail,
    RawMail,
)
from tests.clock import NOW, ZONE

ORIGINAL = b"From: anna@example.se\r\nSubject: lampa\r\n\r\nLampan \xc3\xa4r trasig.\r\n"
UNIT = "stadsmiljo@stad.example"
SENT, LATER, NEVER = Sent("250 taken"), Later("450 4.2.0 greylisted"), Never("550 5.1.1 unknown")
SURE = random.Random(1)


class Answering:
    """A smarthost that answers what it is told, the last answer again and again, and keeps what it was given."""

    def __init__(self, *answers: Outcome, during: Callable[[], None] = lambda: None) -> None:
        self.answers = list(answers)
        self.during = during
        self.got: list[tuple[str, str, bytes]] = []
        self._lock = threading.Lock()

    def send(self, envelope_sender: str, recipient: str, octets: bytes, **_: object) -> Outcome:
        """The next answer."""
        with self._lock:
            self.got.append((envelope_sender, recipient, octets))
            self.during()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """The defaults, with the mailboxes in the test's folder and one connection, so that order is certain."""
    return config.Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes", connections=1))


def routed(session: Session, units: int = 1, recipient: str = UNIT, original: bytes = ORIGINAL) -> Case:
    """A confirmed case with one queued forward for each of ``units``."""
    new = diarium.NewCase("anna@example.se", "Anna Ek", "lampa", True, NOW, {})
    (opened,) = diarium.open_cases(session, [new], now=NOW, zone=ZONE, weeks=4)
    case = diarium.lock(session, opened.case_id)
    mail = Mail(
        case_id=case.id, disposition=Disposition.CASE, source="test", source_key=number.new_token(), identity="",
        size=len(original), received_at=NOW,
    )  # fmt: skip
    session.add(mail)
    session.flush()
    session.add(RawMail(mail_id=mail.id, octets=original))
    for index in range(units):
        part = Assignment(
            case_id=case.id, unit=f"unit-{index}", unit_name="Stadsmiljöförvaltningen", area="gatubelysning",
            created_at=NOW, created_by="maria", answer_due=date(2026, 3, 30),
            due_at=datetime(2026, 3, 23, 7, tzinfo=UTC),
        )  # fmt: skip
        session.add(part)
        session.flush()
        session.add(
            Dispatch(
                case_id=case.id, assignment_id=part.id, mail_id=mail.id, kind=DispatchKind.FORWARD,
                recipient=recipient, token=number.new_token(), created_at=NOW, due_at=NOW,
            )
        )  # fmt: skip
    diarium.record(session, case, EventKind.CONFIRMED, actor="maria", now=NOW, detail={})
    return case


def queue(db: Store, **wanted: Any) -> int:
    """A confirmed case in the store; its id."""
    with db.write() as session:
        return routed(session, **wanted).id


def seen(db: Store, case_id: int) -> tuple[Case, list[Assignment], list[Dispatch], list[str]]:
    """The case with its parts, its mails and its events, whose chain must hold."""
    with db.read() as session:
        case = session.get_one(Case, case_id)
        events = session.exec(select(Event).where(Event.case_id == case_id).order_by(col(Event.sequence))).all()
        assert diarium.broken_links(case.number, case.last_event, case.last_hash, events) == []
        parts = session.exec(select(Assignment).where(Assignment.case_id == case_id).order_by(col(Assignment.id)))
        mails = session.exec(select(Dispatch).where(Dispatch.case_id == case_id).order_by(col(Dispatch.id)))
        return case, list(parts), list(mails), [one.kind for one in events]


def tries(db: Store) -> list[tuple[str, str]]:
    """Outcome and words of every attempt."""
    with db.read() as session:
        return [(one.outcome, one.reply) for one in session.exec(select(Attempt).order_by(col(Attempt.id)))]


def test_a_forward_lands_in_the_mailbox(db: Store, settings: config.Settings, tmp_path: Path) -> None:
    """A queued forward is delivered, its part is delivered, and the register holds the attempt and the words."""
    key = queue(db)
    smarthost = MaildirSmarthost(settings.smarthost.maildir, settings.city.domains)
    assert forward.send_due(db, smarthost, settings, NOW) == 1
    (file,) = (tmp_path / "mailboxes" / UNIT / "new").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    case, (part,), (mail,), events = seen(db, key)
    assert message["X-Mailrouter-Case"] == case.number
    assert ORIGINAL in file.read_bytes()
    assert (case.state, part.state, mail.state) == ("routed", "delivered", "sent")
    assert part.due_at is not None
    assert mail.due_at is None
    assert mail.settled_at is not None
    assert events == ["received", "confirmed", "sent"]
    ((outcome, words),) = tries(db)
    assert outcome == "sent"
    assert words.startswith("250")
    assert forward.send_due(db, smarthost, settings, NOW) == 0


def test_the_envelope_carries_the_token(db: Store, settings: config.Settings) -> None:
    """Sender of the envelope is our address with the token, so that a bounce comes home."""
    key = queue(db)
    out = Answering(SENT)
    forward.send_due(db, out, settings, NOW)
    (mail,) = seen(db, key)[2]
    assert out.got[0][:2] == (f"svar+{mail.token}@stad.example", UNIT)


def test_a_temporary_failure_waits_and_comes_again(db: Store, settings: config.Settings) -> None:
    """Later means a growing wait, one event at the first time, and the same octets at each try."""
    key = queue(db)
    out = Answering(LATER, LATER, SENT)
    now = NOW
    for wait in settings.forward.retry_minutes[:2]:
        assert forward.send_due(db, out, settings, now, chance=SURE) == 1
        (mail,) = seen(db, key)[2]
        assert mail.state is DispatchState.QUEUED
        assert mail.due_at is not None
        earliest, latest = now + timedelta(minutes=wait), now + timedelta(minutes=wait * 1.2, seconds=30)
        assert earliest <= mail.due_at <= latest
        assert forward.send_due(db, out, settings, earliest - timedelta(seconds=1)) == 0
        now = latest
    assert forward.send_due(db, out, settings, now) == 1
    case, (part,), (mail,), events = seen(db, key)
    assert (case.state, part.state, mail.state) == ("routed", "delivered", "sent")
    assert events == ["received", "confirmed", "send-delayed", "sent"]
    assert [outcome for outcome, _ in tries(db)] == ["later", "later", "sent"]
    assert len({octets for _, _, octets in out.got}) == 1


def test_a_permanent_failure_takes_the_case_to_the_desk(db: Store, settings: config.Settings) -> None:
    """Never means: the part has failed, nobody is reminded, and the desk reads who, where and why."""
    key = queue(db)
    assert forward.send_due(db, Answering(NEVER), settings, NOW) == 1
    case, (part,), (mail,), events = seen(db, key)
    assert (case.state, part.state, mail.state) == ("open", "failed", "failed")
    assert (part.due_at, mail.due_at) == (None, None)
    for words in ("Stadsmiljöförvaltningen", UNIT, "550 5.1.1 unknown"):
        assert words in case.attention
    assert events == ["received", "confirmed", "delivery-failed"]
    assert tries(db) == [("never", "550 5.1.1 unknown")]


def test_a_forward_is_given_up_after_days(db: Store, settings: config.Settings) -> None:
    """What still fails after give_up_days goes to the desk with the last words of the server."""
    key = queue(db)
    days = settings.forward.give_up_days
    out = Answering(LATER)
    for hours in (0, 24 * days - 1, 24 * days + 8):
        assert forward.send_due(db, out, settings, NOW + timedelta(hours=hours)) == 1
    case, (part,), (mail,), events = seen(db, key)
    assert (case.state, part.state, mail.state) == ("open", "failed", "failed")
    assert "Gav upp efter 5 dagar" in case.attention
    assert "450 4.2.0 greylisted" in case.attention
    assert events == ["received", "confirmed", "send-delayed", "delivery-failed"]


def test_an_outage_of_ours_is_no_reason_to_give_up(db: Store, settings: config.Settings) -> None:
    """Days are counted from the first try, not from the decision: after a long outage it is still tried."""
    key = queue(db)
    forward.send_due(db, Answering(LATER), settings, NOW + timedelta(days=30))
    assert seen(db, key)[2][0].state is DispatchState.QUEUED


def test_one_failing_part_leaves_the_other(db: Store, settings: config.Settings) -> None:
    """Two förvaltningar, one mailbox that does not exist: the case is on the desk, the other has its mail."""
    key = queue(db, units=2)
    assert forward.send_due(db, Answering(NEVER, SENT), settings, NOW) == 2
    case, parts, _, events = seen(db, key)
    assert case.state is CaseState.OPEN
    assert sorted(part.state for part in parts) == ["delivered", "failed"]
    assert sorted(events[2:]) == ["delivery-failed", "sent"]


def test_outside_the_city_is_refused(db: Store, settings: config.Settings) -> None:
    """Even a dispatch that should never have been written goes nowhere outside the city's domains."""
    key = queue(db, recipient="anna@example.se")
    smarthost = MaildirSmarthost(settings.smarthost.maildir, settings.city.domains)
    forward.send_due(db, smarthost, settings, NOW)
    assert "city.domains" in seen(db, key)[0].attention
    assert not settings.smarthost.maildir.exists()


def test_one_broken_dispatch_stops_no_other(db: Store, settings: config.Settings) -> None:
    """A mail that cannot be composed goes to the desk with the reason; those beside it are sent."""
    broken, whole = queue(db), queue(db)
    with db.write() as session:
        mail = session.exec(select(Dispatch).where(Dispatch.case_id == broken)).one()
        session.delete(session.get_one(RawMail, mail.mail_id))
    assert forward.send_due(db, Answering(SENT), settings, NOW) == 2
    assert "Originalet" in seen(db, broken)[0].attention
    assert seen(db, whole)[2][0].state is DispatchState.SENT


def test_a_fault_of_ours_while_composing_goes_to_the_desk(db: Store, settings: config.Settings) -> None:
    """An unforeseen fault in composing is said in plain words, and the next mail goes out."""
    broken, whole = queue(db), queue(db)
    with db.write() as session:
        session.get_one(Case, broken).suggestion = {"unit": "unit-0", "reasons": ["not what classify writes"]}
    forward.send_due(db, Answering(SENT), settings, NOW)
    assert "gick inte att sätta ihop" in seen(db, broken)[0].attention
    assert seen(db, whole)[2][0].state is DispatchState.SENT


def test_a_fault_of_ours_while_sending_is_tried_again(db: Store, settings: config.Settings) -> None:
    """A smarthost that breaks in a way nobody foresaw delays the mail and loses nothing."""

    def burst() -> None:
        raise RuntimeError("burst")

    key = queue(db)
    forward.send_due(db, Answering(SENT, during=burst), settings, NOW)
    (mail,) = seen(db, key)[2]
    assert mail.state is DispatchState.QUEUED
    assert mail.due_at is not None
    assert mail.due_at > NOW
    assert "RuntimeError" in tries(db)[0][1]


class PowerCutError(BaseException):
    """The process ends."""


def test_a_crash_after_hand_over_gives_one_equal_copy(db: Store, settings: config.Settings) -> None:
    """The process dies with the mail handed over: nothing is due before the lease ends, then an equal copy goes."""

    def cut() -> None:
        raise PowerCutError

    key = queue(db)
    first, second = Answering(SENT, during=cut), Answering(SENT)
    with pytest.raises(PowerCutError):
        forward.send_due(db, first, settings, NOW)
    lease = timedelta(seconds=settings.work.lease_seconds)
    assert forward.send_due(db, second, settings, NOW + lease - timedelta(seconds=1)) == 0
    assert forward.send_due(db, second, settings, NOW + lease + timedelta(seconds=1)) == 1
    assert second.got == first.got
    assert [outcome for outcome, _ in tries(db)] == ["", "sent"]
    assert seen(db, key)[3] == ["received", "confirmed", "sent"]


def test_what_was_sent_is_written_down_when_the_database_returns(db: Store, settings: config.Settings) -> None:
    """The database goes away while the mail is handed over: the outcome waits for it, and no copy is sent."""
    key = queue(db)
    away = threading.Event()

    def refuse(_: object) -> None:
        if away.is_set():
            away.clear()
            raise OperationalError("BEGIN", {}, Exception("the database is away"))

    out = Answering(SENT, during=away.set)
    event.listen(db.engine, "begin", refuse)
    assert forward.send_due(db, out, settings, NOW) == 1
    event.remove(db.engine, "begin", refuse)
    assert seen(db, key)[2][0].state is DispatchState.SENT
    assert len(out.got) == 1


def test_what_there_was_no_time_for_is_given_back(db: Store, settings: config.Settings) -> None:
    """When the lease is used up the rest is not sent by us: it is due at once, with no attempt to its name."""
    key = queue(db)
    hurried = settings.model_copy(update={"work": settings.work.model_copy(update={"lease_seconds": 0})})
    out = Answering(SENT)
    forward.send_due(db, out, hurried, NOW)
    (mail,) = seen(db, key)[2]
    assert (out.got, tries(db), mail.attempts, mail.leased_until) == ([], [], 0, None)
    assert forward.send_due(db, out, settings, NOW + timedelta(seconds=60)) == 1
    assert seen(db, key)[2][0].state is DispatchState.SENT


def test_a_mail_is_sent_by_one(db: Store, settings: config.Settings) -> None:
    """Four workers on one queue send each mail once."""
    for _ in range(40):
        queue(db)
    out = Answering(SENT)

    def work(_: int) -> int:
        done = 0
        while sent := forward.send_due(db, out, settings, NOW):
            done += sent
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 40
    assert len({sender for sender, _, _ in out.got}) == len(out.got) == 40


def test_withdrawn_under_way(db: Store, settings: config.Settings) -> None:
    """Closed while the mail was handed over: the mail stays cancelled, and the history says that it left."""
    key = queue(db)

    def close() -> None:
        with db.write() as session:
            triage.close(session, key, triage.CloseReason.EJ_ARENDE, note="", seen=None, actor="maria", now=NOW)

    forward.send_due(db, Answering(SENT, during=close), settings, NOW)
    case, (part,), (mail,), events = seen(db, key)
    assert (case.state, part.state, mail.state) == ("closed", "withdrawn", "cancelled")
    assert mail.due_at is None
    assert events == ["received", "confirmed", "closed", "sent"]


def test_the_log_names_the_steps_and_only_the_number(
    db: Store, settings: config.Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Four lines a mail, in order, with the case number and nothing of anybody."""
    key = queue(db)
    with caplog.at_level(logging.INFO, logger="mailrouter.forward"):
        forward.send_due(db, Answering(SENT), settings, NOW)
    of = seen(db, key)[0].number
    steps = ("claimed", "sending", "handed-over", "settled")
    assert [record.getMessage() for record in caplog.records] == [f"forward-{step} case={of}" for step in steps]


@given(
    attempts=st.integers(1, 500),
    minutes=st.lists(st.integers(1, 10_000), min_size=1, max_size=9),
    seed=st.integers(),
)
def test_the_wait_follows_the_list(attempts: int, minutes: list[int], seed: int) -> None:
    """The n-th wait is the n-th of the list, the last one repeats, and jitter adds at most a fifth."""
    wait = settlement.retry_wait(attempts, config.Forward(retry_minutes=minutes), random.Random(seed))
    listed = timedelta(minutes=minutes[min(attempts, len(minutes)) - 1])
    assert listed <= wait <= listed * 1.2


def remind(db: Store, case_id: int) -> None:
    """Queue a reminder to the first part of a case."""
    with db.write() as session:
        first = session.exec(select(Dispatch).where(Dispatch.case_id == case_id)).first()
        assert first is not None
        session.add(
            Dispatch(
                case_id=case_id, assignment_id=first.assignment_id, kind=DispatchKind.REMINDER,
                recipient=UNIT, token=number.new_token(), created_at=NOW, due_at=NOW,
            )
        )  # fmt: skip


def test_a_reminder_is_sent(db: Store, settings: config.Settings) -> None:
    """A reminder goes the same way, to the same mailbox, as a mail of its own."""
    key = queue(db)
    out = Answering(SENT)
    forward.send_due(db, out, settings, NOW)
    remind(db, key)
    assert forward.send_due(db, out, settings, NOW) == 1
    assert b"X-Mailrouter-Dispatch: reminder" in out.got[1][2]
    assert seen(db, key)[3] == ["received", "confirmed", "sent", "sent"]


def test_a_reminder_that_fails_moves_nothing(db: Store, settings: config.Settings) -> None:
    """A reminder nobody takes asks for attention; the case stays where it is."""
    key = queue(db)
    forward.send_due(db, Answering(SENT), settings, NOW)
    remind(db, key)
    forward.send_due(db, Answering(NEVER), settings, NOW)
    case, (part,), mails, _ = seen(db, key)
    assert (case.state, part.state) == ("routed", "delivered")
    assert [mail.state for mail in mails] == ["sent", "failed"]
    assert "Påminnelsen" in case.attention


def test_a_reminder_that_is_overtaken_is_not_sent(db: Store, settings: config.Settings) -> None:
    """The förvaltning answered while the reminder waited: nobody is nagged."""
    key = queue(db)
    forward.send_due(db, Answering(SENT), settings, NOW)
    remind(db, key)
    with db.write() as session:
        part = session.exec(select(Assignment)).one()
        triage.answered(session, key, part.id, seen=None, actor="maria", now=NOW)
    out = Answering(SENT)
    assert forward.send_due(db, out, settings, NOW) == 0
    assert out.got == []
    assert seen(db, key)[2][1].state is DispatchState.CANCELLED


def bounce(db: Store, case_id: int, *failures: Failure, of: int = 0) -> None:
    """A delivery report about the ``of``-th mail of the case comes home."""
    with db.write() as session:
        dispatch = session.exec(select(Dispatch).where(Dispatch.case_id == case_id).order_by(col(Dispatch.id))).all()
        mail = Mail(
            case_id=case_id, dispatch_id=dispatch[of].id, disposition=Disposition.JOINED, source="test",
            source_key=number.new_token(), identity="", size=0, received_at=NOW,
        )  # fmt: skip
        session.add(mail)
        session.flush()
        bounces.take_report(session, mail, Report(failures, ""), config.Settings(), NOW)


UNKNOWN = Failure(UNIT, "failed", "5.1.1", "smtp; 550 5.1.1 User unknown")
DELAYED = Failure(UNIT, "delayed", "4.4.1", "smtp; connection timed out")
ARRIVED = Failure(UNIT, "delivered", "2.0.0", "")


@pytest.fixture
def delivered(db: Store, settings: config.Settings) -> int:
    """A case whose forward the smarthost took; its id."""
    key = queue(db)
    forward.send_due(db, Answering(SENT), settings, NOW)
    return key


def test_a_bounce_takes_the_case_to_the_desk(db: Store, delivered: int) -> None:
    """A permanent failure reported afterwards has the same effect as one at the door."""
    bounce(db, delivered, UNKNOWN)
    case, (part,), (mail,), events = seen(db, delivered)
    assert (case.state, part.state, mail.state) == ("open", "failed", "failed")
    assert part.due_at is None
    assert "User unknown" in case.attention
    assert events[-1] == "delivery-failed"


def test_a_second_bounce_does_not_disturb_the_new_choice(db: Store, delivered: int) -> None:
    """A late copy of a bounce does not take the case away from the förvaltning that was chosen meanwhile."""
    bounce(db, delivered, UNKNOWN)
    with db.write() as session:
        diarium.record(session, diarium.lock(session, delivered), EventKind.CONFIRMED, actor="m", now=NOW, detail={})
    bounce(db, delivered, UNKNOWN)
    case, _, _, events = seen(db, delivered)
    assert case.state is CaseState.ROUTED
    assert events.count("delivery-failed") == 1


@pytest.mark.parametrize(("told", "kind"), [(DELAYED, "send-delayed"), (ARRIVED, "sent")])
def test_a_report_without_failure_is_noted(db: Store, delivered: int, told: Failure, kind: str) -> None:
    """Delay and arrival are events; nothing moves."""
    bounce(db, delivered, told)
    case, (part,), (mail,), events = seen(db, delivered)
    assert (case.state, part.state, mail.state) == ("routed", "delivered", "sent")
    assert events[3:] == [kind]


def test_a_report_that_says_nothing_asks_for_a_reader(db: Store, delivered: int) -> None:
    """A report without a readable recipient is for a person."""
    bounce(db, delivered)
    assert "leveransbesked" in seen(db, delivered)[0].attention


def test_a_bounce_after_the_answer_changes_nothing(db: Store, delivered: int) -> None:
    """A part that was answered has no use for the mail any more: the failure is noted, the case stays."""
    with db.write() as session:
        part = session.exec(select(Assignment)).one()
        triage.answered(session, delivered, part.id, seen=None, actor="maria", now=NOW)
    bounce(db, delivered, UNKNOWN)
    case, (part,), (mail,), _ = seen(db, delivered)
    assert (case.state, part.state, mail.state) == ("answered", "answered", "failed")


def test_a_bounced_reminder_asks_for_attention(db: Store, settings: config.Settings, delivered: int) -> None:
    """A reminder that bounces moves no case either."""
    remind(db, delivered)
    forward.send_due(db, Answering(SENT), settings, NOW)
    bounce(db, delivered, UNKNOWN, of=1)
    case, _, mails, _ = seen(db, delivered)
    assert case.state is CaseState.ROUTED
    assert [mail.state for mail in mails] == ["sent", "failed"]
    assert "Påminnelsen" in case.attention


def test_a_bounce_that_is_faster_than_we(db: Store, settings: config.Settings) -> None:
    """The bounce comes in before the sending is written down: it counts, and the sending does not undo it."""
    key = queue(db)
    forward.send_due(db, Answering(SENT, during=lambda: bounce(db, key, UNKNOWN)), settings, NOW)
    case, (part,), (mail,), _ = seen(db, key)
    assert (case.state, part.state, mail.state) == ("open", "failed", "failed")
    assert mail.due_at is None


def test_a_failure_while_in_quarantine(db: Store, settings: config.Settings) -> None:
    """A case in quarantine is at the desk already: the failure is told there and nothing breaks."""
    key = queue(db, units=2)
    forward.send_due(db, Answering(NEVER, LATER), settings, NOW)
    with db.write() as session:
        diarium.record(session, diarium.lock(session, key), EventKind.QUARANTINED, actor="m", now=NOW, detail={})
    forward.send_due(db, Answering(NEVER), settings, NOW + timedelta(hours=1))
    case, parts, _, _ = seen(db, key)
    assert case.state is CaseState.QUARANTINED
    assert {part.state for part in parts} == {AssignmentState.FAILED}
    assert "550 5.1.1" in case.attention


def test_the_outbox_is_plain(db: Store, settings: config.Settings, delivered: int) -> None:
    """The outbox is data a program can read: each mail with its attempts, in order."""
    queue(db)
    with db.read() as session:
        first, second = json.loads(json.dumps(forward.outbox(session)))
        assert forward.outbox(session, delivered) == [first]
    assert first["case"] == seen(db, delivered)[0].number
    assert (first["kind"], first["recipient"], first["state"], first["due_at"]) == ("forward", UNIT, "sent", None)
    assert [(one["outcome"], one["reply"]) for one in first["attempts"]] == [("sent", "250 taken")]
    assert (second["state"], second["attempts"]) == ("queued", [])
    assert datetime.fromisoformat(second["due_at"]) == NOW
