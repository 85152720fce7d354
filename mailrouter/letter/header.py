"""What the doors need before a mail is registered, from the header section alone, in tens of microseconds."""

import codecs
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256

from mailrouter.letter import addresses, fields, nature
from mailrouter.letter.values import Address, Head

SUBJECT_CHARS = 2_000
ID_CHARS = 998  # RFC 5322 2.1.1: no line is longer
REFERENCE_COUNT = 200

# Fields that transport and mail stores add or change under way: they say nothing about which mail it is.
TRACE = frozenset(
    {
        "received", "return-path", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "delivery-date",
        "x-envelope-from", "x-delivered-to", "x-received", "received-spf", "authentication-results",
        "x-original-authentication-results", "arc-seal", "arc-message-signature", "arc-authentication-results",
        "status", "x-status", "x-uid", "x-uidl", "x-keywords", "x-mozilla-status", "x-mozilla-status2",
        "x-mozilla-keys", "x-evolution", "x-gmail-labels", "x-gm-thrid", "x-gm-message-state", "x-imap", "x-imapbase",
        "content-length", "lines", "x-folder", "x-rspamd-server", "x-rspamd-queue-id", "x-sieve", "x-loop-detect",
    }
)  # fmt: skip
_TRACE_NAMES = frozenset(name.encode() for name in TRACE)
_TRACE_PREFIXES = tuple(
    f"x-{kin}".encode()
    for kin in (
        "spam-", "virus-", "rspamd-", "dspam-", "amavis-", "greylist", "forefront-", "ms-exchange-organization-",
        "ms-exchange-transport-", "ms-exchange-crosstenant-",
    )
)  # fmt: skip
_WIDE_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_FIELD_LINE = re.compile(r"\ufeff?\s*[!-9;-~]{2,80}[ \t]*:")
_ANGLE_ID = re.compile(r"<\s*([^<>]{1,998}?)\s*>")


def head(octets: bytes) -> Head:
    """Read the header section of a mail. Total: never raises, and bounded by the caps in ``fields``."""
    octets, wide = narrowed(octets)
    if is_bare_cr(octets):
        octets = octets.replace(b"\r", b"\n")
    section = fields.read(octets)
    defects = [*wide, *section.defects]
    when, date_defect = date(section.raw("date"))
    writer, sender_defects = sender(section)
    defects += [*filter(None, [date_defect]), *sender_defects]
    ident = message_id(section.raw("message-id"))
    if not ident:
        defects.append("missing-message-id")
    title = subject(section)
    return Head(
        message_id=ident,
        sender=writer,
        subject=title,
        date=when,
        references=tuple(dict.fromkeys(ids(section.raw("in-reply-to")) + ids(section.raw("references")))),
        auto_submitted=nature.forbids_answer(section, writer, title),
        identity=identity(octets),
        defects=tuple(dict.fromkeys(defects)) if octets and not octets.isspace() else ("empty",),
    )


def narrowed(octets: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A mail whose header stands in UTF-16, as when an editor saved it so, in UTF-8; and the defect found. Any other
    mail as it is."""
    name = next((name for mark, name in _WIDE_MARKS.items() if octets.startswith(mark)), "")
    if not name and octets[:400:2].count(0) * 2 > len(octets[:400:2]):
        name = "utf-16-be"
    if not name and octets[1:400:2].count(0) * 2 > len(octets[1:400:2]):
        name = "utf-16-le"
    if not name or not _FIELD_LINE.match(octets[:4_000].decode(name, "replace")):
        return octets, ()
    return octets.decode(name, "replace").encode("utf-8", "replace"), ("header-wide",)


def is_bare_cr(octets: bytes) -> bool:
    """True for line ends of old Macintosh gateways: CR throughout and no LF."""
    return octets.find(b"\n", 0, 65_536) < 0 <= octets.find(b"\r", 0, 65_536)


def identity(octets: bytes) -> str:
    """sha256 in hex over the mail without its TRACE fields, with one kind of line end and no empty lines last.

    The same mail by IMAP and by SMTP is equal; another Message-ID, Date or body octet makes it another mail.
    """
    canonical = octets.rstrip(b"\r\n").replace(b"\r\n", b"\n")
    if b"\r" in canonical:
        canonical = canonical.replace(b"\r", b"\n")
    end = canonical.find(b"\n\n", 0, fields.HEADER_OCTETS)
    if end < 0:
        end = min(len(canonical), fields.HEADER_OCTETS)
    digest = sha256(_without_trace(canonical[:end] + b"\n"))
    digest.update(memoryview(canonical)[end:])
    return digest.hexdigest()


def _without_trace(block: bytes) -> bytes:
    kept: list[bytes] = []
    for name, colon, rest in fields.FIELD.findall(block):
        folded = name.lower()
        if not (colon and (folded in _TRACE_NAMES or folded.startswith(_TRACE_PREFIXES))):
            kept += (name, colon, rest)
    return b"".join(kept)


def subject(section: fields.Section) -> str:
    """The subject as one line."""
    return section.text("subject")[:SUBJECT_CHARS]


def message_id(value: bytes) -> str:
    """The Message-ID without its angle brackets, or empty (RFC 5322 3.6.4)."""
    found = ids(value)
    return found[0] if found else ""


def ids(value: bytes) -> tuple[str, ...]:
    """The message identifiers of a Message-ID, In-Reply-To or References field, without angle brackets."""
    if not value or value.isspace():
        return ()
    text = fields.decode(value[: fields.FIELD_OCTETS])
    found = _ANGLE_ID.findall(text)
    if not found:
        found = [word for word in text.strip("<> ").split() if "@" in word or len(text.split()) == 1]
    return tuple(item[:ID_CHARS] for item in found[:REFERENCE_COUNT])


def date(value: bytes) -> tuple[datetime | None, str]:
    """The moment of a Date field in UTC, and the defect found ("" | missing-date | bad-date)."""
    text = value[:300].decode("ascii", "ignore").strip()
    if not text:
        return None, "missing-date"
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError, UnboundLocalError):
        # The standard library's lenient reader breaks in each of these ways on hostile dates.
        return _iso_date(text)
    return _utc(when)


def _iso_date(text: str) -> tuple[datetime | None, str]:
    try:
        return _utc(datetime.fromisoformat(text))
    except ValueError:
        return None, "bad-date"


def _utc(when: datetime) -> tuple[datetime | None, str]:
    if not 1970 < when.year < 2100:
        return None, "bad-date"
    return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC), ""


def sender(section: fields.Section) -> tuple[Address, list[str]]:
    """Who wrote the mail: From, else Sender, Reply-To or the envelope's Return-Path; and the defects found."""
    written = section.all("from")
    defects = []
    if len(written) > 1:
        defects.append("several-from")
    if not any(value.strip() for value in written):
        defects.append("missing-from")
    fallback = addresses.NOBODY
    for value in [*written, *map(section.raw, ("sender", "reply-to", "return-path"))]:
        found = addresses.one(value)
        if found.address:
            return (found if found.name or not fallback.name else Address(fallback.name, found.address)), defects
        if found.name and fallback == addresses.NOBODY:
            fallback = found
    return fallback, defects
