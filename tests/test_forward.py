"""Forwarding: from a queued dispatch to the mailbox and back to the register, on both databases."""

import email
import email.policy
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from mailrouter import config, diarium, forward, number
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.smarthost import Later, MaildirSmarthost, Never, Outcome, Sent
from mailrouter.store import Store, settle
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

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORIGINAL = b"From: anna@example.se\r\nSubject: lampa\r\n\r\nLampan \xc3\xa4r trasig.\r\n"
UNIT = "stadsmiljo@stad.example"


class Answering:
    """A smarthost that answers what it is told and keeps what it was given."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, str, bytes]] = []
        self._lock = threading.Lock()

    def send(self, envelope_sender: str, recipient: str, octets: bytes) -> Outcome:
        """The next answer; the last one repeats."""
        with self._lock:
            self.got.append((envelope_sender, recipient, octets))
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """The defaults, with the mailboxes in the test's folder."""
    return config.Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes"))


def routed(session: Session, units: int = 1, recipient: str = UNIT, original: bytes = ORIGINAL) -> Case:
    """A confirmed case with one queued forward for each of ``units``."""
    new = diarium.NewCase("anna@example.se", "Anna Ek", "lampa", True, NOW, {})
    (opened,) = diarium.open_cases(session, [new], now=NOW, zone=diarium.ZoneInfo("Europe/Stockholm"), weeks=4)
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


def kinds(session: Session, case_id: int) -> list[str]:
    """The events of a case, in order."""
    return list(session.exec(select(Event.kind).where(Event.case_id == case_id).order_by(col(Event.sequence))))


def test_a_forward_lands_in_the_mailbox(db: Store, settings: config.Settings, tmp_path: Path) -> None:
    """A queued forward is delivered, its part is delivered, and the register holds the attempt and the words."""
    with db.write() as session:
        case = routed(session)
    smarthost = MaildirSmarthost(settings.smarthost.maildir, settings.city.domains)
    assert forward.send_due(db, smarthost, settings, NOW) == 1
    (file,) = (tmp_path / "mailboxes" / UNIT / "new").iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert message["X-Mailrouter-Case"] == case.number
    with db.read() as session:
        (entry,) = forward.outbox(session)
        assert (entry["state"], entry["due_at"]) == ("sent", None)
        assert [attempt["outcome"] for attempt in entry["attempts"]] == ["sent"]
        assert session.exec(select(Assignment.state)).one() is AssignmentState.DELIVERED
        assert kinds(session, case.id) == ["received", "confirmed", "sent"]
    assert forward.send_due(db, smarthost, settings, NOW) == 0
