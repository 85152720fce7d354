"""What we send, as octets: pure, and the same for the same dispatch at every try, so that a copy is recognised.

A forward is multipart/mixed: a note in Swedish, the citizen's mail untouched, and ``arende.json`` for the
receiver's own system. docs/registrator.md shows it to those who get it.

Headers that were chosen with care:

- From is our own address, since a mail in the citizen's name from our servers would fail their DMARC.
  The envelope sender and Reply-To carry the token, so that bounces and answers come home to the case.
- A forward was decided by a person, so it bears no Auto-Submitted (RFC 3834 5.1); registrars' systems are
  known to drop what does. A reminder is written by the clock and says ``auto-generated``.
  X-Auto-Response-Suppress keeps Exchange from answering either with an absence note.
- Subject holds the neutral ärendemening, never the citizen's own words (OSL 5 kap. 2 §).
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.utils import format_datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.dates import format_datetime as babel_datetime
from jinja2 import Environment, PackageLoader, StrictUndefined

from mailrouter.config import Settings
from mailrouter.letter.values import Nature
from mailrouter.organisation import Organisation
from mailrouter.tables import Assignment, Case, Dispatch, DispatchKind

TAG_CHARS = 200  # a tag is one line, far below the 998 octets of RFC 5322 2.1.1
PROTECTED = "skyddad"  # the flag of protected personal data: nothing of the person is repeated

# What the registrator reads for a flag or a kind: a guess of ours, and what follows from it if it is right.
FLAG_WORDS = {
    "barn": "Ärendet kan röra barn.",
    "bradskande": "Ärendet kan vara brådskande.",
    "hot": "Mejlet kan innehålla hot.",
    "kanslig": "Mejlet kan innehålla känsliga uppgifter.",
    "overklagande-frist": "Det kan finnas en tid för överklagande att hålla. Tiden ovan är när mejlet kom in.",
    PROTECTED: "Det kan finnas skyddade personuppgifter. Pröva sekretessen innan något lämnas ut.",
}
KIND_WORDS = {
    "begaran-handling": "Det kan vara en begäran om allmän handling, som ska besvaras skyndsamt.",
    "orosanmalan": "Det kan vara en orosanmälan, som ska bedömas genast.",
    "overklagande": "Det kan vara ett överklagande. Tiden ovan är när det kom in (förvaltningslagen 22 §).",
}

_TEMPLATES = Environment(
    loader=PackageLoader("mailrouter", "templates/mail"),
    autoescape=False,  # noqa: S701 (plain text, never HTML)
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_HEADER_SECTION = re.compile(rb"(?:[!-9;-~]++:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+(?:\r\n|\Z)")
_BOUNDARY = re.compile(rb"boundary[^\w\n]*=\s*(?:\"([^\"\\\r\n]+)\"|([\w'()+,./:=?-]+)|)", re.IGNORECASE)
_DELIMITER = re.compile(rb"^--([^\r\n]+)\r\n", re.MULTILINE)
_INNER_MESSAGE = re.compile(rb"^content-type:\s*message/", re.IGNORECASE | re.MULTILINE)
_ODD = re.compile(rb"multipart/digest|boundary\*", re.IGNORECASE)  # messages unannounced; boundaries encoded
_LARGEST_HEADER = 65_536  # octets; relays cut off larger fields (Postfix: header_size_limit)
_MOST_BOUNDARIES, _MOST_PARTS, _DEEPEST = 50, 1_000, 20  # beyond these nobody has to be clever
_TOO_LONG = re.compile(rb"[^\r\n]{999}")  # RFC 5322 2.1.1


class ComposeError(Exception):
    """The mail cannot be written; the message is a sentence in Swedish for the desk."""


@dataclass(frozen=True, slots=True)
class Names:
    """What areas and districts are called; without an organisation their ids stand for themselves."""

    organisation: Organisation | None

    def area(self, key: str) -> str:
        """The area's name."""
        if self.organisation is not None and key in self.organisation.areas:
            return self.organisation.areas[key].name
        return key or "framgår av originalet"

    def district(self, key: str) -> str:
        """The district's name."""
        if self.organisation is not None and key in self.organisation.districts:
            return self.organisation.districts[key].name
        return key


