"""Proof that history was not rewritten: a daily seal over all events, and the check of every chain.

Each case's events are chained by their hashes (diarium.event_hash). A chain alone does not show that
its end, or a whole case, was taken away; the anchors do, since each seals every event before it.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter import diarium
from mailrouter.store import Store
from mailrouter.tables import Anchor, Case, Event, Mail, RawMail, Receipt

CHUNK = 500
SETTLED_AFTER = timedelta(minutes=10)  # younger events may still be joined by one with a lower id


@dataclass(frozen=True, slots=True)
class Proof:
    """What ``verify`` found; ``faults`` are sentences, empty when everything holds."""

    cases: int
    events: int
    mails: int
    anchors: int
    faults: list[str] = field(default_factory=list)


def anchor(session: Session, now: datetime) -> Anchor | None:
    """Seal the events since the last anchor; None when there are none."""
    last = session.exec(select(Anchor).order_by(col(Anchor.id).desc()).limit(1).with_for_update()).first()
    since, previous = (last.last_event_id, last.hash) if last else (0, "")
    until = session.scalar(select(func.max(Event.id)).where(col(Event.at) < now - SETTLED_AFTER)) or 0
    count, digest = _digest(session, previous, since, until)
    if not count:
        return None
    sealed = Anchor(at=now, last_event_id=until, events=count, previous_hash=previous, hash=digest)
    session.add(sealed)
    return sealed


def _digest(session: Session, previous: str, since: int, until: int) -> tuple[int, str]:
    hashes = select(Event.hash).where(col(Event.id) > since, col(Event.id) <= until).order_by(col(Event.id))
    seal, count = hashlib.sha256(previous.encode()), 0
    for one in session.exec(hashes.execution_options(yield_per=5000)):
        seal.update(one.encode())
        count += 1
    return count, seal.hexdigest()


def verify(store: Store, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Proof:
    """Check every chain, every anchor, and that every stored mail still has the octets that came in.

    ``progress`` is told (cases done, cases in all). Memory stays bounded whatever the register's size.
    """
    faults: list[str] = []
    cases = events = mails = 0
    with store.read() as session:
        total = session.scalar(select(func.count(col(Case.id)))) or 0
        for chunk in _chunks(session):
            cases += len(chunk)
            events += _verify_chains(session, chunk, faults)
            mails += _verify_octets(session, chunk, faults)
            progress(cases, total)
        anchors = _verify_anchors(session, faults)
    return Proof(cases, events, mails, anchors, faults)


def _chunks(session: Session) -> Iterator[list[tuple[int, str, int, str]]]:
    last = 0
    while True:
        statement = select(Case.id, Case.number, Case.last_event, Case.last_hash).where(col(Case.id) > last)
        rows = session.exec(statement.order_by(col(Case.id)).limit(CHUNK))
        chunk = [(case_id, number, last_event, last_hash) for case_id, number, last_event, last_hash in rows]
        if not chunk:
            return
        yield chunk
        last = chunk[-1][0]


def _verify_chains(session: Session, chunk: list[tuple[int, str, int, str]], faults: list[str]) -> int:
    statement = (
        select(Event)
        .where(col(Event.case_id) >= chunk[0][0], col(Event.case_id) <= chunk[-1][0])
        .order_by(col(Event.case_id), col(Event.sequence))
    )
    rows = session.exec(statement).all()
    chains = {key: list(chain) for key, chain in groupby(rows, key=lambda event: event.case_id)}
    for case_id, number, last_event, last_hash in chunk:
        faults += diarium.broken_links(number, last_event, last_hash, chains.pop(case_id, []))
    faults += [f"case row {case_id} is gone; its events are not" for case_id in chains]
    session.expunge_all()
    return len(rows)


def _verify_octets(session: Session, chunk: list[tuple[int, str, int, str]], faults: list[str]) -> int:
    statement = (
        select(Mail.id, RawMail.octets, Receipt.sha256)
        .join(Receipt, (col(Receipt.source) == Mail.source) & (col(Receipt.source_key) == Mail.source_key))
        .outerjoin(RawMail, col(RawMail.mail_id) == Mail.id)
        .where(col(Mail.case_id) >= chunk[0][0], col(Mail.case_id) <= chunk[-1][0])
        .where(col(Mail.duplicate_of).is_(None))
    )
    checked = 0
    for mail_id, octets, sha256 in session.exec(statement.execution_options(yield_per=20)):
        checked += 1
        if octets is None:
            faults.append(f"mail {mail_id}: its octets are gone")
        elif hashlib.sha256(octets).hexdigest() != sha256:
            faults.append(f"mail {mail_id}: its octets are not those that came in")
    return checked


def _verify_anchors(session: Session, faults: list[str]) -> int:
    anchors = session.exec(select(Anchor).order_by(col(Anchor.id))).all()
    previous, since = "", 0
    for sealed in anchors:
        count, digest = _digest(session, previous, since, sealed.last_event_id)
        if (sealed.previous_hash, sealed.events, sealed.hash) != (previous, count, digest):
            faults.append(f"anchor {sealed.id} of {sealed.at:%Y-%m-%d}: events before it are gone or were changed")
            break
        previous, since = sealed.hash, sealed.last_event_id
    return len(anchors)
