"""Repeats: the same matter again from the same citizen is linked and counted, never merged."""

from datetime import timedelta

import pytest
from sqlmodel import select

from mailrouter import repeats
from mailrouter.reports import reconcile
from mailrouter.store import Store
from mailrouter.tables import Case, CaseLink, CaseState, Event
from tests.mails import octets
from tests.register import read, take, take_and_read

LAMP = "Hej! Lampan vid korsningen Mariagatan och Såggatan har varit släckt sedan i måndags. Kan ni laga den? /Anna"
AGAIN = "Hej igen. Lampan vid korsningen Mariagatan och Såggatan är fortfarande släckt. Kan ni laga den? /Anna"
WASTE = "Hej! Soptunnan på Kastellgatan 4 tömdes inte i veckan, och nu luktar det på hela gården. Mvh Anna Berg"
SCHOOL = "Hej! När får vi besked om vilken skola vår son ska gå i till hösten? Vi har inte hört något. /Anna"


def links(db: Store) -> list[tuple[str, str, str]]:
    """Every link: the case, the earlier one, and why."""
    with db.read() as session:
        numbers = dict(session.exec(select(Case.id, Case.number)).all())
        found = session.exec(select(CaseLink)).all()
        return [(numbers[link.case_id], numbers[link.earlier_id], link.why) for link in found]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("Trasig lampa", LAMP), ("Lampan lyser inte", AGAIN), True),
        (("Trasig lampa", LAMP), ("SV: Trasig lampa", "Har ni glömt mig?"), True),
        (("Trasig lampa", LAMP), ("Trasig lampa", LAMP), True),
        (("Trasig lampa", LAMP), ("Sopor", WASTE), False),
        (("Trasig lampa", LAMP), ("Skolplats", SCHOOL), False),
        (("Sopor", WASTE), ("Skolplats", SCHOOL), False),
        (("Klagomål", WASTE), ("Klagomål", SCHOOL), False),
        (("", ""), ("Klagomål", SCHOOL), False),
    ],
)
def test_what_is_about_the_same(one: tuple[str, str], other: tuple[str, str], alike: bool) -> None:
    """The same telling subject or much the same words; a greeting, a name and one word of subject are not enough."""
    assert repeats.is_like(*one, *other) is alike
    assert repeats.is_like(*other, *one) is alike


def test_a_repeat_is_linked_and_counted(db: Store) -> None:
    """Each mail is a case of its own; the later one names the earlier in its history, and the sum holds."""
    first, waste, again = take_and_read(
        db,
        octets(body=LAMP, key="1"),
        octets("Sopor", WASTE, key="2"),
        octets("Lampan lyser inte", AGAIN, key="3"),
    )
    assert links(db) == [(again.number, first.number, f"Liknar {first.number} från samma avsändare.")]
    with db.read() as session:
        told = session.exec(select(Event).where(Event.kind == "linked")).one()
        assert (told.case_id, told.detail["earlier"]) == (again.case_id, first.number)
        assert {case.state for case in session.exec(select(Case))} == {CaseState.OPEN}
        assert [balance.cases for balance in reconcile.balances(session)] == [3]
        assert all(balance.holds for balance in reconcile.balances(session))
    assert waste.number not in str(links(db))


def test_what_is_not_a_repeat(db: Store) -> None:
    """Another sender, or a mail after the time is over, is nothing but a new case."""
    other = octets(body=AGAIN, key="2").replace(b"anna@post.example", b"berit@post.example")
    first, _ = take_and_read(db, octets(body=LAMP), other)
    with db.write() as session:
        session.get_one(Case, first.case_id).opened_at -= timedelta(days=61)
    take_and_read(db, octets("Lampan lyser inte", AGAIN, key="3"))
    assert links(db) == []


def test_restricted_cases_are_linked_to_nothing(db: Store) -> None:
    """Neither a like text nor a number in the subject links to or from what only some may know of."""
    (first,) = take_and_read(db, octets(body=LAMP))
    with db.write() as session:
        session.get_one(Case, first.case_id).restricted = "skyddad"
    take_and_read(db, octets(f"Ärende {first.number}", AGAIN, key="2"))
    take_and_read(db, octets(f"Ärende {first.number}", f"{AGAIN} Lag 2021:890 om visselblåsning.", key="3"))
    assert links(db) == []


def test_reading_again_links_once(db: Store) -> None:
    """A number in the subject and a like text make one link, also when the mail is read anew."""
    (first,) = take_and_read(db, octets(body=LAMP))
    take(db, octets(f"Mer om ärende {first.number}", AGAIN, key="2"))
    read(db)
    ((_, earlier, why),) = links(db)
    assert (earlier, why) == (first.number, f"Ämnesraden nämner {first.number}.")


def test_an_index_leads_to_the_earlier_cases(db: Store) -> None:
    """The question is answered by index, so that two hundred thousand cases cost no more than two hundred."""
    (first,) = take_and_read(db, octets(body=LAMP))
    with db.read() as session:
        asked = repeats.earlier_cases(session.get_one(Case, first.case_id), 60)
        connection = session.connection()
        if not db.sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")  # a table of one row is read whole otherwise
        sql = asked.compile(connection, compile_kwargs={"literal_binds": True})
        explained = connection.exec_driver_sql(f"{'EXPLAIN QUERY PLAN' if db.sqlite else 'EXPLAIN'} {sql}")
        plan = "\n".join(str(row) for row in explained)
    assert "SCAN" not in plan
    assert "Seq Scan" not in plan
    assert "ix_case_contact" in plan or not db.sqlite