def reply_address(token: str, settings: Settings) -> str:
    """Where answers and bounces of the dispatch with ``token`` go: local+TOKEN@domain (VERP)."""
    local, _, domain = settings.forward.reply_address.rpartition("@")
    return f"{local}+{token}@{domain}"


def message_id(token: str, settings: Settings) -> str:
    """The Message-ID of the dispatch with ``token``, without angle brackets."""
    return f"{token}@{settings.forward.reply_address.rpartition('@')[2]}"


def forward(
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    original: bytes,
    settings: Settings,
    organisation: Organisation | None = None,
    *,
    nature: str = Nature.HUMAN,
) -> bytes:
    """The citizen's mail on its way to a förvaltning. ``original`` comes out at the other end byte for byte.

    It travels as message/rfc822, which must not be encoded (RFC 2046 5.2.1). An original that SMTP or a
    relay would change under way travels as a base64 file instead; ``is_transparent`` draws the line.
    ``nature`` is the mail's: the sender of a web form is never the citizen.
    """
    names = Names(organisation)
    is_named = PROTECTED not in case.flags and nature != Nature.FORM
    as_message = is_transparent(original)
    filename = f"{case.number}.eml"
    note = _render(
        "forward.txt",
        _facts(case, assignment, settings, names)
        | {
            "citizen": _citizen(case) if is_named else "framgår av originalet",
            "notices": _notices(case),
            "reasons": _reasons(case, assignment),
            "as_message": as_message,
            "filename": filename,
        },
    )
    described = _arende_json(
        case,
        assignment,
        settings,
        names,
        citizen={"name": case.sender_name, "address": case.sender} if is_named else None,
        reply_to=reply_address(dispatch.token, settings),
        original={"filename": filename, "size": len(original), "sha256": hashlib.sha256(original).hexdigest()},
    )
    head = _head(case, assignment, dispatch, settings)
    parts = [
        _text_part(note),
        _message_part(original, filename) if as_message else _file_part(original, filename, "application/octet-stream"),
        _file_part(described, "arende.json", "application/json"),
    ]
    return _multipart(head, parts, dispatch.token)


def reminder(
    case: Case,
    assignment: Assignment,
    dispatch: Dispatch,
    forwarded: Dispatch,
    settings: Settings,
    organisation: Organisation | None = None,
) -> bytes:
    """A reminder to the mailbox that got the forward; it threads with it and tells nothing of the person."""
    zone = ZoneInfo(settings.city.timezone)
    note = _render(
        "reminder.txt",
        _facts(case, assignment, settings, Names(organisation))
        | {
            "days_left": (assignment.answer_due - dispatch.created_at.astimezone(zone).date()).days,
            "forwarded": _day((forwarded.settled_at or forwarded.created_at).astimezone(zone).date()),
            "diarienummer": assignment.external_number,
        },
    )
    thread = f"<{message_id(forwarded.token, settings)}>"
    fields = f"In-Reply-To: {thread}\r\nReferences: {thread}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
    return b"".join((_head(case, assignment, dispatch, settings), fields.encode(), *_text_part(note)))


def is_transparent(original: bytes) -> bool:
    """True when the octets pass every relay unchanged without an encoding.

    SMTP wants CRLF and nothing else, no NUL and no line above 998 octets (RFC 5321 4.5.3.1.6, RFC 5322
    2.3). A relay also reads the header sections of a message/rfc822 part and of the parts inside it, and
    repairs them: Postfix takes away a space before a colon and the end of a huge field.
    """
    return (
        original.count(b"\n") == original.count(b"\r\n") == original.count(b"\r")
        and b"\0" not in original
        and _TOO_LONG.search(original) is None
        and _are_headers_sound(original)
    )


