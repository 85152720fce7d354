"""T1, the first transaction of a mail: each arrival becomes one row, exactly once; on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from mailrouter import config, diarium, store
from mailrouter.ingest import Arrival, Cursor, Taken, bare, delivery_key, entry_of, register
from mailrouter.number import format_number, new_token
from mailrouter.store import Store
from mailrouter.tables import Case, Dispatch, DispatchKind, Disposition, Event, Mail, Mailbox, RawMail, Receipt
from tests.clock import NOW, ZONE
from tests.mails import octets


def arrival(content: bytes, *, key: str = "", at: datetime = NOW, recipients: tuple[str, ...] = ()) -> Arrival:
    """``content`` at the SMTP door."""
    return Arrival(content, "smtp", key or delivery_key(), at, "anna@post.example", recipients)


def take(db: Store, *arrivals: Arrival, cursor: Cursor | None = None, now: datetime = NOW) -> list[Taken]:
    """Register in one transaction."""
    with db.write() as session:
        return register(session, [entry_of(one) for one in arrivals], cursor, now=now, zone=ZONE, weeks=4)


def mails(db: Store) -> list[Mail]:
    """The mails in order."""
    with db.read() as session:
        return list(session.exec(select(Mail).order_by(col(Mail.id))))


@pytest.fixture
def second_node(store_url: str) -> Iterator[Store]:
    """Another process's connection to the same database."""
    opened = store.connect(config.Store(url=store_url))
    yield opened
    opened.dispose()


def forwarded(db: Store, to: Taken) -> str:
    """A forward of a case: its token."""
    token = new_token()
    with db.write() as session:
        session.add(
            Dispatch(
                case_id=to.case_id, kind=DispatchKind.FORWARD, recipient="a@b.example", token=token, created_at=NOW
            )
        )
    return token


def test_a_mail_opens_a_case(db: Store) -> None:
    """Case, event, mail, octets and receipt say the same, and work is due at once."""
    content = octets()
    (taken,) = take(db, arrival(content, key="k", recipients=("goteborg@stad.example",)))
    with db.read() as session:
        case = session.exec(select(Case)).one()
        event = session.exec(select(Event)).one()
        mail = session.exec(select(Mail)).one()
        raw = session.exec(select(RawMail)).one()
        receipt = session.exec(select(Receipt)).one()
    assert taken == Taken(Disposition.CASE, case.id, case.number)
    assert (case.year, case.serial, case.sender, case.sender_name) == (2026, 1, "anna@post.example", "Anna Berg")
    assert (case.subject, case.subject_public) == ("Trasig lampa", diarium.PUBLIC_SUBJECT)
    assert (case.arrived_on.isoformat(), case.answer_due and case.answer_due.isoformat()) == (
        "2026-03-02",
        "2026-03-30",
    )
    assert (mail.case_id, mail.disposition, mail.due_at) == (case.id, Disposition.CASE, NOW)
    assert (mail.message_id, mail.envelope_recipients) == ("1@post.example", ["goteborg@stad.example"])
    assert (raw.mail_id, raw.octets) == (mail.id, content)
    assert (receipt.source, receipt.source_key) == (mail.source, mail.source_key) == ("smtp", "k")
    assert event.detail["sha256"] == receipt.sha256
    assert diarium.broken_links(case.number, case.last_event, case.last_hash, [event]) == []


def test_the_same_mail_is_a_copy(db: Store) -> None:
    """By whatever way and in whatever batch it comes again: no new case, no new octets, but counted and seen."""
    travelled = b"Received: from a.example by b.example; today\r\n" + octets()
    (first,) = take(db, arrival(octets()))
    later = take(db, arrival(travelled), arrival(octets(key="2")), arrival(octets(key="2")))
    assert [taken.disposition for taken in later] == [Disposition.DUPLICATE, Disposition.CASE, Disposition.DUPLICATE]
    assert later[0].number == first.number
    assert later[2].number == later[1].number
    original, copy, other, other_copy = sorted(mails(db), key=lambda mail: (mail.case_id, mail.id))
    assert (copy.duplicate_of, copy.due_at) == (original.id, None)
    assert other_copy.duplicate_of == other.id
    with db.read() as session:
        assert len(session.exec(select(RawMail)).all()) == 2
        assert len(session.exec(select(Receipt)).all()) == 4
        events = session.exec(select(Event).where(Event.case_id == first.case_id).order_by(col(Event.sequence))).all()
        case = session.get_one(Case, first.case_id)
    assert [event.kind for event in events] == ["received", "duplicate"]
    assert diarium.broken_links(case.number, case.last_event, case.last_hash, events) == []


