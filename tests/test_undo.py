"""A decision is taken back while nothing of it has left, and never after."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from mailrouter import diarium, memory, store, triage, undo
from mailrouter.config import Settings
from mailrouter.diarium import EventKind, StaleError
from mailrouter.store import Store
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseState,
    Dispatch,
    DispatchState,
    Event,
)
from mailrouter.triage import Choice, CloseReason
from mailrouter.undo import TooLateError
from tests.clock import NOW
from tests.desk import city, letter, receive

WINDOW = timedelta(seconds=10)
SOON = NOW + timedelta(seconds=5)
LATER = NOW + timedelta(seconds=11)


def _open(store: Store, *subjects: str) -> list[int]:
    """Cases at the desk, read and judged."""
    numbers = receive(store, *(letter(subject) for subject in subjects))
    with store.read() as session:
        return [diarium.find(session, number).id for number in numbers]


def _confirm(session: Session, case_id: int, *units: str) -> Case:
    return triage.confirm(
        session, case_id, [Choice(unit) for unit in units], seen=None, actor="eva", now=NOW,
        organisation=city(), settings=Settings(), delay=WINDOW,
    )  # fmt: skip


def _undo(opened: Store, case_id: int, *, seen: int | None = None, after: timedelta = WINDOW / 2) -> None:
    with opened.write() as session:
        undo.take_back(session, case_id, seen=seen, actor="eva", now=NOW + after, within=WINDOW)


def test_a_confirmation_is_undone_as_if_it_had_not_been_made(db: Store) -> None:
    """The mails are cancelled before anybody may claim them; case, attention and subject stand as they stood."""
    (key,) = _open(db, "Lampa")
    with db.write() as session:
        diarium.lock(session, key).attention = "Återöppnat"
        subject = diarium.lock(session, key).subject_public
        _confirm(session, key, "stadsmiljoforvaltningen", "kretslopp-och-vatten")
    with db.write() as session:
        assert db.claim(session, Dispatch, SOON, limit=9, lease=WINDOW) == []
    _undo(db, key)
    with db.read() as session:
        case = session.get_one(Case, key)
        assert (case.state, case.attention, case.subject_public) == (CaseState.OPEN, "Återöppnat", subject)
        assert set(session.exec(select(Dispatch.state))) == {DispatchState.CANCELLED}
        assert set(session.exec(select(col(Dispatch.due_at)))) == {None}
        assert set(session.exec(select(Assignment.state))) == {AssignmentState.WITHDRAWN}
        assert set(session.exec(select(col(Assignment.due_at)))) == {None}
        assert list(memory.examples(session)) == []
    with db.write() as session:
        _confirm(session, key, "kretslopp-och-vatten")
    with db.read() as session:
        assert len(list(memory.examples(session))) == 1


def test_nothing_is_undone_once_a_mail_is_claimed(db: Store) -> None:
    """One of two forwards has begun to leave: nothing is cancelled, and the page no longer offers it."""
    (key,) = _open(db, "Lampa")
    with db.write() as session:
        _confirm(session, key, "stadsmiljoforvaltningen", "kretslopp-och-vatten")
    with db.write() as session:
        (claimed,) = db.claim(session, Dispatch, LATER, limit=1, lease=WINDOW)
        store.postpone(claimed, LATER)  # the smarthost was away: nothing is leased, but it was tried
    with pytest.raises(TooLateError):
        _undo(db, key)
    with db.read() as session:
        case = session.get_one(Case, key)
        assert undo.undoable(session, case, now=NOW, within=WINDOW) is None
        assert case.state is CaseState.ROUTED
        assert set(session.exec(select(Dispatch.state))) == {DispatchState.QUEUED}


def test_a_mail_nobody_came_for_can_still_be_stopped(db: Store) -> None:
    """While the work role is away its time may be over; what counts is that it has not left."""
    (key,) = _open(db, "Lampa")
    with db.write() as session:
        _confirm(session, key, "stadsmiljoforvaltningen")
    _undo(db, key, after=timedelta(hours=1))
    with db.read() as session:
        assert session.exec(select(Dispatch.state)).one() is DispatchState.CANCELLED


def test_a_closed_case_is_undone_for_a_while(db: Store) -> None:
    """Within the window the case stands open again; after it, it is reopened with a reason instead."""
    first, second = _open(db, "a", "b")
    with db.write() as session:
        for key in (first, second):
            triage.close(session, key, CloseReason.EJ_ARENDE, note="", seen=None, actor="eva", now=NOW)
    _undo(db, first)
    with pytest.raises(TooLateError):
        _undo(db, second, after=timedelta(seconds=11))
    with db.read() as session:
        assert session.get_one(Case, first).state is CaseState.OPEN
        assert session.get_one(Case, second).state is CaseState.CLOSED
        event = session.exec(select(Event).where(Event.kind == EventKind.UNDONE)).one()
        assert event.detail["what"] == "closed"


def test_what_stood_in_quarantine_stands_there_again(db: Store) -> None:
    """Undo does not let an unreadable mail into the queue."""
    (key,) = _open(db, "Lampa")
    with db.write() as session:
        case = diarium.lock(session, key)
        case.attention = "Mejlet gick inte att läsa."
        diarium.record(session, case, EventKind.QUARANTINED, actor="mailrouter", now=NOW, detail={})
        _confirm(session, key, "stadsmiljoforvaltningen")
    _undo(db, key)
    with db.read() as session:
        case = session.get_one(Case, key)
        assert (case.state, case.attention) == (CaseState.QUARANTINED, "Mejlet gick inte att läsa.")


def test_only_the_last_decision_and_only_by_who_has_seen_it(db: Store) -> None:
    """A mail that came meanwhile, or a closing that took the case from a förvaltning, is not undone."""
    (key,) = _open(db, "Lampa")
    with pytest.raises(triage.TriageError, match="no decision"):
        _undo(db, key)
    with db.write() as session:
        seen = _confirm(session, key, "stadsmiljoforvaltningen").last_event
    with db.write() as session:
        case = diarium.lock(session, key)
        diarium.record(session, case, EventKind.JOINED, actor="mailrouter", now=NOW, detail={})
    with pytest.raises(StaleError):
        _undo(db, key, seen=seen)
    with db.write() as session:
        triage.close(session, key, CloseReason.EJ_ARENDE, note="", seen=None, actor="eva", now=NOW)
    with pytest.raises(triage.TriageError, match="no decision"):
        _undo(db, key)
