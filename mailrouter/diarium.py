"""The register: numbers a case, moves its state through one literal table, appends the event.

Nothing else writes a state or an event. Functions take a session and never commit.
docs/states.md draws the tables below; a test holds the drawing to them.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mailrouter import number, workdays
from mailrouter.store import BulkInsert, draw_ids, plain
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseState,
    Dispatch,
    DispatchState,
    Event,
)

NOT_A_CASE = "ej-arende"  # the reason to close what nobody is to answer (triage.CloseReason)
PUBLIC_SUBJECT = "Inkommen skrivelse till kontaktcenter"


class EventKind(StrEnum):
    """What can happen to a case."""

    RECEIVED = "received"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    RELEASED = "released"
    SUGGESTED = "suggested"
    CONFIRMED = "confirmed"
    SENT = "sent"
    SEND_DELAYED = "send-delayed"
    DELIVERY_FAILED = "delivery-failed"
    REMINDED = "reminded"
    DIARIENUMMER = "diarienummer"
    RETURNED = "returned"
    PART_ANSWERED = "part-answered"
    ANSWERED = "answered"
    CLOSED = "closed"
    REOPENED = "reopened"
    NOTED = "noted"
    UNDONE = "undone"
    RECEIPT = "receipt"
    PAUSED = "paused"
    RESUMED = "resumed"
    RESCHEDULED = "rescheduled"
    LINKED = "linked"
    RESTRICTED = "restricted"
    READ = "read"


# An event that changes what a person at the desk would decide: a page older than it is stale.
DECISIVE = frozenset(
    {
        EventKind.JOINED,
        EventKind.QUARANTINED,
        EventKind.RELEASED,
        EventKind.CONFIRMED,
        EventKind.DELIVERY_FAILED,
        EventKind.RETURNED,
        EventKind.ANSWERED,
        EventKind.CLOSED,
        EventKind.REOPENED,
        EventKind.UNDONE,
        EventKind.RESTRICTED,
    }
)

CASE_MOVES: dict[tuple[CaseState, EventKind], CaseState] = {
    (CaseState.OPEN, EventKind.QUARANTINED): CaseState.QUARANTINED,  # A
    (CaseState.QUARANTINED, EventKind.RELEASED): CaseState.OPEN,  # B
    (CaseState.OPEN, EventKind.CONFIRMED): CaseState.ROUTED,  # C
    (CaseState.QUARANTINED, EventKind.CONFIRMED): CaseState.ROUTED,  # D
    (CaseState.OPEN, EventKind.CLOSED): CaseState.CLOSED,  # E
    (CaseState.QUARANTINED, EventKind.CLOSED): CaseState.CLOSED,  # F
    (CaseState.ROUTED, EventKind.DELIVERY_FAILED): CaseState.OPEN,  # G
    (CaseState.OPEN, EventKind.DELIVERY_FAILED): CaseState.OPEN,  # H
    (CaseState.ROUTED, EventKind.RETURNED): CaseState.OPEN,  # I
    (CaseState.OPEN, EventKind.RETURNED): CaseState.OPEN,  # J
    (CaseState.ROUTED, EventKind.ANSWERED): CaseState.ANSWERED,  # K
    (CaseState.ROUTED, EventKind.CLOSED): CaseState.CLOSED,  # L
    (CaseState.ANSWERED, EventKind.CLOSED): CaseState.CLOSED,  # M
    (CaseState.ANSWERED, EventKind.REOPENED): CaseState.OPEN,  # N
    (CaseState.CLOSED, EventKind.REOPENED): CaseState.OPEN,  # O
    (CaseState.CLOSED, EventKind.DELIVERY_FAILED): CaseState.OPEN,  # P
    (CaseState.ANSWERED, EventKind.DELIVERY_FAILED): CaseState.OPEN,  # Q
    (CaseState.ROUTED, EventKind.UNDONE): CaseState.OPEN,  # R
    (CaseState.CLOSED, EventKind.UNDONE): CaseState.OPEN,  # S
}

ASSIGNMENT_MOVES: frozenset[tuple[AssignmentState, AssignmentState]] = frozenset(
    {
        (AssignmentState.SENDING, AssignmentState.DELIVERED),
        (AssignmentState.SENDING, AssignmentState.FAILED),
        (AssignmentState.SENDING, AssignmentState.WITHDRAWN),
        (AssignmentState.DELIVERED, AssignmentState.FAILED),  # a bounce after the smarthost took it
        (AssignmentState.DELIVERED, AssignmentState.RETURNED),
        (AssignmentState.DELIVERED, AssignmentState.ANSWERED),
        (AssignmentState.DELIVERED, AssignmentState.WITHDRAWN),
    }
)

DISPATCH_MOVES: frozenset[tuple[DispatchState, DispatchState]] = frozenset(
    {
        (DispatchState.QUEUED, DispatchState.SENT),
        (DispatchState.QUEUED, DispatchState.FAILED),
        (DispatchState.QUEUED, DispatchState.CANCELLED),
        (DispatchState.SENT, DispatchState.FAILED),  # a bounce after the smarthost took it
    }
)


_INSERT_CASES = BulkInsert(
    "register_case", "id", "number", "year", "serial", "state", "kind", "subject", "subject_public", "sender",
    "sender_name", "wants_answer", "district", "flags", "language", "arrived_on", "opened_at", "answer_due",
    "attention", "restricted", "contact", "closed_as", "last_event", "last_hash",
)  # fmt: skip
_INSERT_EVENTS = BulkInsert("event", "case_id", "sequence", "at", "kind", "actor", "detail", "previous_hash", "hash")


_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


class DiariumError(Exception):
    """The register refuses; the message is the sentence a person reads."""


class IllegalMoveError(DiariumError):
    """The state does not allow what was asked."""


class StaleError(DiariumError):
    """Somebody was faster: ``event`` is what happened meanwhile."""

    def __init__(self, event: Event) -> None:
        super().__init__(f"{event.actor} was faster: {event.kind} at {event.at:%Y-%m-%d %H:%M:%S} UTC")
        self.event = event


class NoSuchCaseError(DiariumError):
    """There is no case with that number."""


@dataclass(frozen=True, slots=True)
class NewCase:
    """What the register needs to open a case."""

    sender: str
    sender_name: str
    subject: str
    wants_answer: bool
    arrived_at: datetime
    detail: dict[str, Any]  # goes into the ``received`` event


@dataclass(frozen=True, slots=True)
class OpenedCase:
    """A case that was just opened."""

    case_id: int
    number: str


def lock_series(session: Session, year: int) -> None:
    """Lock the year's series until the transaction ends: intakes of all nodes pass here one by one."""
    locked = "SELECT last FROM series WHERE year = ? FOR UPDATE"
    if plain(session, locked, year).first() is None:
        with suppress(IntegrityError), session.begin_nested():  # another node may open the year just now
            plain(session, "INSERT INTO series (year, last) VALUES (?, 0)", year)
        plain(session, locked, year).one()