def test_the_same_delivery_is_no_copy(db: Store) -> None:
    """A delivery handed in again, since nobody heard that it was taken, leaves no trace and gives the same answer."""
    first = take(db, arrival(octets(), key="a"), arrival(octets(key="2"), key="b"))
    assert take(db, arrival(octets(), key="a"), arrival(octets(key="2"), key="b")) == first
    assert len(mails(db)) == 2
    with db.read() as session:
        assert len(session.exec(select(Receipt)).all()) == 2


@pytest.mark.parametrize("place", ["recipient", "To", "References", "Subject"])
def test_a_token_brings_an_answer_home(db: Store, place: str) -> None:
    """A token in the envelope or the header joins the mail to its case and names the dispatch it answers."""
    (case,) = take(db, arrival(octets()))
    token = forwarded(db, case)
    address = f"svar+{token.upper()}@stad.example"
    header = b"" if place == "recipient" else f"{place}: <{address}>\r\n".encode()
    recipients = (address,) if place == "recipient" else ()
    (taken,) = take(db, arrival(header + b"From: r@stad.example\r\n\r\nSvar\r\n", recipients=recipients))
    assert (taken.disposition, taken.number) == (Disposition.JOINED, case.number)
    with db.read() as session:
        dispatch = session.exec(select(Dispatch)).one()
        assert len(session.exec(select(RawMail)).all()) == 2
    assert [mail.dispatch_id for mail in mails(db)] == [None, dispatch.id]


def test_a_token_in_the_text_proves_nothing(db: Store) -> None:
    """Somebody who quotes a token in a text, or invents one, opens a case of their own."""
    (case,) = take(db, arrival(octets()))
    token = forwarded(db, case)
    quoted, invented = octets(body=f"svar+{token}@stad.example", key="2"), octets(new_token(), key="3")
    taken = take(db, arrival(quoted), arrival(invented))
    assert [one.disposition for one in taken] == [Disposition.CASE] * 2


def test_an_answer_that_comes_twice_is_a_copy(db: Store) -> None:
    """The copy of a joined mail is a copy, in the same batch and later."""
    (case,) = take(db, arrival(octets()))
    answer = f"To: svar+{forwarded(db, case)}@stad.example\r\n\r\nSvar\r\n".encode()
    taken = take(db, arrival(answer), arrival(answer)) + take(db, arrival(answer))
    assert [one.disposition for one in taken] == [Disposition.JOINED, Disposition.DUPLICATE, Disposition.DUPLICATE]
    assert {one.number for one in taken} == {case.number}


def test_the_year_of_a_number_is_the_city_s(db: Store) -> None:
    """Mails around New Year's midnight in Stockholm are numbered in the year of their arrival, gapless in each."""
    midnight = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    moments = [midnight + timedelta(seconds=seconds) for seconds in (-1, 0, -2, 1)]
    taken = take(db, *(arrival(octets(key=str(index)), at=at) for index, at in enumerate(moments)), now=midnight)
    assert [one.number for one in taken] == [
        format_number(year, serial) for year, serial in ((2026, 1), (2027, 1), (2026, 2), (2027, 2))
    ]


def test_two_nodes_at_new_year_give_no_number_twice(db: Store, second_node: Store) -> None:
    """One node's clock says 2026, the other's 2027, both number mails of both years."""
    midnight = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)

    def node(own: Store, now: datetime, name: str) -> list[str]:
        taken = []
        for index in range(10):
            pair = [
                arrival(octets(key=f"{name}{index}{when}"), at=midnight + timedelta(seconds=when)) for when in (1, -1)
            ]
            taken += take(own, *pair, now=now)
        return [one.number for one in taken]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(node, db, midnight - timedelta(seconds=1), "a")
        second = pool.submit(node, second_node, midnight + timedelta(seconds=1), "b")
        numbers = first.result() + second.result()
    assert sorted(numbers) == sorted(format_number(year, serial) for year in (2026, 2027) for serial in range(1, 21))


