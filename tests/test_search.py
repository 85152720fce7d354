"""The full-text search: which words find a case, on both databases alike."""

import pytest
from sqlalchemy import text
from sqlmodel import select

from mailrouter import search, store
from mailrouter.store import Store
from mailrouter.tables import Case
from tests.desk import letter, receive


def _found(opened: Store, question: str) -> list[int]:
    statement = search.hits(question)
    with opened.read() as session:
        return [] if statement is None else list(session.scalars(statement))


def test_words_are_cut_and_folded() -> None:
    """Small letters, no dots or accents; a number with signs in it also as one word."""
    assert search.words_of("Återvinning, CAFÉ-bön 26-2223-G!") == [
        "2223", "26", "262223g", "atervinning", "bon", "cafe", "g",
    ]  # fmt: skip


def test_all_words_must_be_there_and_the_newest_comes_first(db: Store) -> None:
    """Beginnings of words, in any order; one letter only as a word of its own; signs alone find nothing."""
    receive(
        db, letter("Hål i gatan", "Vid Mariaplan A 4."), letter("Gatlampan", "Släckt vid Mariaplan."), letter("Buss")
    )
    assert _found(db, "mariapl") == [2, 1]
    assert _found(db, "GAT maria") == [2, 1]
    assert _found(db, "hal mariaplan") == [1]
    assert _found(db, "a maria") == [1]
    assert _found(db, "m") == []
    for sign in ("%", '"', "' | '", "*", "NEAR(", "gatan AND", "\\", ":*", "(", "!"):
        _found(db, sign)
    assert _found(db, "% ' \" *") == []


def test_an_index_that_is_made_later_finds_the_same(db: Store) -> None:
    """The migration fills it from the register, for installations that were there before."""
    numbers = receive(db, letter("Hål i gatan", "Vid Mariaplan."), letter("Buss"))
    with db.write() as session:
        search.drop(session.connection())
        search.create(session.connection())
    assert _found(db, "mariaplan") == [1]
    with db.read() as session:
        second = session.exec(select(Case).where(Case.number == numbers[1])).one()
    assert _found(db, second.number.replace("-", "")) == [second.id]


@pytest.mark.parametrize("count", [600])
def test_a_large_register_is_indexed_in_steps(db: Store, count: int) -> None:
    """No case between two steps is forgotten, and one without mail has its own words."""
    with db.write() as session:
        session.execute(
            text(
                "INSERT INTO register_case (id, number, year, serial, state, kind, subject, subject_public, sender, "
                "sender_name, wants_answer, district, flags, language, arrived_on, opened_at, answer_due, attention, "
                "last_event, last_hash) VALUES (:id, :number, 2026, :id, 'open', '', :subject, '', '', '', true, '', "
                "'[]', '', '2026-03-02', '2026-03-02 09:00:00', '2026-03-30', '', 0, '')"
            ),
            [{"id": key, "number": f"26-{key}", "subject": f"ord{key}"} for key in range(1, count + 1)],
        )
        search.drop(session.connection())
        search.create(session.connection())
    assert [_found(db, f"ord{key}")[-1] for key in (1, 500, 501, count)] == [1, 500, 501, count]


def test_the_index_goes_with_its_migration(db: Store) -> None:
    """Down and up again leaves a search that works."""
    store.migrate(db, "0001")
    store.migrate(db)
    receive(db, letter("Trasig lampa"))
    assert _found(db, "lampa") == [1]