def open_cases(
    session: Session, new: Sequence[NewCase], *, now: datetime, zone: ZoneInfo, weeks: int
) -> list[OpenedCase]:
    """Number and open ``new`` in order, each with its ``received`` event. One statement a table, for speed.

    The day of arrival and with it the year of the number are those of the city's clock (FL 22 §).
    """
    if not new:
        return []
    days = [case.arrived_at.astimezone(zone).date() for case in new]
    serials = _take_serials(session, [day.year for day in days])
    due = {day: workdays.answer_date(day, weeks) for day in set(days)}
    numbers = [number.format_number(day.year, serial) for day, serial in zip(days, serials, strict=True)]
    ids = draw_ids(session, "register_case", len(new))
    events = [
        _event_row(of, 1, now, EventKind.RECEIVED, "mailrouter", case.detail, previous="") | {"case_id": key}
        for key, of, case in zip(ids, numbers, new, strict=True)
    ]
    rows = [
        {
            "id": key,
            "number": of,
            "year": day.year,
            "serial": serial,
            "state": CaseState.OPEN,
            "kind": "",
            "subject": case.subject,
            "subject_public": PUBLIC_SUBJECT,
            "sender": case.sender,
            "sender_name": case.sender_name,
            "wants_answer": case.wants_answer,
            "district": "",
            "flags": [],
            "language": "",
            "arrived_on": day,
            "opened_at": case.arrived_at,
            "answer_due": due[day],
            "attention": "",
            "restricted": "",
            "contact": "",
            "closed_as": "",
            "last_event": 1,
            "last_hash": event["hash"],
        }
        for key, of, serial, day, case, event in zip(ids, numbers, serials, days, new, events, strict=True)
    ]
    _INSERT_CASES(session, rows)
    _INSERT_EVENTS(session, events)
    return [OpenedCase(key, of) for key, of in zip(ids, numbers, strict=True)]


def _take_serials(session: Session, years: Sequence[int]) -> list[int]:
    """The next serial of its year for each of ``years``, in order."""
    following = {}
    for year, count in sorted(Counter(years).items()):
        take = "UPDATE series SET last = last + ? WHERE year = ? RETURNING last"
        last = plain(session, take, count, year).scalar()
        if last is None:
            lock_series(session, year)
            last = plain(session, take, count, year).scalar_one()
        following[year] = itertools.count(last - count + 1)
    return [next(following[year]) for year in years]


