"""kill -9 at every arrow of docs/flow.md: nothing lost, nothing registered twice, at most one second copy."""

import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from imapclient import IMAPClient
from sqlmodel import select

from mailrouter import config, diarium, organisation, seal, triage
from mailrouter.reports.reconcile import reconcile
from mailrouter.store import Store
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Attempt,
    Case,
    Dispatch,
    DispatchKind,
    DispatchState,
    Event,
    Mail,
)
from mailrouter.triage import Choice
from tests.mails import octets
from tests.register import take_and_read
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.service import RECIPIENT, Service
from tests.waiting import until

UNIT = "stadsmiljoforvaltningen"


@dataclass
class Roles:
    """The roles of one installation as processes of their own, so that each can be killed by itself."""

    service: Service
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, role: str, crash_at: str = "") -> "subprocess.Popen[bytes]":
        """Start ``role``; with ``crash_at`` it dies at that event."""
        cut = ["tests.crash", crash_at] if crash_at else []
        log = (self.service.folder / "log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", *cut, "mailrouter.role", role, str(self.service.config_file)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End what still runs."""
        for process in self.processes:
            process.kill()
            process.wait(10)


@pytest.fixture
def roles(store_url: str, tmp_path: Path) -> Iterator[Roles]:
    """An installation on each database, nothing running yet."""
    started = Roles(Service(tmp_path / "service", store_url))
    yield started
    started.end()


@contextmanager
def _told(roles: Roles) -> Iterator[None]:
    """The log of the service in the failure."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}\n{roles.service.log()[-4000:]}") from error


def _is_registered(service: Service, content: bytes) -> bool:
    """True when the door said 250; a closed door or a lost connection means: send it again later."""
    try:
        with smtplib.SMTP("127.0.0.1", service.smtp_port, timeout=10) as door:
            door.sendmail("anna@post.example", [RECIPIENT], content)
    except (OSError, smtplib.SMTPException):
        return False
    return True


def _suggested(db: Store) -> int | None:
    """The id of the only case, once it has its suggestion."""
    with db.read() as session:
        case = session.exec(select(Case)).first()
        return case.id if case and case.suggestion else None


def _confirm(db: Store, case_id: int) -> None:
    settings = config.Settings()
    city = organisation.load(settings.classify.organisation)
    with db.write() as session:
        triage.confirm(
            session, case_id, [Choice(UNIT)], seen=None, actor="eva", now=datetime.now(UTC), organisation=city,
            settings=settings,
        )  # fmt: skip


def _forwards(service: Service) -> list[Message]:
    """What the förvaltning has: the files of its Maildir."""
    files = (service.mailboxes / f"{UNIT}@stad.example").glob("[nc][eu][wr]/*")
    return [message_from_bytes(file.read_bytes()) for file in files]


def _is_sent(db: Store) -> bool:
    with db.read() as session:
        return {dispatch.state for dispatch in session.exec(select(Dispatch))} == {DispatchState.SENT}


def _assert_whole(db: Store) -> None:
    """One case, one original, and both proofs hold."""
    with db.read() as session:
        assert reconcile(session)["balanced"]
        assert len(session.exec(select(Case)).all()) == 1
    assert seal.verify(db).faults == []


# Where a role dies, and how many copies the förvaltning may get: a second one only where the smarthost had
# the mail and we had not yet written that down (RFC 5321 4.5.4.1 knows the same gap).
CRASHES = [
    ("doors", "intake-committing", 1),
    ("doors", "intake-committed", 1),
    ("work", "work-released", 1),
    ("work", "reading-claimed", 1),
    ("work", "reading-judged", 1),
    ("work", "reading-stored", 1),
    ("work", "forward-claimed", 1),
    ("work", "forward-sending", 1),
    ("work", "forward-handed-over", 2),
    ("work", "forward-settled", 1),
]


@pytest.mark.parametrize(("role", "event", "copies"), CRASHES)
def test_a_role_killed_at(roles: Roles, db: Store, role: str, event: str, copies: int) -> None:
    """The role dies at the event and is started again; the mail arrives, and the register is whole."""
    service, content = roles.service, octets(key=event)
    with _told(roles):
        others = [other for other in ("doors", "work") if other != role]
        doomed = roles.start(role, crash_at=event)
        for other in others:
            roles.start(other)
        if role == "doors":
            until(lambda: _is_registered(service, content) or doomed.poll() is not None, 60)
        else:
            until(lambda: _is_registered(service, content), 60)
            if event.startswith("forward"):
                _confirm(db, until(lambda: _suggested(db), 60))
        assert doomed.wait(60) == -signal.SIGKILL
        roles.start(role)
        if role == "doors":
            until(lambda: _is_registered(service, content), 60)
        case_id = until(lambda: _suggested(db), 60)
        if not event.startswith("forward"):
            _confirm(db, case_id)
        forwards = until(lambda: _forwards(service), 60)
        until(lambda: _is_sent(db), 60)
        forwards = _forwards(service)
    assert 1 <= len(forwards) <= copies
    assert len({forward["Message-ID"] for forward in forwards}) == 1
    if event == "forward-handed-over":
        with db.read() as session:
            assert [attempt.outcome for attempt in session.exec(select(Attempt))] == ["", "sent"]
    _assert_whole(db)


