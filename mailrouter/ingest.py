"""Ingest: octets become rows of the register, each exactly once. docs/flow.md walks through it.

This is the first transaction of a mail (T1). doors/intake.py commits it; only then may a door acknowledge.
"""

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from mailrouter import diarium, number
from mailrouter.diarium import EventKind, NewCase
from mailrouter.letter import Address, Head, head
from mailrouter.store import BulkInsert, draw_ids, plain
from mailrouter.tables import Dispatch, Disposition, Mail, Mailbox, RawMail, Receipt

log = logging.getLogger(__name__)

TOKEN_OCTETS = 64 * 1024  # tokens are looked for in this much of the header section
LONGEST = 998  # RFC 5322 2.1.1; a longer subject or address is cut in the register, never in the mail

# The null sender, a report's type, or the names under which mail systems write (RFC 2142 5, RFC 3464 2).
_SYSTEM = re.compile(
    r"^(?:Return-Path:\s*<>|Content-Type:\s*multipart/report|From:[^\n]*\b(?:mailer-daemon|postmaster|microsoftexchange)\w*@)",
    re.IGNORECASE | re.MULTILINE,
)

_KNOWN = """
    SELECT mail.source, mail.source_key, mail.identity, mail.disposition, mail.case_id, register_case.number
    FROM mail JOIN register_case ON register_case.id = mail.case_id
    WHERE mail.identity IN (?) OR (mail.source IN (?) AND mail.source_key IN (?))
"""
_INSERT_MAILS = BulkInsert(
    "mail", "id", "case_id", "disposition", "due_at", "leased_by", "attempts", "source", "source_key", "message_id",
    "identity", "size", "received_at", "envelope_sender", "envelope_recipients", "sender", "subject", "text", "nature",
    "defects",
)  # fmt: skip
_INSERT_OCTETS = BulkInsert("rawmail", "mail_id", "octets")
_INSERT_RECEIPTS = BulkInsert("receipt", "source", "source_key", "sha256", "received_at")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail at the door. ``(source, source_key)`` names this very delivery: seen again, it is the same one."""

    octets: bytes = field(repr=False)
    source: str  # smtp, lmtp, imap:ACCOUNT, demo
    source_key: str
    received_at: datetime
    envelope_sender: str = ""
    envelope_recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far an IMAP folder is read once the mails it travels with are durable (RFC 3501 2.3.1.1)."""

    account: str
    folder: str
    uidvalidity: int
    last_uid: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an arrival: ``number`` is the case it opened, joined or repeats."""

    disposition: Disposition
    case_id: int
    number: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An arrival with what its header says, ready for the register."""

    arrival: Arrival
    head: Head
    sha256: str  # of the octets as they came
    tokens: tuple[str, ...]  # of our dispatches, in the envelope and the header section
    from_system: bool = False  # written by a mail server or another program that no answer may be sent to


def entry_of(arrival: Arrival) -> Entry:
    """Read the header and take the fingerprint: the part of the work that needs no lock.

    A mail that breaks the reader is taken with its octets alone, as ``bare`` does.
    """
    fingerprint = hashlib.sha256(arrival.octets).hexdigest()
    try:
        header = _header(arrival)
        from_system = _is_from_system(arrival, header)
        return Entry(arrival, head(arrival.octets), fingerprint, _tokens(arrival, header, from_system), from_system)
    except Exception as error:  # noqa: BLE001 (whatever a mail does to us, it is registered)
        log.error("head-failed source_key=%s error=%s", arrival.source_key, type(error).__name__)  # noqa: TRY400
        return Entry(arrival, _nothing_read(fingerprint), fingerprint, ())


def bare(entry: Entry) -> Entry:
    """The same mail with nothing said of it but its octets, for a database that refuses what the header says."""
    return replace(entry, head=_nothing_read(entry.sha256), tokens=())


def _nothing_read(identity: str) -> Head:
    return Head("", Address("", ""), "", None, (), True, identity, ("unreadable",))


