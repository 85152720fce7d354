"""The intake: concurrent mails share a commit, and trouble with one is not trouble for all; on both databases."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from mailrouter import diarium
from mailrouter.config import Settings
from mailrouter.doors.intake import Intake, IntakeClosedError
from mailrouter.ingest import Arrival, Cursor, delivery_key
from mailrouter.number import format_number
from mailrouter.store import Store
from mailrouter.tables import Case, Mail, Mailbox
from tests.mails import octets
from tests.waiting import until

YEAR = datetime.now(UTC).year


@pytest.fixture
def intake(db: Store) -> Iterator[Intake]:
    """An intake with the default settings."""
    opened = Intake(db, Settings())
    yield opened
    opened.close()


def arrival(index: int | str, subject: str = "Trasig lampa") -> Arrival:
    """A mail of its own for each index."""
    content = octets(subject, key=str(index))
    return Arrival(content, "smtp", delivery_key(), datetime.now(UTC), "anna@post.example", ())


def subjects(db: Store) -> list[str]:
    """What is registered, in order."""
    with db.read() as session:
        return list(session.exec(select(Mail.subject).order_by(col(Mail.id))))


@contextmanager
def refusing(db: Store, condition: str) -> Iterator[None]:
    """The database refuses mails with ``condition``, as it would a value it cannot store."""
    make, undo = _ON_SQLITE if db.sqlite else _ON_POSTGRESQL
    with db.engine.begin() as connection:
        for statement in make:
            connection.exec_driver_sql(statement.format(condition=condition))
    try:
        yield
    finally:
        with db.engine.begin() as connection:
            for statement in undo:
                connection.exec_driver_sql(statement)


_ON_SQLITE = (
    ["CREATE TRIGGER refuse BEFORE INSERT ON mail WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"],
    ["DROP TRIGGER refuse"],
)
_ON_POSTGRESQL = (
    [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON mail FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()",
    ],
    ["DROP TRIGGER refuse ON mail", "DROP FUNCTION refuse()"],
)


def commits(db: Store) -> list[Any]:
    """Grows by one with each commit of the store."""
    seen: list[Any] = []
    event.listen(db.engine, "commit", seen.append)
    return seen


def test_mails_that_wait_share_a_commit(db: Store, intake: Intake) -> None:
    """Sixteen that come while another is being written are written together, and numbered without a gap."""
    with db.write() as session:
        diarium.lock_series(session, YEAR)
        futures = [intake.submit([arrival("first")])]
        until(lambda: not intake.waiting())  # the writer has taken the first and waits for our lock
        with ThreadPoolExecutor(16) as pool:
            futures += pool.map(lambda index: intake.submit([arrival(index)]), range(16))
        counted = commits(db)
    numbers = [future.result(30)[0].number for future in futures]
    assert sorted(numbers) == [format_number(YEAR, serial) for serial in range(1, 18)]
    assert len(counted) == 3  # ours, the first mail's, and one for the sixteen


def test_sixteen_senders_get_gapless_numbers(db: Store, intake: Intake) -> None:
    """However the batches form, every mail has a number of its own and none is missing."""

    def send(sender: int) -> list[str]:
        return [intake.submit([arrival(f"{sender}.{index}")]).result(30)[0].number for index in range(20)]

    with ThreadPoolExecutor(16) as pool:
        numbers = [number for numbers in pool.map(send, range(16)) for number in numbers]
    assert sorted(numbers) == sorted(format_number(YEAR, serial) for serial in range(1, 321))


def test_a_mail_the_database_refuses_does_not_hold_up_the_others(db: Store, intake: Intake) -> None:
    """It is registered with its octets alone, the mails of the same batch as they are."""
    wanted = ["a", "poison", "b", "poison", "c"]
    with refusing(db, "NEW.subject = 'poison'"):
        parcel = intake.submit([arrival(index, subject) for index, subject in enumerate(wanted)])
        assert len({taken.number for taken in parcel.result(30)}) == 5
    assert subjects(db) == ["a", "", "b", "", "c"]
    with db.read() as session:
        defects = session.exec(select(Mail.defects).order_by(col(Mail.id))).all()
        serials = session.exec(select(Case.serial).order_by(col(Case.serial))).all()
    assert defects == [[], ["unreadable"], [], ["unreadable"], []]
    assert list(serials) == [1, 2, 3, 4, 5]


def test_parcels_stand_or_fall_by_themselves(db: Store, intake: Intake) -> None:
    """A mail that cannot be stored in any form fails its own parcel, and its cursor stays; the others are taken."""
    bad = Arrival(octets(key="bad"), "imap:bad", "INBOX/1/2", datetime.now(UTC))
    with refusing(db, "NEW.source = 'imap:bad'"):
        with db.write() as session:
            diarium.lock_series(session, YEAR)
            first = intake.submit([arrival("first")])
            until(lambda: not intake.waiting())
            before = intake.submit([arrival(1, "before")])
            failing = intake.submit([arrival(2, "beside"), bad], Cursor("bad", "INBOX", 1, 2))
            after = intake.submit([arrival(3, "after")])
        for parcel in (first, before, after):
            parcel.result(30)
        with pytest.raises(DBAPIError):
            failing.result(30)
    assert sorted(subjects(db)) == ["Trasig lampa", "after", "before", "beside"]
    with db.read() as session:
        assert session.exec(select(Mailbox)).all() == []
        assert sorted(session.exec(select(Case.serial))) == [1, 2, 3, 4]


def test_a_broken_schema_fails_and_recovers(db: Store, intake: Intake) -> None:
    """Nothing is taken while the register cannot be written, and everything once it can, without a restart."""
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE rawmail RENAME TO away"))
    with pytest.raises(DBAPIError):
        intake.submit([arrival(1)]).result(30)
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO rawmail"))
    assert intake.submit([arrival(1)]).result(30)[0].number == format_number(YEAR, 1)


def test_nobody_takes_a_mail_back(db: Store, intake: Intake) -> None:
    """A connection that goes away cancels its wait, not the mail."""
    with db.write() as session:
        diarium.lock_series(session, YEAR)
        future = intake.submit([arrival(1)])
        assert not future.cancel()
    assert future.result(30)
    assert subjects(db) == ["Trasig lampa"]


def test_closing_commits_what_waits(db: Store) -> None:
    """What was handed in before the end is registered, what comes after is refused."""
    intake = Intake(db, Settings())
    with db.write() as session:
        diarium.lock_series(session, YEAR)
        futures = [intake.submit([arrival(index)]) for index in range(5)]
        closing = threading.Thread(target=intake.close)
        closing.start()
    closing.join(30)
    assert all(future.done() for future in futures)
    assert len(subjects(db)) == 5
    assert not intake.alive()
    with pytest.raises(IntakeClosedError):
        intake.submit([arrival("late")])
