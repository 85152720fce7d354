"""The IMAP watcher against a real Dovecot, on both databases."""

import itertools
import logging
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from mailrouter.config import ConfigError, ImapAccount, Settings, Smtp
from mailrouter.doors.folder import Folder
from mailrouter.doors.run import Doors
from mailrouter.store import Store
from mailrouter.tables import Case, Disposition, Mail, Mailbox, RawMail, Receipt
from tests.servers.dovecot import PASSWORD, Dovecot, dovecot
from tests.smtp_client import RawSmtp, wire
from tests.waiting import until

_USERS = itertools.count(1)
AT = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)


def letter(index: int, body: str = "Hej") -> bytes:
    """A small mail, another one for each index."""
    return (
        f"From: Anna <anna{index}@example.se>\r\nSubject: Synpunkt {index}\r\nMessage-ID: <{index}@example.se>\r\n"
        f"Date: Mon, 2 Mar 2026 09:30:15 +0000\r\n\r\n{body}\r\n"
    ).encode()


@pytest.fixture(scope="session")
def copy_server(server_folder: Path) -> Iterator[Dovecot]:
    """A Dovecot that does not offer MOVE."""
    with dovecot(server_folder / "copy", "imap_capability = IMAP4rev1 IDLE UIDPLUS LITERAL+") as server:
        yield server


@pytest.fixture(scope="session")
def plain_server(server_folder: Path) -> Iterator[Dovecot]:
    """A Dovecot that offers nothing but IMAP4rev1."""
    with dovecot(server_folder / "plain", "imap_capability = IMAP4rev1") as server:
        yield server


@pytest.fixture
def user() -> str:
    """A user with an empty mailbox."""
    return f"box{next(_USERS)}"


Open = Callable[..., Doors]


@pytest.fixture
def open_doors(db: Store) -> Iterator[Open]:
    """Opens the doors with some IMAP accounts."""
    opened: list[Doors] = []

    def open_(*accounts: ImapAccount) -> Doors:
        doors = Doors(db, Settings(imap=list(accounts), smtp=Smtp(listen="")))
        opened.append(doors)
        doors.start()
        return doors

    yield open_
    for doors in opened:
        doors.close()


def account(server: Dovecot, user: str, **settings: Any) -> ImapAccount:
    """The account of ``user``."""
    given = {"name": user, "host": "127.0.0.1", "port": server.imap, "tls": "none", "user": user, "password": PASSWORD}
    return ImapAccount(**(given | {"timeout_seconds": 5} | settings))


def mails(db: Store) -> list[Mail]:
    """The register's mails in order."""
    with db.read() as session:
        return list(session.exec(select(Mail).order_by(col(Mail.id))))


def octets(db: Store) -> list[bytes]:
    """The octets of the register's mails in order."""
    with db.read() as session:
        return list(session.exec(select(RawMail.octets).order_by(col(RawMail.mail_id))))


def cursor(db: Store, user: str) -> Mailbox | None:
    """The cursor of the user's INBOX."""
    with db.read() as session:
        return session.exec(select(Mailbox).where(Mailbox.account == user)).first()