def register(
    session: Session, entries: Sequence[Entry], cursor: Cursor | None, *, now: datetime, zone: ZoneInfo, weeks: int
) -> list[Taken]:
    """T1: one row for each arrival, as a case, as part of a case, or as a copy of a mail that is here already.

    The series row is locked first, so that intakes of several nodes pass one after the other and none
    can register what another is just registering.
    """
    moments = (now, *(entry.arrival.received_at for entry in entries))
    for year in sorted({moment.astimezone(zone).year for moment in moments}):
        diarium.lock_series(session, year)
    if cursor is not None:
        _advance(session, cursor)
    deliveries, originals = _known(session, entries)
    dispatches = _dispatches(session, entries)
    taken: dict[int, Taken] = {}
    fresh: list[int] = []
    copies: list[int] = []
    for index, entry in enumerate(entries):
        delivery = deliveries.get((entry.arrival.source, _storable(entry.arrival.source_key)))
        token = next((token for token in entry.tokens if token in dispatches), None)
        if delivery is not None:
            taken[index] = delivery
        elif entry.head.identity in originals:
            copies.append(index)
        elif token is not None:
            taken[index] = _join(session, entry, dispatches[token], now)
            originals.add(entry.head.identity)
        else:
            fresh.append(index)
            originals.add(entry.head.identity)
    taken |= _open(session, [(index, entries[index]) for index in fresh], now=now, zone=zone, weeks=weeks)
    if copies:
        first = _originals(session, [entries[index] for index in copies])
        for index in copies:
            taken[index] = _note_copy(session, entries[index], first[entries[index].head.identity], now)
    return [taken[index] for index in range(len(entries))]


def _advance(session: Session, cursor: Cursor) -> None:
    statement = select(Mailbox).where(Mailbox.account == cursor.account, Mailbox.folder == cursor.folder)
    mailbox = session.exec(statement.with_for_update()).first()
    if mailbox is None:
        mailbox = Mailbox(account=cursor.account, folder=cursor.folder, uidvalidity=cursor.uidvalidity, last_uid=0)
    if mailbox.uidvalidity != cursor.uidvalidity:
        mailbox.uidvalidity, mailbox.last_uid = cursor.uidvalidity, 0
    mailbox.last_uid = max(mailbox.last_uid, cursor.last_uid)
    session.add(mailbox)


def _known(session: Session, entries: Sequence[Entry]) -> tuple[dict[tuple[str, str], Taken], set[str]]:
    """What is here already: these very deliveries, and the identities of mails that are the same as one of these.

    A delivery is known when another node was faster, or when we died before we could say that we have it.
    """
    identities = [entry.head.identity for entry in entries]
    sources = list({entry.arrival.source for entry in entries})
    keys = [_storable(entry.arrival.source_key) for entry in entries]
    deliveries: dict[tuple[str, str], Taken] = {}
    originals: set[str] = set()
    for row in plain(session, _KNOWN, identities, sources, keys):
        deliveries[row.source, row.source_key] = Taken(Disposition(row.disposition), row.case_id, row.number)
        if row.disposition != Disposition.DUPLICATE:
            originals.add(row.identity)
    return deliveries, originals


def _originals(session: Session, entries: Sequence[Entry]) -> dict[str, Mail]:
    """The registered mails that are the same as one of these, by identity."""
    statement = (
        select(Mail)
        .where(col(Mail.identity).in_({entry.head.identity for entry in entries}))
        .where(Mail.disposition != Disposition.DUPLICATE)
    )
    return {mail.identity: mail for mail in session.exec(statement)}


def _header(arrival: Arrival) -> str:
    end = arrival.octets.find(b"\r\n\r\n", 0, TOKEN_OCTETS)
    return arrival.octets[: end if end >= 0 else TOKEN_OCTETS].decode("ascii", errors="replace")


def _tokens(arrival: Arrival, header: str, from_system: bool) -> tuple[str, ...]:
    """Tokens in the envelope and the header section; one in a text proves nothing.

    Unless a mail system wrote it: a bounce to an address that lost its token still returns our header, with
    Message-ID and Original-Envelope-Id (RFC 3464 2.2.1).
    """
    found = number.find_tokens(" ".join((*arrival.envelope_recipients, header)))
    if not found and from_system:
        returned = arrival.octets[len(header) : len(header) + TOKEN_OCTETS].decode("ascii", errors="replace")
        found = number.find_tokens(returned)
    return tuple(found)


def _is_from_system(arrival: Arrival, header: str) -> bool:
    """True for the null sender of reports (RFC 5321 4.5.5), as the envelope or, behind a mailbox, the header has it."""
    if arrival.source in {"smtp", "lmtp"} and not arrival.envelope_sender:
        return True
    return _SYSTEM.search(header) is not None


def _dispatches(session: Session, entries: Sequence[Entry]) -> dict[str, Dispatch]:
    """The dispatches whose tokens the mails carry, by token."""
    found = {token for entry in entries for token in entry.tokens}
    if not found:
        return {}
    statement = select(Dispatch).where(col(Dispatch.token).in_(found))
    return {dispatch.token: dispatch for dispatch in session.exec(statement)}