def _are_headers_sound(original: bytes) -> bool:
    """True when the mail begins with a header section and so does each part that a relay would find in it."""
    boundaries = {quoted or plain for quoted, plain in _BOUNDARY.findall(original)}
    if b"" in boundaries or len(boundaries) > _MOST_BOUNDARIES or _ODD.search(original):
        return False
    known = tuple(boundaries)
    delimiters = (line.end() for line in _DELIMITER.finditer(original) if known and line[1].startswith(known))
    starts = [0, *islice(delimiters, _MOST_PARTS)]
    has_fields = original[:2] not in {b"", b"\r\n"}  # RFC 2046 5.2.1 wants one at least
    return has_fields and len(starts) <= _MOST_PARTS and all(_is_section_sound(original, start) for start in starts)


def _is_section_sound(original: bytes, start: int) -> bool:
    """True for a header section at ``start``, and for those of the messages right inside it."""
    for _ in range(_DEEPEST):
        section = _HEADER_SECTION.match(original, start, start + _LARGEST_HEADER)
        if section is None or len(section[0]) == _LARGEST_HEADER:
            return False
        if not _INNER_MESSAGE.search(section[0]):
            return True
        start = section.end()
    return False


def _facts(case: Case, assignment: Assignment, settings: Settings, names: Names) -> dict[str, Any]:
    zone = ZoneInfo(settings.city.timezone)
    return {
        "unit": assignment.unit_name,
        "number": case.number,
        "arrived": _moment(case.opened_at.astimezone(zone)),
        "answer_due": _day(assignment.answer_due),
        "area": names.area(assignment.area),
        "district": names.district(case.district),
        "subject": _one_line(case.subject_public),
        "wants_answer": case.wants_answer,
        "sender": settings.forward.from_name,
    }


def _citizen(case: Case) -> str:
    name, address = _one_line(case.sender_name), _one_line(case.sender)
    if name and address:
        return f"{name} <{address}>"
    return address or name or "okänd"


def _notices(case: Case) -> list[str]:
    """What to look at twice; a flag from a newer rule stands with its own name."""
    kind = [KIND_WORDS[case.kind]] if case.kind in KIND_WORDS else []
    return kind + [FLAG_WORDS.get(flag, f"Märkt: {_one_line(flag)}.") for flag in case.flags]


def _reasons(case: Case, assignment: Assignment) -> list[str]:
    """Why this förvaltning: what spoke for the suggestion when it was followed, and who decided."""
    suggestion = case.suggestion or {}
    chosen = f"Valt av {assignment.created_by} på kontaktcenter."
    if suggestion.get("unit") != assignment.unit:
        return [chosen]
    return [*(_one_line(str(reason["text"])) for reason in suggestion.get("reasons", [])[:3]), chosen]


def _arende_json(
    case: Case,
    assignment: Assignment,
    settings: Settings,
    names: Names,
    *,
    citizen: dict[str, str] | None,
    reply_to: str,
    original: dict[str, Any],
) -> bytes:
    """The case for machines. docs/registrator.md explains the keys; ``version`` grows when one changes meaning."""
    described = {
        "version": 1,
        "number": case.number,
        "subject": case.subject_public,
        "kind": case.kind,
        "area": {"id": assignment.area, "name": names.area(assignment.area)},
        "unit": {"id": assignment.unit, "name": assignment.unit_name},
        "district": case.district or None,
        "flags": case.flags,
        "language": case.language,
        "arrived_at": case.opened_at.astimezone(ZoneInfo(settings.city.timezone)).isoformat(timespec="seconds"),
        "answer_due": assignment.answer_due.isoformat(),
        "wants_answer": case.wants_answer,
        "citizen": citizen,
        "reply_to": reply_to,
        "original": original,
    }
    return json.dumps(described, ensure_ascii=False, indent=1).encode()


