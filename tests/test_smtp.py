"""The SMTP door: what it takes, what it refuses, and when it says 250; on both databases."""

import smtplib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from mailrouter import diarium
from mailrouter.config import ConfigError, Settings, Smtp
from mailrouter.doors.intake import Intake
from mailrouter.doors.run import Doors
from mailrouter.doors.smtp import SmtpDoor
from mailrouter.number import new_token
from mailrouter.store import Store
from mailrouter.tables import Case, Disposition, Mail, RawMail, Receipt
from tests.mails import octets
from tests.servers.dovecot import certificate
from tests.servers.postgres import free_port
from tests.smtp_client import RECIPIENT, RawSmtp, wire
from tests.test_doors_data import MAILS
from tests.waiting import until

Open = Callable[..., SmtpDoor]

DIALOGUE = f"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()


@pytest.fixture
def open_door(db: Store) -> Iterator[Open]:
    """Opens a door; keywords are settings of ``smtp``, ``limits`` those of ``session.Shared``."""
    opened: list[tuple[SmtpDoor, Intake]] = []

    def open_(limits: dict[str, Any] | None = None, **smtp: Any) -> SmtpDoor:
        settings = Settings(smtp=Smtp(**({"listen": "127.0.0.1:0", "recipients": [RECIPIENT]} | smtp)))
        intake = Intake(db, settings)
        door = SmtpDoor(intake, settings, **(limits or {}))
        door.start()
        opened.append((door, intake))
        return door

    yield open_
    for door, intake in opened:
        door.close(0.5)
        intake.close()


@pytest.fixture
def client(open_door: Open) -> Iterator[RawSmtp]:
    """A connection to a door with the default settings."""
    with RawSmtp(open_door().address("smtp")) as connected:
        yield connected


def taken(db: Store) -> list[tuple[Mail, bytes]]:
    """The registered mails with their octets, in order."""
    with db.read() as session:
        statement = select(Mail, RawMail.octets).join(RawMail, col(RawMail.mail_id) == Mail.id).order_by(col(Mail.id))
        return [(mail, content) for mail, content in session.exec(statement)]


def test_250_means_registered(db: Store, client: RawSmtp) -> None:
    """When the reply comes, case, mail, octets and receipt are in the database, and it names the case."""
    mail = octets()
    client.envelope()
    client.send(wire(mail))
    reply = client.reply()
    with db.read() as session:
        case = session.exec(select(Case)).one()
        receipt = session.exec(select(Receipt)).one()
    ((row, stored),) = taken(db)
    assert reply == f"250 2.0.0 registered as {case.number}"
    assert stored == mail
    assert (row.source, row.envelope_sender, row.envelope_recipients) == ("smtp", "anna@post.example", [RECIPIENT])
    assert (row.size, row.subject, row.disposition) == (len(mail), "Trasig lampa", Disposition.CASE)
    assert (receipt.source, receipt.source_key) == (row.source, row.source_key)


def test_octets_are_kept_exactly(db: Store, client: RawSmtp) -> None:
    """Dots, NULs, lonely line ends, eight bits and endless lines arrive as they were sent, in one session."""
    mails = [b"Subject: %d\r\n\r\n" % index + mail for index, mail in enumerate(MAILS.values())]
    client.ask("EHLO client.example")
    for mail in mails:
        client.transaction()
        client.send(wire(mail))
        assert client.reply().startswith("250")
    assert [content for _, content in taken(db)] == mails


def test_the_end_mark_may_come_in_pieces(db: Store, client: RawSmtp) -> None:
    """One octet a packet makes the same mail."""
    mail = b"Subject: x\r\n\r\n.a\r\n"
    client.envelope()
    for octet in wire(mail):
        client.send(bytes([octet]))
    assert client.reply().startswith("250")
    assert [content for _, content in taken(db)] == [mail]


def test_pipelined_commands_after_the_mail_are_obeyed(db: Store, client: RawSmtp) -> None:
    """What stands behind the end mark in the same packet is the next transaction (RFC 2920)."""
    first, second = octets(key="1"), octets(key="2")
    client.envelope()
    again = f"MAIL FROM:<b@post.example>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode()
    client.send(wire(first) + again)
    assert [client.reply()[:3] for _ in range(4)] == ["250", "250", "250", "354"]
    client.send(wire(second) + b"QUIT\r\n")
    assert [client.reply()[:3] for _ in range(2)] == ["250", "221"]
    assert [content for _, content in taken(db)] == [first, second]


