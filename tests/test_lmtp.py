"""The LMTP door (RFC 2033), on both databases."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import select

from mailrouter.config import ConfigError, Settings, Smtp
from mailrouter.doors.intake import Intake
from mailrouter.doors.smtp import SmtpDoor
from mailrouter.store import Store
from mailrouter.tables import Mail
from tests.mails import octets
from tests.smtp_client import RECIPIENT, RawSmtp, wire

OTHER = "synpunkter@stad.example"


@pytest.fixture
def place(server_folder: Path, request: pytest.FixtureRequest) -> Path:
    """Where the LMTP socket is to be."""
    return server_folder / f"lmtp-{abs(hash(request.node.name))}"


@contextmanager
def lmtp_door(db: Store, listen: str) -> Iterator[SmtpDoor]:
    """An open door for two recipients."""
    settings = Settings(smtp=Smtp(listen="", lmtp_listen=listen, recipients=[RECIPIENT, OTHER], max_bytes=65_536))
    intake = Intake(db, settings)
    door = SmtpDoor(intake, settings)
    try:
        door.start()
        yield door
    finally:
        door.close(0.5)
        intake.close()


@pytest.fixture
def client(db: Store, place: Path) -> Iterator[RawSmtp]:
    """A connection to an LMTP door on a unix socket."""
    with lmtp_door(db, str(place)), RawSmtp(str(place)) as connected:
        yield connected


def test_each_recipient_gets_a_reply(db: Store, client: RawSmtp) -> None:
    """After the end mark there is one reply for each recipient that was taken, and one mail in the register."""
    assert client.greeting == "220 mailrouter.example LMTP"
    client.envelope(RECIPIENT, OTHER, hello="LHLO")
    client.send(wire(octets()))
    assert client.reply() == client.reply()
    assert client.ask("NOOP").startswith("250 2.0.0 OK")
    with db.read() as session:
        mail = session.exec(select(Mail)).one()
    assert (mail.source, mail.envelope_recipients) == ("lmtp", [RECIPIENT, OTHER])


def test_refusals_are_for_each_recipient_too(client: RawSmtp) -> None:
    """A mail that is too large is refused once for each recipient (RFC 2033 4.2)."""
    client.envelope(RECIPIENT, OTHER, hello="LHLO")
    client.send(wire(b"x" * 70_000 + b"\r\n"))
    assert [client.reply()[:9] for _ in range(2)] == ["552 5.3.4", "552 5.3.4"]
    assert client.ask("NOOP").startswith("250")


def test_our_failure_is_temporary_for_each_recipient(db: Store, client: RawSmtp) -> None:
    """When the register cannot take the mail, every recipient is to be tried again."""
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE receipt RENAME TO away"))
    client.envelope(RECIPIENT, OTHER, hello="LHLO")
    client.send(wire(octets()))
    assert [client.reply()[:9] for _ in range(2)] == ["451 4.3.0", "451 4.3.0"]
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO receipt"))
    client.transaction(RECIPIENT)
    client.send(wire(octets()))
    assert client.reply().startswith("250")


def test_lmtp_is_not_smtp(client: RawSmtp) -> None:
    """EHLO and HELO are unknown here, and DATA without a recipient is 503 (RFC 2033 4.1, 4.2)."""
    assert client.ask("EHLO client.example").startswith("500")
    assert client.ask("HELO client.example").startswith("500")
    offers = client.ask("LHLO client.example")
    assert all(offer in offers for offer in ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SIZE 65536"))
    client.ask("MAIL FROM:<anna@post.example>")
    assert client.ask("RCPT TO:<someone@example.se>").startswith("550 5.1.1")
    assert client.ask("DATA").startswith("503")


def test_lmtp_over_tcp(db: Store) -> None:
    """HOST:PORT serves clients on other machines; the standard library's client is content."""
    with lmtp_door(db, "127.0.0.1:0") as door:
        host, port = door.address("lmtp")
        with smtplib.LMTP(host, port) as sending:
            assert sending.sendmail("anna@post.example", [RECIPIENT], octets()) == {}


def test_a_socket_left_by_a_dead_process_is_replaced(db: Store, place: Path) -> None:
    """kill -9 leaves the socket's file; the next start takes its place, but never that of a living door."""
    left = place.with_suffix(".left")
    taken = f"^smtp.lmtp_listen: cannot listen on {place}: Address already in use$"
    with lmtp_door(db, str(place)):
        with pytest.raises(ConfigError, match=taken), lmtp_door(db, str(place)):
            pass
        left.hardlink_to(place)
    assert not place.exists()
    with lmtp_door(db, str(left)), RawSmtp(str(left)) as client:
        assert client.greeting.startswith("220")