def test_two_nodes_with_the_same_mails_register_them_once(db: Store, second_node: Store) -> None:
    """Both nodes fetch the same mailbox at the same time: every mail has one case, whoever was first."""
    contents = [octets(key=str(index)) for index in range(40)]

    def node(own: Store) -> list[Taken]:
        taken = []
        for start in range(0, len(contents), 4):
            batch = [arrival(contents[index], key=f"INBOX/1/{index}") for index in range(start, start + 4)]
            taken += take(own, *batch)
        return taken

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(node, (db, second_node))
    assert first == second
    assert len(mails(db)) == 40


def test_the_cursor_moves_with_the_mails(db: Store) -> None:
    """It is in the same transaction, never moves back, and starts anew with another UIDVALIDITY."""

    def cursor(uidvalidity: int, last_uid: int) -> Cursor:
        return Cursor("stad", "INBOX", uidvalidity, last_uid)

    def stands() -> tuple[int, int]:
        with db.read() as session:
            box = session.exec(select(Mailbox)).one()
            return box.uidvalidity, box.last_uid

    take(db, arrival(octets()), cursor=cursor(7, 5))
    assert stands() == (7, 5)
    take(db, arrival(octets()), cursor=cursor(7, 3))
    assert stands() == (7, 5)
    take(db, arrival(octets()), cursor=cursor(4_294_967_295, 2))
    assert stands() == (4_294_967_295, 2)
    with db.write() as session:
        register(session, [entry_of(arrival(octets()))], cursor(4_294_967_295, 9), now=NOW, zone=ZONE, weeks=4)
        session.rollback()
    assert stands() == (4_294_967_295, 2)


def test_whatever_stands_in_a_header_can_be_stored(db: Store) -> None:
    """NULs, raw octets, lone surrogates and endless fields reach the register as text, and the octets unchanged."""
    header = b"From: \x00\xff <\xe5sa\x00@x.example>\r\nSubject: a\x00b \xff\xfe =?utf-8?q?=ED=A0=80?= " + b"x" * 5_000
    content = header + b"\r\nMessage-ID: <" + b"\xf0\x00" * 2_000 + b"@x>\r\n\r\n\x00\r\n"
    odd = Arrival(content, "smtp", "k\x00\udcff", NOW, "\udce5sa@post.example", ("a\x00\udcff@stad.example",))
    take(db, odd)
    assert take(db, odd)[0].disposition == Disposition.CASE
    (mail,) = mails(db)
    assert len(mail.subject) <= 998
    with db.read() as session:
        assert session.exec(select(RawMail.octets)).one() == content


class Cursed(bytes):
    """Octets that break whoever reads them."""

    def find(self, *_: object) -> int:
        """Break."""
        raise RecursionError("too deep")


def test_a_mail_that_breaks_the_reader_is_registered(db: Store) -> None:
    """Its octets are in the register with the defect ``unreadable``, for a person to look at."""
    content = Cursed(octets())
    (taken,) = take(db, arrival(content))
    (mail,) = mails(db)
    assert taken.disposition == Disposition.CASE
    assert mail.defects == ["unreadable"]
    with db.read() as session:
        assert session.exec(select(RawMail.octets)).one() == octets()


def test_a_bare_entry_says_nothing_of_its_header(db: Store) -> None:
    """What the database refused to store of a header is left out, the octets are not."""
    entry = bare(entry_of(arrival(octets())))
    with db.write() as session:
        register(session, [entry], None, now=NOW, zone=ZONE, weeks=4)
    (mail,) = mails(db)
    assert (mail.subject, mail.sender, mail.defects) == ("", "", ["unreadable"])
    with db.read() as session:
        assert session.exec(select(RawMail.octets)).one() == octets()
        assert not session.exec(select(Case.wants_answer)).one()