@pytest.mark.parametrize("mark", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"])
def test_no_second_mail_is_smuggled_in(db: Store, client: RawSmtp, mark: bytes) -> None:
    """A mail that holds another server's idea of an end of data and a dialogue is one mail."""
    dialogue = f"MAIL FROM:<chef@stad.example>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\nSubject: b\r\n\r\nb\r\n".encode()
    client.envelope()
    client.send(b"Subject: a\r\n\r\na" + mark + dialogue + b".\r\n")
    assert client.reply().startswith("250")
    assert client.ask("NOOP").startswith("250")
    ((_, content),) = taken(db)
    assert dialogue in content


def test_the_same_mail_twice_is_one_case(db: Store, client: RawSmtp) -> None:
    """A client that did not hear our 250 sends again: the mail is known and counted, not registered anew."""
    client.envelope()
    client.send(wire(octets()))
    number = client.reply().split()[-1]
    client.transaction()
    client.send(wire(octets()))
    assert client.reply() == f"250 2.0.0 known as {number}"
    with db.read() as session:
        assert [case.number for case in session.exec(select(Case))] == [number]
        assert len(session.exec(select(Receipt)).all()) == 2


def test_strangers_are_refused(db: Store, client: RawSmtp) -> None:
    """No open relay: only our recipients are taken, and without one there is no DATA."""
    client.ask("EHLO client.example")
    client.ask("MAIL FROM:<anna@post.example>")
    assert client.ask("RCPT TO:<someone@example.se>") == "550 5.1.1 No such recipient here"
    assert client.ask("DATA").startswith("503 5.5.1")
    assert client.ask(f"RCPT TO:<{RECIPIENT.upper()}>").startswith("250 2.1.5")
    assert client.ask(f"RCPT TO:<svar+{new_token()}@stad.example>").startswith("250 2.1.5")
    assert client.ask("VRFY goteborg").startswith("252")


def test_a_null_sender_is_welcome(db: Store, client: RawSmtp) -> None:
    """Delivery reports come from <> (RFC 5321 4.5.5) and are registered with an empty sender."""
    client.envelope(sender="")
    client.send(wire(octets()))
    assert client.reply().startswith("250")
    assert taken(db)[0][0].envelope_sender == ""


def test_odd_addresses_are_kept(db: Store, open_door: Open) -> None:
    """Quoted, internationalised and broken sender addresses do not cost a citizen the mail."""
    senders = ['"anna berg"@post.example', "åsa@räksmörgås.example", "anna"]
    for index, sender in enumerate(senders):
        with RawSmtp(open_door().address("smtp")) as client:
            client.ask("EHLO client.example")
            assert client.ask(f"MAIL FROM:<{sender}> SMTPUTF8 BODY=8BITMIME").startswith("250")
            assert client.ask(f"RCPT TO:<{RECIPIENT}>").startswith("250")
            client.ask("DATA")
            client.send(wire(octets(key=str(index))))
            assert client.reply().startswith("250")
    assert [mail.envelope_sender for mail, _ in taken(db)] == senders


def test_raw_octets_in_an_address_are_stored(db: Store, client: RawSmtp) -> None:
    """An address in no known charset becomes text that both databases take."""
    client.ask("EHLO client.example")
    client.send(b"MAIL FROM:<\xe5sa@post.example>\r\n")
    assert client.reply().startswith("250")
    assert client.ask(f"RCPT TO:<{RECIPIENT}>").startswith("250")
    client.ask("DATA")
    client.send(wire(octets()))
    assert client.reply().startswith("250")
    assert taken(db)[0][0].envelope_sender.endswith("sa@post.example")


def test_too_many_recipients_wait(db: Store, open_door: Open) -> None:
    """Beyond the limit recipients get 452, the others get the mail (RFC 5321 4.5.3.1.10)."""
    with RawSmtp(open_door(max_recipients=2).address("smtp")) as client:
        client.ask("EHLO client.example")
        client.ask("MAIL FROM:<anna@post.example>")
        replies = [client.ask(f"RCPT TO:<{RECIPIENT}>")[:9] for _ in range(3)]
        assert replies == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
        client.ask("DATA")
        client.send(wire(octets()))
        assert client.reply().startswith("250")
    assert taken(db)[0][0].envelope_recipients == [RECIPIENT, RECIPIENT]


def test_size_is_announced_and_held(db: Store, open_door: Open) -> None:
    """SIZE is offered, a larger declaration is refused early, a larger mail at its end; the session goes on."""
    fits = b"Subject: fits\r\n\r\n" + b"." * (65_536 - 19) + b"\r\n"
    with RawSmtp(open_door(max_bytes=65_536).address("smtp")) as client:
        assert "SIZE 65536" in client.ask("EHLO client.example")
        assert client.ask("MAIL FROM:<anna@post.example> SIZE=65537").startswith("552 5.3.4")
        client.transaction()
        client.send(wire(b"x" * 500_000 + b"\r\n"))
        assert client.reply().startswith("552 5.3.4")
        client.transaction()
        client.send(wire(b"Subject: over\r\n\r\n" + b"x" * 65_536 + b"\r\n"))
        assert client.reply().startswith("552 5.3.4")
        client.transaction()
        client.send(wire(fits))
        assert client.reply().startswith("250")
    assert [content for _, content in taken(db)] == [fits]


def test_a_large_mail_is_taken(db: Store, open_door: Open) -> None:
    """Twenty megabytes, through the standard library's client."""
    mail = octets(key="large") + b"0123456789abcdef" * 64 * 20_480 + b"\r\n"
    host, port = open_door().address("smtp")
    with smtplib.SMTP(host, port, timeout=60) as sending:
        assert sending.sendmail("anna@post.example", [RECIPIENT], mail) == {}
    assert taken(db)[0][1] == mail


def test_mails_together_have_a_bound(db: Store, open_door: Open) -> None:
    """When unfinished mails fill the memory set aside for them, one more is put off, and taken when there is room."""
    door = open_door(limits={"max_held": 100_000})
    with RawSmtp(door.address("smtp")) as first, RawSmtp(door.address("smtp")) as second:
        first.envelope()
        first.send(b"Subject: first\r\n\r\n" + b"x" * 99_900)
        until(lambda: door.status()["held_octets"] > 99_900)
        first.send(b"x" * 200)
        full = until(lambda: door.status()["held_octets"] > 100_000 and door.status()["held_octets"])
        second.envelope()
        second.send(b"Subject: second\r\n\r\n")
        until(lambda: full < door.status()["held_octets"] < full + 10)  # it keeps no more than an end mark needs
        second.send(wire(b"body\r\n"))
        assert second.reply().startswith("452 4.3.1")
        first.send(b"\r\n.\r\n")
        assert first.reply().startswith("250")
        second.transaction()
        second.send(wire(octets()))
        assert second.reply().startswith("250")
    assert len(taken(db)) == 2


def test_connections_have_a_bound(open_door: Open) -> None:
    """One connection too many is told to come back, and is let in when another has left."""
    door = open_door(max_connections=2)
    first, second = RawSmtp(door.address("smtp")), RawSmtp(door.address("smtp"))
    with RawSmtp(door.address("smtp")) as third:
        assert third.greeting.startswith("421 4.3.2")
        assert third.reply() == ""
    first.close()
    until(lambda: door.status()["connections"] == 1)
    with RawSmtp(door.address("smtp")) as fourth:
        assert fourth.greeting == "220 mailrouter.example ESMTP"
    second.close()


def test_starttls(db: Store, open_door: Open, tmp_path: Path) -> None:
    """With a certificate STARTTLS is offered and works; logging in is never offered."""
    pem, key = certificate(tmp_path)
    host, port = open_door(tls_certificate=pem, tls_key=key).address("smtp")
    with smtplib.SMTP(host, port, local_hostname="client.example", timeout=30) as sending:
        sending.ehlo()
        assert sending.has_extn("starttls")
        sending.starttls(context=ssl.create_default_context(cafile=pem))
        sending.ehlo()
        assert not sending.has_extn("starttls")
        assert not sending.has_extn("auth")
        sending.sendmail("anna@post.example", [RECIPIENT], octets() + b"x" * 300_000)
    assert taken(db)[0][1] == octets() + b"x" * 300_000 + b"\r\n"


def test_commands_before_tls_are_forgotten(open_door: Open, tmp_path: Path) -> None:
    """What was injected in clear behind STARTTLS is not obeyed inside (RFC 3207 4.2)."""
    pem, key = certificate(tmp_path)
    with RawSmtp(open_door(tls_certificate=pem, tls_key=key).address("smtp")) as client:
        client.ask("EHLO client.example")
        client.send(b"STARTTLS\r\nMAIL FROM:<attacker@post.example>\r\n")
        assert client.reply().startswith("220")
        client.starttls(ssl.create_default_context(cafile=pem))
        assert client.ask("NOOP") == "250 OK"  # and not the answer to the injected command


def test_without_a_certificate_there_is_no_starttls(client: RawSmtp) -> None:
    """Nothing is offered that cannot be kept."""
    assert "STARTTLS" not in client.ask("EHLO client.example")
    assert client.ask("STARTTLS").startswith("454 4.7.0")


def test_replies_carry_enhanced_codes(client: RawSmtp) -> None:
    """ENHANCEDSTATUSCODES is offered, so every reply after EHLO has one (RFC 2034)."""
    assert "ENHANCEDSTATUSCODES" in client.ask("EHLO client.example")
    commands = ["NOOP", "RSET", "MAIL FROM:x y z", "RCPT TO:<a>", "DATA", "FOO", "MAIL FROM:<a@b.example> X=1", "HELP"]
    for command in commands:
        code, enhanced, *_ = client.ask(command).split()
        assert enhanced.count(".") == 2
        assert enhanced[0] == code[0]


def test_our_own_confusion_is_temporary(client: RawSmtp) -> None:
    """A command that breaks the parser is answered 451 with neutral words, and the session goes on."""
    client.ask("EHLO client.example")
    assert client.ask("MAIL FROM:<") == "451 4.3.0 The mail cannot be taken just now, try again later"
    client.transaction()


def test_endless_commands_and_gibberish_do_no_harm(open_door: Open) -> None:
    """A command line without end is refused; a client that only speaks gibberish is sent away."""
    with RawSmtp(open_door().address("smtp")) as client:
        assert client.ask("EHLO client.example").startswith("250")
        assert client.ask("NOOP " + "x" * 1_000_000).startswith("500")
        assert client.ask("NOOP " + "x" * 5_000).startswith("500")
        assert client.ask("NOOP").startswith("250")
        for _ in range(5):
            last = client.ask("GET / HTTP/1.1")
        assert last.startswith("502")
        assert client.reply() == ""


def test_a_client_that_only_listens_hears_everything(db: Store, client: RawSmtp) -> None:
    """Who says all it has to say in one packet and closes its side gets every reply, and the mail is registered."""
    client.send(DIALOGUE + wire(octets()) + b"QUIT\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert [client.reply()[:3] for _ in range(6)] == ["250", "250", "250", "354", "250", "221"]
    assert client.reply() == ""
    assert taken(db)[0][1] == octets()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_after_the_dot_loses_nothing(db: Store, open_door: Open, reset: bool) -> None:
    """A mail whose end was seen is registered, though its client hangs up or vanishes before the commit."""
    door = open_door()
    with db.write() as session:
        diarium.lock_series(session, datetime.now(UTC).year)
        client = RawSmtp(door.address("smtp"))
        client.envelope()
        client.send(wire(octets()))
        until(lambda: door.status()["waiting"] == 1)
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: door.status()["connections"] == (0 if reset else 1))
    assert until(lambda: taken(db))[0][1] == octets()


def test_a_client_that_leaves_in_the_middle_leaves_nothing(db: Store, open_door: Open) -> None:
    """Half a mail is no mail, and the door stays open."""
    door = open_door()
    with RawSmtp(door.address("smtp")) as client:
        client.envelope()
        client.send(b"Subject: half\r\n\r\nhal")
    until(lambda: door.status()["connections"] == 0)
    assert taken(db) == []
    assert door.status()["held_octets"] == 0
    with RawSmtp(door.address("smtp")) as client:
        client.envelope()


@pytest.mark.parametrize(
    ("limit", "before"),
    [
        ("command_seconds", b""),
        ("mail_seconds", b"EHLO a.example\r\n"),
        (
            "data_seconds",
            f"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\nSubj".encode(),
        ),
    ],
)
def test_slow_clients_lose_their_place(open_door: Open, limit: str, before: bytes) -> None:
    """Who says nothing for too long, or never finishes a mail, is told 421 and let go (RFC 5321 4.5.3.2)."""
    door = open_door(limits={limit: 0.4})
    with RawSmtp(door.address("smtp")) as client:
        client.send(before)
        replies = []
        while reply := client.reply():
            replies.append(reply)
    assert replies[-1] == "421 4.4.2 Waited too long, closing"
    until(lambda: door.status()["connections"] == 0)


def test_closing_finishes_the_mail_under_way(db: Store, open_door: Open) -> None:
    """At the end idle clients are sent away at once, a mail that is being sent is taken first."""
    door = open_door()
    address = door.address("smtp")
    with RawSmtp(address) as idle, RawSmtp(address) as busy:
        idle.ask("EHLO client.example")
        busy.envelope()
        busy.send(b"Subject: the last\r\n\r\n")
        until(lambda: door.status()["held_octets"])
        closing = threading.Thread(target=door.close, args=(30.0,))
        closing.start()
        assert idle.reply().startswith("421 4.3.2")
        with pytest.raises(ConnectionRefusedError):
            RawSmtp(address)
        busy.send(b"good bye\r\n.\r\n")
        assert busy.reply().startswith("250")
        assert busy.reply().startswith("421 4.3.2")
        closing.join(10)
        assert not closing.is_alive()
    assert taken(db)[0][1] == b"Subject: the last\r\n\r\ngood bye\r\n"


def test_closing_does_not_wait_for_ever(open_door: Open) -> None:
    """A client that never finishes its mail is sent away when the grace is over."""
    door = open_door()
    with RawSmtp(door.address("smtp")) as client:
        client.envelope()
        client.send(b"Subject: ...\r\n")
        door.close(0.2)
        assert client.reply().startswith("421")


@pytest.mark.parametrize("manner", [["--protocol", "ESMTP", "--pipeline"], ["--protocol", "SMTP"]])
def test_a_known_client_agrees(db: Store, open_door: Open, manner: list[str]) -> None:
    """swaks, with which people test mail servers, is content, with the extensions and without."""
    host, port = open_door().address("smtp")
    subprocess.run(
        ["swaks", "--server", f"{host}:{port}", "--to", RECIPIENT, "--from", "anna@post.example", *manner],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert [mail.source for mail, _ in taken(db)] == ["smtp"]


def test_a_taken_port_is_said_in_a_sentence(open_door: Open) -> None:
    """Starting a second door on the same port fails with the setting, the place and the reason."""
    host, port = open_door().address("smtp")
    with pytest.raises(ConfigError, match=rf"^smtp.listen: cannot listen on {host}:{port}: Address already in use$"):
        open_door(listen=f"{host}:{port}")


@pytest.mark.parametrize("listen", ["2525", "127.0.0.1", ":2525", "127.0.0.1:smtp", "127.0.0.1:70000"])
def test_a_listen_that_is_no_place_is_refused(open_door: Open, listen: str) -> None:
    """What is not HOST:PORT is said to be so."""
    with pytest.raises(ConfigError, match=r"^smtp.listen: .* is not HOST:PORT$"):
        open_door(listen=listen)


def test_an_unusable_certificate_is_said_in_a_sentence(db: Store, tmp_path: Path) -> None:
    """A certificate that is missing, or is none, stops the start before anything listens."""
    _, key = certificate(tmp_path)
    (tmp_path / "none.pem").write_text("not a certificate")
    port = free_port()
    for file, words in ((tmp_path / "gone.pem", "cannot read"), (tmp_path / "none.pem", "not a usable certificate")):
        smtp = Smtp(listen=f"127.0.0.1:{port}", tls_certificate=file, tls_key=key)
        with pytest.raises(ConfigError, match=rf"^smtp.tls_certificate: .*{words}"):
            Doors(db, Settings(smtp=smtp))


def test_a_mail_from_the_library_survives(db: Store, open_door: Open) -> None:
    """A multipart mail of the standard library, sent by it with SMTPUTF8, is stored as it wrote it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Åsa <åsa@post.example>", RECIPIENT, "Gatlyktan är trasig"
    message.set_content("Lampan på hörnet är släckt.\n")
    message.add_attachment(b"\0\1\2", maintype="image", subtype="jpeg", filename="lampa.jpg")
    host, port = open_door().address("smtp")
    with smtplib.SMTP(host, port, local_hostname="client.example", timeout=30) as sending:
        sending.send_message(message)
    ((mail, content),) = taken(db)
    assert mail.subject == "Gatlyktan är trasig"
    assert mail.envelope_sender == "åsa@post.example"
    assert content.startswith("From: Åsa <åsa@post.example>\r\n".encode())