def test_mails_are_taken_and_left_as_they_were(db: Store, imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """What lies in the folder is registered octet for octet, with the server's date; no flag changes."""
    sent = [letter(index) for index in range(120)]
    imap_server.deliver(user, sent, at=AT)
    open_doors(account(imap_server, user))
    until(lambda: len(mails(db)) == 120)
    assert octets(db) == sent
    assert {mail.received_at for mail in mails(db)} == {AT}
    assert {mail.source for mail in mails(db)} == {f"imap:{user}"}
    validity = cursor(db, user)
    assert validity
    assert [mail.source_key for mail in mails(db)] == [f"INBOX/{validity.uidvalidity}/{n}" for n in range(1, 121)]
    assert validity.last_uid == 120
    with imap_server.client(user, readonly=True) as client:
        flags = client.get_flags(client.search())
    assert all(b"\\Seen" not in seen for seen in flags.values())
    assert len(flags) == 120


def test_a_colleague_who_reads_first_changes_nothing(
    db: Store, imap_server: Dovecot, user: str, open_doors: Open
) -> None:
    """A mail that somebody opened, flagged and answered in Outlook before we came is registered all the same."""
    imap_server.deliver(user, [letter(1), letter(2)])
    with imap_server.client(user) as client:
        client.add_flags([1], [b"\\Seen", b"\\Flagged", b"\\Answered"])
    open_doors(account(imap_server, user))
    until(lambda: len(mails(db)) == 2)
    imap_server.deliver(user, [letter(3)])
    with imap_server.client(user) as client:
        client.add_flags([3], [b"\\Seen"])
    until(lambda: len(mails(db)) == 3)
    assert octets(db) == [letter(1), letter(2), letter(3)]


def test_idle_tells_at_once(db: Store, imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """A new mail is taken while the next poll is far away, also the one that comes while others are taken."""
    doors = open_doors(account(imap_server, user, poll_seconds=1_000))
    until(lambda: doors_status(doors, user)["looked_at"])
    for index in range(5):
        imap_server.deliver(user, [letter(index)])
    until(lambda: len(mails(db)) == 5)


def test_a_server_without_idle_is_polled(db: Store, plain_server: Dovecot, user: str, open_doors: Open) -> None:
    """Where IDLE, MOVE and UIDPLUS are missing the poll finds what is new."""
    doors = open_doors(account(plain_server, user, poll_seconds=5))
    until(lambda: doors_status(doors, user)["looked_at"])
    plain_server.deliver(user, [letter(1)])
    until(lambda: len(mails(db)) == 1)


def test_mails_cannot_be_moved_without_move(plain_server: Dovecot, user: str, open_doors: Open) -> None:
    """Where a mail cannot be moved without touching others, nothing is moved and the status says why."""
    doors = open_doors(account(plain_server, user, move_to="Klart"))
    status = until(lambda: doors_status(doors, user)["last_error"])
    assert status == "FolderError: move_to needs a server with MOVE (RFC 6851) or UIDPLUS (RFC 4315)"


def test_several_boxes_are_watched(db: Store, imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """Two accounts, one of them with two folders, each with its own cursor."""
    other = f"{user}b"
    imap_server.deliver(user, [letter(1)])
    imap_server.deliver(user, [letter(2)], "Synpunkter")
    imap_server.deliver(other, [letter(3)])
    open_doors(account(imap_server, user, folders=["INBOX", "Synpunkter"]), account(imap_server, other))
    until(lambda: len(mails(db)) == 3)
    with db.read() as session:
        boxes = {(box.account, box.folder, box.last_uid) for box in session.exec(select(Mailbox))}
    assert boxes == {(user, "INBOX", 1), (user, "Synpunkter", 1), (other, "INBOX", 1)}
    assert sorted(octets(db)) == [letter(1), letter(2), letter(3)]


def test_after_a_restart_nothing_is_taken_twice(db: Store, imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """The cursor outlives the process: the next one begins where it stands."""
    imap_server.deliver(user, [letter(1), letter(2)])
    first = open_doors(account(imap_server, user))
    until(lambda: len(mails(db)) == 2)
    first.close()
    imap_server.deliver(user, [letter(3)])
    open_doors(account(imap_server, user))
    until(lambda: len(mails(db)) == 3)
    assert [mail.disposition for mail in mails(db)] == [Disposition.CASE] * 3


def test_a_new_uidvalidity_means_reading_all_again(
    db: Store, imap_server: Dovecot, user: str, open_doors: Open
) -> None:
    """After a rebuilt mailbox known mails are counted as copies, and only what is new opens a case."""
    box = account(imap_server, user, folders=["Synpunkter"])
    imap_server.deliver(user, [letter(1), letter(2)], "Synpunkter")
    first = open_doors(box)
    until(lambda: len(mails(db)) == 2)
    first.close()
    with imap_server.client(user) as client:
        client.delete_folder("Synpunkter")
    imap_server.deliver(user, [letter(2), letter(3), letter(1)], "Synpunkter")
    open_doors(box)
    until(lambda: len(mails(db)) == 5)
    kinds = [mail.disposition for mail in mails(db)]
    assert kinds.count(Disposition.CASE) == 3
    assert kinds.count(Disposition.DUPLICATE) == 2
    with db.read() as session:
        assert len(session.exec(select(Case)).all()) == 3
        assert len(session.exec(select(Receipt)).all()) == 5


def test_a_lost_server_is_found_again(db: Store, server_folder: Path, user: str, open_doors: Open) -> None:
    """Dovecot dies while we are in IDLE, mails wait for it to come back, and then they are taken."""
    with dovecot(server_folder / f"lost-{user}") as server:
        doors = open_doors(account(server, user))
        server.deliver(user, [letter(1)])
        until(lambda: len(mails(db)) == 1)
        server.kill()
        until(lambda: doors_status(doors, user)["last_error"])
        assert doors_status(doors, user)["connected_at"] is None
        server.start()
        server.deliver(user, [letter(2)])
        until(lambda: len(mails(db)) == 2)
        until(lambda: doors_status(doors, user)["last_error"] == "")


@pytest.mark.parametrize("has_move", [True, False])
def test_taken_mails_are_moved(
    db: Store, imap_server: Dovecot, copy_server: Dovecot, user: str, open_doors: Open, has_move: bool
) -> None:
    """After the commit mails go to the configured folder, unread, by MOVE or by COPY and EXPUNGE; others stay."""
    server = imap_server if has_move else copy_server
    sent = [letter(index) for index in range(60)]
    server.deliver(user, sent)
    with server.client(user) as client:
        client.append("INBOX", letter(99), flags=[b"\\Deleted"])
    open_doors(account(server, user, move_to="Åtgärdat"))
    until(lambda: len(mails(db)) == 61)
    until(lambda: not server.mails(user))
    assert sorted(server.mails(user, "Åtgärdat")) == sorted([*sent, letter(99)])
    with server.client(user, "Åtgärdat", readonly=True) as client:
        assert not client.search("SEEN")
    server.deliver(user, [letter(100)])
    until(lambda: len(server.mails(user, "Åtgärdat")) == 62)
    assert octets(db) == [*sent, letter(99), letter(100)]


def test_only_our_mails_are_expunged(db: Store, copy_server: Dovecot, user: str, open_doors: Open) -> None:
    """A colleague's mail that is marked for deletion, and that we have not taken, survives our expunge."""
    copy_server.deliver(user, [letter(1)])
    doors = open_doors(account(copy_server, user, move_to="Klart"))
    until(lambda: len(copy_server.mails(user, "Klart")) == 1)
    doors.close()
    copy_server.deliver(user, [letter(2), b"Subject: unreadable\r\n\r\n" + b"x" * 5_000 + b"\r\n"])
    hide(copy_server, user, -1)
    with copy_server.client(user) as client:
        client.add_flags(client.search()[-1:], [b"\\Deleted"])
    open_doors(account(copy_server, user, move_to="Klart"))
    until(lambda: len(copy_server.mails(user, "Klart")) == 2)
    with copy_server.client(user, readonly=True) as client:
        assert len(client.search("DELETED")) == 1


def test_a_move_that_was_interrupted_is_made_up_for(
    db: Store, imap_server: Dovecot, user: str, open_doors: Open
) -> None:
    """We died after the commit and before the move: the next connection moves what is registered, and takes no copy."""
    imap_server.deliver(user, [letter(1), letter(2)])
    first = open_doors(account(imap_server, user))  # has no move_to: as if it died before moving
    until(lambda: len(mails(db)) == 2)
    first.close()
    open_doors(account(imap_server, user, move_to="Klart"))
    until(lambda: len(imap_server.mails(user, "Klart")) == 2)
    assert len(mails(db)) == 2


def hide(server: Dovecot, user: str, index: int) -> Path:
    """Make one of the user's mails unreadable for the server."""
    file = server.files(user)[index]
    file.chmod(0)
    return file


@pytest.mark.parametrize("move_to", ["", "Klart"])
def test_a_mail_that_cannot_be_fetched_stops_nobody(
    db: Store, imap_server: Dovecot, user: str, open_doors: Open, move_to: str
) -> None:
    """The others are taken, the cursor stays before it, the status names it, and once readable it is taken."""
    imap_server.deliver(user, [letter(index) for index in range(1, 8)])
    hidden = hide(imap_server, user, 2)
    first = open_doors(account(imap_server, user, move_to=move_to))
    until(lambda: len(mails(db)) == 6)
    until(lambda: doors_status(first, user)["held"])
    imap_server.deliver(user, [letter(8)])
    until(lambda: len(mails(db)) == 7)
    assert octets(db) == [letter(index) for index in (1, 2, 4, 5, 6, 7, 8)]
    assert list(doors_status(first, user)["held"]) == ["3"]
    box = cursor(db, user)
    assert box
    assert box.last_uid == 2
    first.close()
    hidden.chmod(0o600)
    open_doors(account(imap_server, user, move_to=move_to))
    until(lambda: len(mails(db)) == 8)
    assert octets(db)[-1] == letter(3)
    end = 3 if move_to else 8  # of those that were still in the folder
    assert until(lambda: (box := cursor(db, user)) and box.last_uid == end)


def doors_status(doors: Doors, user: str) -> dict[str, Any]:
    """What the watcher of the user's INBOX says."""
    found: dict[str, Any] = doors.status()["imap"][f"{user}/INBOX"]
    return found


def test_large_mails_are_taken(db: Store, imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """Three mails of twenty megabytes each do not fit one batch and arrive whole."""
    large = [letter(index, "x" * 76 + "\r\n") + b"0123456789abcdef\r\n" * 1_165_000 for index in range(3)]
    imap_server.deliver(user, large)
    open_doors(account(imap_server, user))
    until(lambda: len(mails(db)) == 3, 60)
    assert octets(db) == large


def test_the_same_mail_by_two_doors_is_one_case(db: Store, imap_server: Dovecot, user: str) -> None:
    """What came by SMTP and lies in the mailbox too is one case, and the copy is counted."""
    doors = Doors(db, Settings(imap=[account(imap_server, user)], smtp=Smtp(listen="127.0.0.1:0")))
    doors.start()
    try:
        with RawSmtp(doors.smtp.address("smtp")) as client:
            client.envelope()
            client.send(wire(letter(1)))
            number = client.reply().split()[-1]
        imap_server.deliver(user, [b"Received: from a.example by b.example; today\r\n" + letter(1)])
        until(lambda: len(mails(db)) == 2)
    finally:
        doors.close()
    with db.read() as session:
        assert session.exec(select(Case.number)).all() == [number]
    assert [mail.disposition for mail in mails(db)] == [Disposition.CASE, Disposition.DUPLICATE]


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_tls(db: Store, imap_server: Dovecot, user: str, open_doors: Open, tls: str) -> None:
    """Both kinds of TLS work with the configured authority, IDLE included."""
    port = imap_server.imaps if tls == "implicit" else imap_server.imap
    doors = open_doors(
        account(imap_server, user, tls=tls, port=port, tls_ca_file=imap_server.certificate, poll_seconds=1_000)
    )
    until(lambda: doors_status(doors, user)["looked_at"])
    imap_server.deliver(user, [letter(1)])
    until(lambda: len(mails(db)) == 1)


def test_an_unknown_authority_is_not_trusted(imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """Without the authority's certificate there is no connection, and the status says why."""
    doors = open_doors(account(imap_server, user, tls="implicit", port=imap_server.imaps))
    assert "CERTIFICATE_VERIFY_FAILED" in until(lambda: doors_status(doors, user)["last_error"])


def test_an_unreadable_authority_stops_the_start(imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """A CA file that is missing is said in a sentence."""
    with pytest.raises(ConfigError, match=rf"^imap account {user}: tls_ca_file /none.pem cannot be used: No such file"):
        open_doors(account(imap_server, user, tls="implicit", tls_ca_file="/none.pem"))


def test_a_wrong_password_is_tried_again(imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """A refused login is shown and does not end the watcher: the password may be mended on the other side."""
    doors = open_doors(account(imap_server, user, password="fel"))
    assert until(lambda: doors_status(doors, user)["last_error"]).startswith("LoginError")
    assert doors_status(doors, user)["alive"]


def test_the_end_does_not_wait_for_idle(imap_server: Dovecot, user: str, open_doors: Open) -> None:
    """Closing ends a watcher in IDLE, though nothing happens in its folder for a long time."""
    doors = open_doors(account(imap_server, user, poll_seconds=1_000))
    until(lambda: doors_status(doors, user)["looked_at"])
    doors.close()
    assert not doors_status(doors, user)["alive"]


def test_the_end_does_not_wait_for_a_silent_server(user: str, open_doors: Open) -> None:
    """Closing cuts off a server that has stopped answering, long before its timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        box = ImapAccount(
            name=user, host="127.0.0.1", port=silent.getsockname()[1], tls="none", user=user, password="x",
            timeout_seconds=600,
        )  # fmt: skip
        doors = open_doors(box)
        connection, _ = silent.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"* OK here\r\n")
            tag = lines.readline().split()[0]
            connection.sendall(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
            assert b"LOGIN" in lines.readline()
            doors.close()
            assert not doors_status(doors, user)["alive"]


def test_bodies_are_not_formatted_for_a_log(imap_server: Dovecot, user: str) -> None:
    """IMAPClient logs no response of ours: its pieces of mail would fill the log, and cost most of a fetch's time."""
    imap_server.deliver(user, [letter(1)])
    folder = Folder(account(imap_server, user), "INBOX", None)
    folder.open()
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign,assignment]  # it keeps what it is given
    logger = logging.getLogger("imapclient.imaplib")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        assert folder.fetch(folder.uids(1))[1].octets == letter(1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        folder.close()
    assert lines == []