def _head(case: Case, assignment: Assignment, dispatch: Dispatch, settings: Settings) -> bytes:
    """The header fields that every mail of ours has, each ended by CRLF."""
    head = EmailMessage(policy=policy.SMTP if dispatch.recipient.isascii() else policy.SMTPUTF8)
    head["Date"] = format_datetime(dispatch.created_at.astimezone(ZoneInfo(settings.city.timezone)))
    head["Message-ID"] = f"<{message_id(dispatch.token, settings)}>"
    head["From"] = Address(settings.forward.from_name, addr_spec=settings.forward.from_address)
    head["To"] = Address(assignment.unit_name, addr_spec=dispatch.recipient)
    head["Reply-To"] = Address(settings.forward.from_name, addr_spec=reply_address(dispatch.token, settings))
    prefix = "Påminnelse: " if dispatch.kind is DispatchKind.REMINDER else ""
    head["Subject"] = f"[{case.number}] {prefix}{_one_line(case.subject_public)}"
    head["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    return head.as_bytes().removesuffix(b"\r\n") + _tags(case, assignment, dispatch, settings)


def _tags(case: Case, assignment: Assignment, dispatch: Dispatch, settings: Settings) -> bytes:
    """X-Mailrouter-* fields, one unfolded line each, since Outlook's rules look for words in a line."""
    tags = [
        ("Case", case.number),
        ("Dispatch", dispatch.kind.value),
        ("Area", assignment.area),
        ("Unit", assignment.unit),
        ("Kind", case.kind),
        *(("Flags", flag) for flag in case.flags),
        ("District", case.district),
        ("Answer-Due", assignment.answer_due.isoformat()),
        ("Arrived", case.opened_at.astimezone(ZoneInfo(settings.city.timezone)).isoformat(timespec="seconds")),
        ("Suggested-By", str((case.suggestion or {}).get("by", ""))),
    ]
    return "".join(f"X-Mailrouter-{name}: {_ascii(value)}\r\n" for name, value in tags if value).encode()


def _render(template: str, facts: Mapping[str, Any]) -> str:
    return _TEMPLATES.get_template(template).render(facts)


def _text_part(text: str) -> list[bytes]:
    part = MIMEPart(policy=policy.SMTP)
    part.set_content(text, cte="quoted-printable")
    return [part.as_bytes()]


def _file_part(octets: bytes, filename: str, content_type: str) -> list[bytes]:
    maintype, _, subtype = content_type.partition("/")
    part = MIMEPart(policy=policy.SMTP)
    part.set_content(octets, maintype, subtype, filename=filename)
    return [part.as_bytes()]


def _message_part(original: bytes, filename: str) -> list[bytes]:
    """message/rfc822 with the octets as they are; the standard library would parse and write them anew."""
    encoding = "7bit" if original.isascii() else "8bit"
    head = (
        f'Content-Type: message/rfc822; name="{filename}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f'Content-Disposition: attachment; filename="{filename}"\r\n\r\n'
    )
    return [head.encode(), original]


def _multipart(head: bytes, parts: list[list[bytes]], token: str) -> bytes:
    """Join the parts, each given in pieces; they are copied once, since an original may be large.

    The CRLF before a boundary belongs to the boundary (RFC 2046 5.1.1), so an original keeps its own end.
    """
    boundary = _boundary(token, parts)
    encoding = "7bit" if all(piece.isascii() for part in parts for piece in part) else "8bit"
    fields = (
        f"MIME-Version: 1.0\r\nContent-Transfer-Encoding: {encoding}\r\n"
        f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n'
    )
    line = f"\r\n--{boundary}\r\n".encode()
    pieces = [head, fields.encode()]
    for part in parts:
        pieces += [line, *part]
    return b"".join((*pieces, f"\r\n--{boundary}--\r\n".encode()))


def _boundary(token: str, parts: list[list[bytes]]) -> str:
    """A boundary that follows from the token and stands in no part."""
    count = 0
    while True:
        boundary = "=_" + hashlib.sha256(f"{token} {count}".encode()).hexdigest()[:40]
        if not any(boundary.encode() in piece for part in parts for piece in part):
            return boundary
        count += 1


def _one_line(text: str) -> str:
    """Without line ends, and without the signs that turn text around or hide it."""
    return " ".join("".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text).split())


def _ascii(text: str) -> str:
    """Header text without anything to encode: å becomes a, what has no kin becomes a question mark."""
    plain = unicodedata.normalize("NFKD", _one_line(text))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return kept.encode("ascii", errors="replace").decode("ascii")[:TAG_CHARS]


def _day(day: date) -> str:
    return format_date(day, "EEEE d MMMM y", locale="sv_SE")


def _moment(moment: datetime) -> str:
    return babel_datetime(moment, "EEEE d MMMM y 'kl.' HH.mm", locale="sv_SE")