@pytest.mark.parametrize("event", ["intake-committing", "intake-committed", "imap-taken"])
def test_the_doors_killed_over_an_imap_mail(
    roles: Roles, db: Store, imap_server: Dovecot, event: str, request: pytest.FixtureRequest
) -> None:
    """The watcher dies around its commit; afterwards the mail is registered once and moved away."""
    user = f"crash{abs(hash(request.node.name))}"
    with IMAPClient("127.0.0.1", imap_server.imap, ssl=False, timeout=10) as client:
        client.login(user, PASSWORD)
        client.create_folder("Klart")
        client.append("INBOX", octets(key=event))
        roles.service.more = (
            f'[[imap]]\nname = "box"\nhost = "127.0.0.1"\nport = {imap_server.imap}\ntls = "none"\n'
            f'user = "{user}"\npassword = "{PASSWORD}"\nmove_to = "Klart"\n'
        )
        roles.service.write_config()
        with _told(roles):
            assert roles.start("doors", crash_at=event).wait(60) == -signal.SIGKILL
            roles.start("doors")
            until(lambda: client.folder_status("Klart", "MESSAGES")[b"MESSAGES"] == 1, 60)
        assert client.folder_status("INBOX", "MESSAGES")[b"MESSAGES"] == 0
    with db.read() as session:
        assert [mail.source for mail in session.exec(select(Mail))] == ["imap:box"]
    _assert_whole(db)


def test_a_decision_killed_before_its_commit_did_not_happen(roles: Roles, db: Store) -> None:
    """A confirmation that dies inside its transaction leaves the case as it was, free to be confirmed."""
    service = roles.service
    with _told(roles):
        roles.start("doors")
        work = roles.start("work")
        until(lambda: _is_registered(service, octets()), 60)
        case_id = until(lambda: _suggested(db), 60)
        number = service.json("case", "list")[0]["number"]
        killed = subprocess.run(
            [sys.executable, "-m", "tests.crash", "write-committing", "mailrouter", "case", "confirm", number,
             "--unit", UNIT, "--config", str(service.config_file)],
            check=False, capture_output=True,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL
        assert service.json("case", "show", number)["state"] == "open"
        assert work.poll() is None
        _confirm(db, case_id)
        until(lambda: _forwards(service), 60)
    _assert_whole(db)


@pytest.mark.parametrize("event", ["remind-claimed", "remind-considered"])
def test_a_reminder_killed_halfway_is_given_once(db: Store, store_url: str, event: str) -> None:
    """The process dies when it has claimed, or when it has queued: afterwards there is one reminder, and only one."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, taken.case_id)
    with db.write() as session:
        part = session.exec(select(Assignment)).one()
        diarium.move_assignment(part, AssignmentState.DELIVERED)
        due = part.due_at = datetime(2026, 3, 23, 7, tzinfo=UTC)  # a Monday, a week before the answer date
        part.created_at = part.climbed_at = due - timedelta(days=1)

    def remind(at: datetime, *before: str) -> int:
        command = [sys.executable, "-m", *before, "tests.remind_once", store_url, at.isoformat()]
        return subprocess.run(command, check=False).returncode

    assert remind(due + timedelta(minutes=1), "tests.crash", event) == -signal.SIGKILL
    assert remind(due + timedelta(minutes=10)) == 0
    with db.read() as session:
        assert len(session.exec(select(Event).where(Event.kind == "reminded")).all()) == 1
        assert len(session.exec(select(Dispatch).where(Dispatch.kind == DispatchKind.DIGEST)).all()) == 1


def test_roles_end_with_their_parent(store_url: str, tmp_path: Path) -> None:
    """kill -9 of the parent alone: its roles end by themselves, and a new start finds its ports free."""
    service = Service(tmp_path / "service", store_url)
    service.start()
    try:
        assert service.process is not None
        service.process.kill()
        service.process.wait(10)
        until(lambda: service.log().count("role-ended") == 3, 60)
        service.start()
        assert _is_registered(service, octets())
        assert service.stop() == 0
    finally:
        service.kill()
