"""The IMAP watcher against servers that keep no promise."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from mailrouter.config import ImapAccount, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.store import Store
from mailrouter.tables import Mail, Mailbox, RawMail
from tests.mails import octets
from tests.servers.odd_imap import Answer, OddImap, given, odd_imap
from tests.waiting import until

FIRST, SECOND, THIRD = (octets(key=str(number)) for number in range(3))

Watch = Callable[[OddImap], Doors]


@pytest.fixture
def watch(db: Store) -> Iterator[Watch]:
    """Watches the folder of an odd server."""
    opened: list[Doors] = []

    def watch_(server: OddImap) -> Doors:
        account = ImapAccount(name="odd", host="127.0.0.1", port=server.port, tls="none", timeout_seconds=5)
        doors = Doors(db, Settings(imap=[account], smtp=Smtp(listen="")))
        opened.append(doors)
        doors.start()
        return doors

    yield watch_
    for doors in opened:
        doors.close()


def status(doors: Doors) -> dict[str, Any]:
    """What the watcher says."""
    found: dict[str, Any] = doors.status()["imap"]["odd/INBOX"]
    return found


def stored(db: Store) -> list[bytes]:
    """The registered octets in order."""
    with db.read() as session:
        return list(session.exec(select(RawMail.octets).order_by(col(RawMail.mail_id))))


def last_uid(db: Store) -> int:
    """The cursor."""
    with db.read() as session:
        return session.exec(select(Mailbox.last_uid)).one()


def test_a_size_that_is_only_an_estimate_costs_no_mail(db: Store, watch: Watch) -> None:
    """RFC822.SIZE differs from what is sent, twice the same: the mail is believed, not the number."""
    with odd_imap(OddImap({1: lambda _: given(FIRST, size=99), 2: lambda _: given(SECOND)})) as server:
        doors = watch(server)
        until(lambda: len(stored(db)) == 2)
        assert stored(db) == [FIRST, SECOND]
        assert server.fetches == [[1, 2], [1]]
        assert status(doors)["held"] == {}


def test_a_mail_cut_short_is_fetched_again(db: Store, watch: Watch) -> None:
    """A body shorter than announced, and whole at the second look, is registered whole."""
    short = given(FIRST[:-40], size=len(FIRST))
    with odd_imap(OddImap({1: lambda times: short if times == 1 else given(FIRST)})) as server:
        watch(server)
        until(lambda: stored(db))
        assert stored(db) == [FIRST]


def test_a_mail_that_is_listed_and_never_given_is_held(db: Store, watch: Watch) -> None:
    """It is asked for alone, then left for later; the others are registered and the cursor stays before it."""
    mails = {1: lambda _: given(FIRST), 2: lambda _: None, 3: lambda _: given(THIRD)}
    with odd_imap(OddImap(mails)) as server:
        doors = watch(server)
        until(lambda: status(doors)["held"])
        until(lambda: len(stored(db)) == 2)
        assert stored(db) == [FIRST, THIRD]
        assert status(doors)["held"] == {"2": "the server lists it and does not give it"}
        assert last_uid(db) == 1


def test_a_refusal_is_narrowed_down_to_its_mail(db: Store, watch: Watch) -> None:
    """The server says NO to a batch: its mails are fetched one by one, and only the culprit is held, in its words."""
    mails: dict[int, Callable[[int], bytes | None]] = {
        1: lambda _: given(FIRST), 2: lambda _: given(SECOND), 3: lambda _: given(THIRD)
    }  # fmt: skip
    with odd_imap(OddImap(mails, refused={2})) as server:
        doors = watch(server)
        until(lambda: len(stored(db)) == 2)
        assert stored(db) == [FIRST, THIRD]
        assert until(lambda: status(doors)["held"]) == {
            "2": "the server does not give it: fetch failed: this one cannot be converted"
        }
        assert last_uid(db) == 1


@pytest.mark.parametrize(
    "date", ["NIL", '"99-Foo-0000 nonsense"', '"02-Mar-2099 09:30:15 +0000"', '"01-Jan-1970 00:00:00 +0000"']
)
def test_a_date_that_cannot_be_is_now(db: Store, watch: Watch, date: str) -> None:
    """A missing, broken, future or ancient INTERNALDATE does not become the day of arrival."""
    with odd_imap(OddImap({1: lambda _: given(FIRST, date=date)})) as server:
        watch(server)
        until(lambda: stored(db))
        with db.read() as session:
            assert datetime.now(UTC) - session.exec(select(Mail.received_at)).one() < timedelta(minutes=5)


def test_without_uidvalidity_nothing_is_taken(db: Store, watch: Watch) -> None:
    """UIDs without UIDVALIDITY mean nothing from one day to the next: the status says so."""
    with odd_imap(OddImap({1: lambda _: given(FIRST)}, uidvalidity="OK hello")) as server:
        doors = watch(server)
        assert "no UIDVALIDITY" in until(lambda: status(doors)["last_error"])
        assert stored(db) == []


def test_an_answer_that_is_none_shows_no_mail(db: Store, watch: Watch) -> None:
    """An answer that cannot be read is told without its words, which may be a citizen's; then the mail is held."""
    with odd_imap(OddImap({1: lambda _: b"RFC822.SIZE secret BODY[] (((((", 2: lambda _: given(SECOND)})) as server:
        doors = watch(server)
        assert until(lambda: status(doors)["last_error"]) == "the server's answer could not be understood"
        assert until(lambda: status(doors)["held"]) == {"1": "the connection breaks when it is fetched"}
        until(lambda: stored(db) == [SECOND])


@pytest.mark.parametrize(
    ("before", "when"),
    [([], "SEARCH 1"), ([], "IDLE"), ([5], "SEARCH 1"), ([5], "SEARCH 2"), ([5], "IDLE")],
)
def test_news_that_are_told_once_are_heard(db: Store, watch: Watch, before: list[int], when: str) -> None:
    """A mail announced beside another answer, or in the packet that opens IDLE, does not wait for the next poll."""
    mails: dict[int, Answer] = {uid: lambda _: given(SECOND) for uid in before}
    with odd_imap(OddImap(mails, arriving={9: lambda _: given(FIRST)}, when=when)) as server:
        watch(server)
        until(lambda: FIRST in stored(db))
