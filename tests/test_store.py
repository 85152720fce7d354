"""The store: claims and migrations, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlmodel import Session, SQLModel, col, select

from mailrouter import store
from mailrouter.store import Store
from mailrouter.tables import Assignment, Case

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def _assignments(session: Session, count: int) -> None:
    day = NOW.date()
    case = Case(
        number="26-2223-G", year=2026, serial=1, subject="", subject_public="", sender="", arrived_on=day,
        opened_at=NOW,
        answer_due=day,
    )  # fmt: skip
    session.add(case)
    session.flush()
    for index in range(count):
        session.add(
            Assignment(
                case_id=case.id, unit=f"unit-{index}", unit_name="", area="", created_at=NOW, created_by="a",
                answer_due=NOW.date(), due_at=NOW,
            )
        )  # fmt: skip


def test_a_row_is_claimed_once(db: Store) -> None:
    """Four workers that claim at the same time share the rows: each row is handed out exactly once."""
    with db.write() as session:
        _assignments(session, 100)

    def work(_: int) -> list[int]:
        mine: list[int] = []
        while True:
            with db.write() as session:
                rows = db.claim(session, Assignment, NOW, limit=7, lease=timedelta(minutes=5))
                got = [row.id for row in rows]
            if not got:
                return mine
            mine += got

    with ThreadPoolExecutor(4) as pool:
        claimed = [key for keys in pool.map(work, range(4)) for key in keys]
    assert sorted(claimed) == sorted(set(claimed))
    assert len(claimed) == 100


def test_an_expired_lease_is_handed_out_again(db: Store) -> None:
    """What a dead process had claimed is due again when its lease has run out, and not before."""
    with db.write() as session:
        _assignments(session, 1)
        assert db.claim(session, Assignment, NOW, limit=5, lease=timedelta(minutes=5))
    with db.write() as session:
        assert not db.claim(session, Assignment, NOW + timedelta(minutes=4), limit=5, lease=timedelta(minutes=5))
    with db.write() as session:
        (row,) = db.claim(session, Assignment, NOW + timedelta(minutes=6), limit=5, lease=timedelta(minutes=5))
        assert row.attempts == 2
        store.settle(row)
    with db.read() as session:
        assert session.exec(select(col(Assignment.due_at))).one() is None


def test_the_schema_is_what_the_tables_say(db: Store) -> None:
    """The migrations lead to exactly the tables of the code."""
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_of_the_tables})
        assert compare_metadata(context, SQLModel.metadata) == []


def _is_of_the_tables(name: str | None, kind: str, _parents: object) -> bool:
    """All but the full-text search, which is a different thing in each database (search.py)."""
    return kind != "table" or not str(name).startswith("case_search")


def test_migrations_go_down_and_up(db: Store) -> None:
    """Every migration can be taken back, and applied again."""
    store.migrate(db, "base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    store.migrate(db)
    assert "register_case" in inspect(db.engine).get_table_names()


def test_a_failed_block_leaves_nothing(db: Store) -> None:
    """A write that raises is rolled back whole."""

    def work() -> None:
        with db.write() as session:
            _assignments(session, 3)
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with db.read() as session:
        assert session.exec(select(Assignment)).all() == []
