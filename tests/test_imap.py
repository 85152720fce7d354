"""The IMAP watcher against a real Dovecot, on both databases."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlmodel import col, select

from mailrouter.config import ImapAccount, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.store import Store
from mailrouter.tables import Mail, Mailbox, RawMail
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.waiting import until

_USERS = itertools.count(1)
AT = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)


def letter(index: int, body: str = "Hej") -> bytes:
    """A small mail, another one for each index."""
    return (
        f"From: Anna <anna{index}@example.se>\r\nSubject: Synpunkt {index}\r\nMessage-ID: <{index}@example.se>\r\n"
        f"Date: Mon, 2 Mar 2026 09:30:15 +0000\r\n\r\n{body}\r\n"
    ).encode()


@pytest.fixture
def user() -> str:
    """A user with an empty mailbox."""
    return f"user{next(_USERS)}"


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