def find(session: Session, written: str) -> Case:
    """The case a person names. Raises NumberError or NoSuchCaseError."""
    wanted = number.read_number(written)
    case = session.exec(select(Case).where(Case.number == wanted)).first()
    if case is None:
        raise NoSuchCaseError(f"there is no case {wanted}")
    return case


def lock(session: Session, case_id: int) -> Case:
    """The case, locked until the transaction ends: every decision starts here."""
    statement = select(Case).where(Case.id == case_id).with_for_update().execution_options(populate_existing=True)
    case = session.exec(statement).first()
    if case is None:
        raise NoSuchCaseError("there is no such case")
    return case


def refuse_stale(session: Session, case: Case, seen: int) -> None:
    """Raise StaleError when something decisive happened after event ``seen``."""
    statement = (
        select(Event)
        .where(Event.case_id == case.id, col(Event.sequence) > seen, col(Event.kind).in_(DECISIVE))
        .order_by(col(Event.sequence).desc())
    )
    event = session.exec(statement).first()
    if event is not None:
        raise StaleError(event)


def record(
    session: Session, case: Case, kind: EventKind, *, actor: str, now: datetime, detail: dict[str, Any]
) -> Event:
    """Append an event to a locked case and move its state when the table says so.

    Raises IllegalMoveError when ``kind`` is a move that the case's state does not allow.
    """
    if any(moved is kind for _, moved in CASE_MOVES):
        if (case.state, kind) not in CASE_MOVES:
            raise IllegalMoveError(f"case {case.number} is {case.state}: it cannot be {kind}")
        case.state = CASE_MOVES[case.state, kind]
        case.closed_at = now if case.state is CaseState.CLOSED else None
        case.answered_at = _answered_at(case, detail, now)
        case.closed_as = str(detail.get("reason", "")) if case.state is CaseState.CLOSED else ""
    row = _event_row(case.number, case.last_event + 1, now, kind, actor, detail, previous=case.last_hash)
    event = Event(case_id=case.id, **row)
    case.last_event, case.last_hash = event.sequence, event.hash
    session.add(event)
    session.flush()
    return event


def _answered_at(case: Case, detail: dict[str, Any], now: datetime) -> datetime | None:
    """When the citizen was answered, for a case that has just moved; a case that opens again is not answered."""
    if case.state is CaseState.ANSWERED:
        return now
    if case.state is CaseState.CLOSED:
        return case.answered_at or (None if detail.get("reason") == NOT_A_CASE else now)
    return None


def move_assignment(assignment: Assignment, to: AssignmentState) -> None:
    """Move a förvaltning's part. Raises IllegalMoveError."""
    if (assignment.state, to) not in ASSIGNMENT_MOVES:
        raise IllegalMoveError(f"the part of {assignment.unit} is {assignment.state}: it cannot become {to}")
    assignment.state = to


def move_dispatch(dispatch: Dispatch, to: DispatchState) -> None:
    """Move an outgoing mail. Raises IllegalMoveError."""
    if (dispatch.state, to) not in DISPATCH_MOVES:
        raise IllegalMoveError(f"mail {dispatch.id} is {dispatch.state}: it cannot become {to}")
    dispatch.state = to


def _event_row(
    of: str, sequence: int, at: datetime, kind: EventKind, actor: str, detail: dict[str, Any], *, previous: str
) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "at": at,
        "kind": kind.value,
        "actor": actor,
        "detail": detail,
        "previous_hash": previous,
        "hash": event_hash(of, sequence, at, kind.value, actor, detail, previous),
    }


def event_hash(
    of: str, sequence: int, at: datetime, kind: str, actor: str, detail: dict[str, Any], previous: str
) -> str:
    """sha256 over all that an event says and the hash before it; any change of either shows."""
    said = [previous, of, sequence, at.timestamp(), kind, actor, detail]
    return hashlib.sha256(_CANONICAL(said).encode()).hexdigest()


def broken_links(of: str, last_event: int, last_hash: str, events: Iterable[Event]) -> list[str]:
    """What is wrong with one case's chain, as sentences; empty when it holds. ``events`` come in order."""
    previous, expected = "", 1
    for event in events:
        if event.sequence != expected:
            return [f"case {of}: event {expected} is missing"]
        true = event_hash(of, event.sequence, event.at, event.kind, event.actor, event.detail, previous)
        if event.previous_hash != previous or event.hash != true:
            return [f"case {of}: event {event.sequence} was changed"]
        previous, expected = event.hash, expected + 1
    if (expected - 1, previous) != (last_event, last_hash):
        return [f"case {of}: its history ends at event {expected - 1}, the register says {last_event}"]
    return []
