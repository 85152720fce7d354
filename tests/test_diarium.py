"""The register: numbers without gaps, moves by the table, history that shows any change."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from mailrouter import diarium, seal
from mailrouter.diarium import EventKind, IllegalMoveError, NewCase, OpenedCase
from mailrouter.number import format_number
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Event
from tests.clock import NOW, ZONE


def _new(at: datetime = NOW) -> NewCase:
    return NewCase("anna@post.example", "Anna Berg", "Trasig lampa", True, at, {"source": "test"})


def _open(session: Session, *moments: datetime) -> list[OpenedCase]:
    return diarium.open_cases(session, [_new(at) for at in moments or (NOW,)], now=NOW, zone=ZONE, weeks=4)


class _RollbackError(Exception):
    pass


def test_numbers_have_no_gaps_even_when_transactions_fail(db: Store) -> None:
    """Eight threads open cases and one in five transactions is rolled back: the serials are 1..n."""
    dice = random.Random(7)
    plan = [(dice.randint(1, 3), dice.random() < 0.2) for _ in range(60)]

    def work(step: tuple[int, bool]) -> int:
        count, fails = step
        try:
            with db.write() as session:
                diarium.lock_series(session, 2026)
                _open(session, *[NOW] * count)
                if fails:
                    raise _RollbackError
        except _RollbackError:
            return 0
        return count

    with ThreadPoolExecutor(8) as pool:
        opened = sum(pool.map(work, plan))
    with db.read() as session:
        serials = session.exec(select(Case.serial).order_by(col(Case.serial))).all()
        numbers = session.exec(select(Case.number).order_by(col(Case.serial))).all()
    assert list(serials) == list(range(1, opened + 1))
    assert list(numbers) == [format_number(2026, serial) for serial in serials]


def test_the_year_is_that_of_the_citys_clock(db: Store) -> None:
    """Half past eleven on New Year's eve in UTC is next year in Göteborg, with a series of its own."""
    with db.write() as session:
        old, new = _open(
            session, datetime(2026, 12, 31, 22, 30, tzinfo=UTC), datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
        )
        assert (old.number, new.number) == (format_number(2026, 1), format_number(2027, 1))
        assert session.get_one(Case, new.case_id).arrived_on.isoformat() == "2027-01-01"


def test_the_answer_date_is_a_working_day_four_weeks_on(db: Store) -> None:
    """A mail of 28 November is to be answered on the Monday after Boxing Day."""
    with db.write() as session:
        (opened,) = _open(session, datetime(2026, 11, 28, 9, tzinfo=UTC))
        assert session.get_one(Case, opened.case_id).answer_due.isoformat() == "2026-12-28"


@pytest.mark.parametrize(("state", "kind"), [(state, kind) for state in CaseState for kind in EventKind])
def test_a_state_moves_only_by_the_table(state: CaseState, kind: EventKind) -> None:
    """Every pair of state and event either stands in the table, is no move at all, or is refused."""
    day = NOW.date()
    case = Case(
        id=1, number="26-2223-G", year=2026, serial=1, state=state, subject="", subject_public="", sender="",
        arrived_on=day, opened_at=NOW, answer_due=day,
    )  # fmt: skip
    moves = {moved for _, moved in diarium.CASE_MOVES}
    with Session() as session:
        session.flush = lambda *_: None  # type: ignore[method-assign]  # no database: the decision alone is tried
        if kind in moves and (state, kind) not in diarium.CASE_MOVES:
            with pytest.raises(IllegalMoveError):
                diarium.record(session, case, kind, actor="a", now=NOW, detail={})
            assert case.state is state
        else:
            diarium.record(session, case, kind, actor="a", now=NOW, detail={})
            assert case.state is diarium.CASE_MOVES.get((state, kind), state)


def test_history_cannot_be_rewritten(db: Store) -> None:
    """The database itself refuses to change or delete an event."""
    with db.write() as session:
        _open(session)
    for statement in ("UPDATE event SET actor = 'nobody'", "DELETE FROM event"):
        with pytest.raises(DBAPIError), db.engine.begin() as connection:
            connection.exec_driver_sql(statement)


def _tamper(db: Store, statement: str) -> None:
    """Change history as somebody with every right could: the triggers taken away first."""
    with db.engine.begin() as connection:
        if db.sqlite:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS event_refuses_update")
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS event_refuses_delete")
        else:
            connection.exec_driver_sql("ALTER TABLE event DISABLE TRIGGER event_is_append_only")
        connection.exec_driver_sql(statement)


def _history(db: Store) -> None:
    """Three cases with three events each, sealed."""
    with db.write() as session:
        for opened in _open(session, NOW, NOW, NOW):
            case = diarium.lock(session, opened.case_id)
            for actor in ("eva", "ali"):
                diarium.record(session, case, EventKind.SUGGESTED, actor=actor, now=NOW, detail={"area": "cykel"})
    with db.write() as session:
        seal.anchor(session, NOW + 2 * seal.SETTLED_AFTER)


def test_an_untouched_history_holds(db: Store) -> None:
    """verify finds nothing, and says what it looked at."""
    _history(db)
    proof = seal.verify(db)
    assert (proof.cases, proof.events, proof.anchors, proof.faults) == (3, 9, 1, [])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET actor = 'nobody' WHERE id = 5",
        'UPDATE event SET detail = \'{"area": "renhallning"}\' WHERE id = 5',
        "UPDATE event SET at = '2026-03-02 10:00:00' WHERE id = 5",
        "DELETE FROM event WHERE case_id = 2 AND sequence = 2",
        "DELETE FROM event WHERE case_id = 2 AND sequence = 3",
        "UPDATE register_case SET last_event = 2 WHERE id = 2",
    ],
)
def test_any_change_of_history_shows(db: Store, change: str) -> None:
    """One changed word, a removed event, a cut-off end: verify names the case or the seal."""
    _history(db)
    _tamper(db, change)
    assert seal.verify(db).faults


def test_a_vanished_case_breaks_the_seal(db: Store) -> None:
    """A case removed with all its events leaves no broken chain, but the anchor tells."""
    _history(db)
    _tamper(db, "DELETE FROM event WHERE case_id = 2")
    _tamper(db, "DELETE FROM register_case WHERE id = 2")
    assert any("anchor" in fault for fault in seal.verify(db).faults)


def test_events_are_counted_in_the_chain(db: Store) -> None:
    """Each event carries the hash of the one before it."""
    _history(db)
    with db.read() as session:
        chain = session.exec(select(Event).where(Event.case_id == 1).order_by(col(Event.sequence))).all()
    assert [event.previous_hash for event in chain] == ["", chain[0].hash, chain[1].hash]
