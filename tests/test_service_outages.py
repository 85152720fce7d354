"""The whole service while database, smarthost, mailbox server and disk go: nothing is said that is not durable."""

import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from pathlib import Path

import pytest
from sqlmodel import select

from mailrouter import config, seal, store
from mailrouter.reports.reconcile import reconcile
from mailrouter.store import Store
from mailrouter.tables import Case
from tests.mails import octets
from tests.servers.dovecot import PASSWORD, Dovecot, dovecot
from tests.servers.postfix import Postfix, into, postfix
from tests.servers.postgres import postgres
from tests.service import RECIPIENT, Service
from tests.waiting import until

UNIT = "stadsmiljoforvaltningen"


def _reply(service: Service, content: bytes) -> int:
    """The door's answer to a mail."""
    with smtplib.SMTP("127.0.0.1", service.smtp_port, timeout=60) as door:
        door.ehlo()
        door.mail("anna@post.example")
        door.rcpt(RECIPIENT)
        return door.data(content)[0]


def _await_suggestions(service: Service, count: int) -> list[str]:
    """Numbers of the cases, once ``count`` of them are judged."""

    def judged() -> list[str]:
        rows = service.json("case", "list")
        return [row["number"] for row in rows] if [bool(row["area"]) for row in rows] == [True] * count else []

    return until(judged, 90)


def _is_sent(service: Service) -> bool:
    rows = service.json("outbox")
    return bool(rows) and all(row["state"] == "sent" for row in rows)


def _assert_whole(opened: Store, cases: int) -> None:
    with opened.read() as session:
        assert reconcile(session)["balanced"]
        assert len(session.exec(select(Case)).all()) == cases
    assert seal.verify(opened).faults == []


def test_the_database_goes_and_comes_back(server_folder: Path, tmp_path: Path) -> None:
    """While PostgreSQL is down every mail is refused for now with 451; afterwards all flows without a restart."""
    with postgres(server_folder / "outage-pg") as database:
        database.sql("CREATE DATABASE outage")
        url = database.url("outage")
        service = Service(tmp_path / "service", url)
        service.start()
        try:
            assert _reply(service, octets(key="before")) == 250
            database.stop()
            assert _reply(service, octets(key="during")) == 451
            database.start()
            until(lambda: _reply(service, octets(key="during")) == 250, 60)
            service.await_health()
            for number in _await_suggestions(service, 2):
                service.run("case", "confirm", number, "--unit", UNIT)
            until(lambda: _is_sent(service), 60)
        finally:
            service.kill()
        opened = store.connect(config.Store(url=url))
        _assert_whole(opened, 2)
        opened.dispose()


def test_a_start_waits_for_its_database(server_folder: Path, tmp_path: Path) -> None:
    """Started before its database, the service says so in a sentence and begins when the database answers."""
    with postgres(server_folder / "late-pg") as database:
        database.sql("CREATE DATABASE late")
        database.stop()
        service = Service(tmp_path / "service", database.url("late"))
        service.start(wait=False)
        try:
            until(lambda: "The database does not answer" in service.log(), 30)
            database.start()
            service.await_health()
        finally:
            service.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(file: Path) -> None:
    """Let ``file`` grow until the disk is full."""
    with file.open("wb", buffering=0) as opened, suppress(OSError):
        while opened.write(b"x" * 65536) == 65536:
            pass
    assert shutil.disk_usage(file).free == 0


def test_a_full_disk_refuses_for_now_and_recovers(small_disk: Path, tmp_path: Path) -> None:
    """With no room left mails get 451 and the register stays whole; room again, and they are taken."""
    url = f"sqlite:///{small_disk / 'mailrouter.db'}"
    service = Service(tmp_path / "service", url)
    service.start()
    try:
        assert _reply(service, octets(key="first")) == 250
        ballast = small_disk / "ballast"
        _fill(ballast)
        big = octets(key="big", body="Hål i vägen. " * 40_000)
        assert _reply(service, big) == 451
        ballast.unlink()
        until(lambda: _reply(service, big) == 250, 60)
        service.await_health()
        _await_suggestions(service, 2)
        assert service.stop() == 0
    finally:
        service.kill()
    opened = store.connect(config.Store(url=url))
    _assert_whole(opened, 2)
    opened.dispose()


def test_the_smarthost_and_the_mailbox_server_go_and_come_back(
    db: Store, store_url: str, server_folder: Path, tmp_path: Path
) -> None:
    """Postfix down: the forward waits and says why. Dovecot down: intake waits. Both back: everything arrives."""
    folder = server_folder / f"outage-{tmp_path.name[-12:]}"
    with dovecot(folder / "dovecot") as mailboxes, postfix(folder / "postfix", _relay(mailboxes)) as smarthost:
        service = Service(tmp_path / "service", store_url, _configuration(mailboxes, smarthost))
        service.environment["MAILROUTER_FORWARD__RETRY_MINUTES"] = "[0.02]"
        smarthost.kill()
        service.start()
        try:
            assert _reply(service, octets(key="one")) == 250
            (number,) = _await_suggestions(service, 1)
            service.run("case", "confirm", number, "--unit", UNIT)
            until(lambda: any(row["attempts"] for row in service.json("outbox")), 60)
            until(lambda: any(row["attempts"][0]["outcome"] == "later" for row in service.json("outbox")), 60)
            mailboxes.kill()
            smarthost.start()
            until(lambda: _is_sent(service), 60)
            mailboxes.start()
            mailboxes.deliver("goteborg", [octets(key="two")])
            _await_suggestions(service, 2)
            until(lambda: _arrived(mailboxes), 60)
        finally:
            service.kill()
    _assert_whole(db, 2)


def _relay(mailboxes: Dovecot) -> dict[str, str]:
    """A smarthost that starts without the mailbox server, since it asks it for no passwords."""
    settings = into(mailboxes, "stad.example")
    return {name: value for name, value in settings.items() if not name.startswith("smtpd_sasl")}


def _configuration(mailboxes: Dovecot, smarthost: Postfix) -> str:
    return f"""
[[imap]]
name = "stad"
host = "127.0.0.1"
port = {mailboxes.imap}
tls = "none"
user = "goteborg"
password = "{PASSWORD}"
poll_seconds = 5
timeout_seconds = 5

[smarthost]
kind = "smtp"
host = "127.0.0.1"
port = {smarthost.port}
tls = "none"
"""


def _arrived(mailboxes: Dovecot) -> bool:
    """The forward is in the förvaltning's mailbox, once."""
    found = [message_from_bytes(mail)["X-Mailrouter-Case"] for mail in mailboxes.mails(UNIT)]
    return len(found) == 1 and found[0] is not None