def _join(session: Session, entry: Entry, dispatch: Dispatch, now: datetime) -> Taken:
    case = diarium.lock(session, dispatch.case_id)
    mail = Mail(**_mail_row(entry, case.id, Disposition.JOINED, now) | {"dispatch_id": dispatch.id})
    session.add(mail)
    session.flush()
    session.add(RawMail(mail_id=mail.id, octets=entry.arrival.octets))
    session.add(Receipt(**_receipt_row(entry)))
    detail = {"mail": mail.id, "source": mail.source, "sender": mail.sender, "answers": dispatch.id}
    # What a mail server says makes nobody's page stale before it is read: each forward is answered by one.
    kind = EventKind.RECEIPT if entry.from_system else EventKind.JOINED
    diarium.record(session, case, kind, actor="mailrouter", now=now, detail=detail)
    return Taken(Disposition.JOINED, case.id, case.number)


def _note_copy(session: Session, entry: Entry, original: Mail, now: datetime) -> Taken:
    """The same mail again: it is counted and seen in the history, and its octets are those we have."""
    case = diarium.lock(session, original.case_id)
    row = _mail_row(entry, case.id, Disposition.DUPLICATE, now)
    session.add(Mail(**row | {"duplicate_of": original.id, "due_at": None}))
    session.add(Receipt(**_receipt_row(entry)))
    detail = {"copy_of": original.id, "source": entry.arrival.source}
    diarium.record(session, case, EventKind.DUPLICATE, actor="mailrouter", now=now, detail=detail)
    return Taken(Disposition.DUPLICATE, case.id, case.number)


def _open(
    session: Session, fresh: Sequence[tuple[int, Entry]], *, now: datetime, zone: ZoneInfo, weeks: int
) -> dict[int, Taken]:
    """Open a case for each of ``fresh``, with one statement a table."""
    if not fresh:
        return {}
    new = [_new_case(entry) for _, entry in fresh]
    opened = diarium.open_cases(session, new, now=now, zone=zone, weeks=weeks)
    ids = draw_ids(session, "mail", len(fresh))
    drawn = [(key, case.case_id, entry) for key, case, (_, entry) in zip(ids, opened, fresh, strict=True)]
    _INSERT_MAILS(
        session, [{"id": key, **_mail_row(entry, case_id, Disposition.CASE, now)} for key, case_id, entry in drawn]
    )
    _INSERT_OCTETS(session, [{"mail_id": key, "octets": entry.arrival.octets} for key, _, entry in drawn])
    _INSERT_RECEIPTS(session, [_receipt_row(entry) for _, _, entry in drawn])
    return {
        index: Taken(Disposition.CASE, case.case_id, case.number)
        for (index, _), case in zip(fresh, opened, strict=True)
    }


def _new_case(entry: Entry) -> NewCase:
    arrival, read = entry.arrival, entry.head
    return NewCase(
        sender=read.sender.address[:LONGEST],
        sender_name=read.sender.name[:LONGEST],
        subject=read.subject[:LONGEST],
        wants_answer=bool(read.sender.address) and not read.auto_submitted,
        arrived_at=arrival.received_at,
        detail={
            "source": arrival.source,
            "source_key": _storable(arrival.source_key),
            "sha256": entry.sha256,
            "size": len(arrival.octets),
        },
    )


def _mail_row(entry: Entry, case_id: int, disposition: Disposition, now: datetime) -> dict[str, Any]:
    arrival, read = entry.arrival, entry.head
    return {
        "case_id": case_id,
        "disposition": disposition,
        "due_at": now,
        "leased_by": "",
        "attempts": 0,
        "source": arrival.source,
        "source_key": _storable(arrival.source_key),
        "message_id": read.message_id[:LONGEST],
        "identity": read.identity,
        "size": len(arrival.octets),
        "received_at": arrival.received_at,
        "envelope_sender": _storable(arrival.envelope_sender),
        "envelope_recipients": [_storable(recipient) for recipient in arrival.envelope_recipients],
        "sender": read.sender.address[:LONGEST],
        "subject": read.subject[:LONGEST],
        "text": "",
        "nature": "",
        "defects": list(read.defects),
    }


def _receipt_row(entry: Entry) -> dict[str, Any]:
    return {
        "source": entry.arrival.source,
        "source_key": _storable(entry.arrival.source_key),
        "sha256": entry.sha256,
        "received_at": entry.arrival.received_at,
    }


def _storable(text: str) -> str:
    """Text both databases take: no NUL, no surrogate that stood for a raw octet."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def delivery_key() -> str:
    """A key for one SMTP or LMTP transaction; keys that follow each other lie side by side in the index."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"
