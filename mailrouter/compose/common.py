"""What all our mails share: the header, the parts, the words for days and names."""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.utils import format_datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.dates import format_datetime as babel_datetime
from jinja2 import Environment, PackageLoader, StrictUndefined

from mailrouter.compose.caution import is_protected, is_urgent, subject_of
from mailrouter.config import Settings
from mailrouter.organisation import Organisation
from mailrouter.tables import Assignment, Case, Dispatch, DispatchKind
from mailrouter.translations import SOURCE, catalogue

_PREFIXES = {DispatchKind.REMINDER: "Påminnelse: ", DispatchKind.COMPLETION: "Komplettering: "}
_URGENT = b"Importance: high\r\nX-Priority: 1\r\n"  # RFC 2156 5.3.4, and what Outlook and Thunderbird read
TAG_CHARS = 200  # a tag is one line, far below the 998 octets of RFC 5322 2.1.1


@cache
def _templates(code: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("mailrouter", "templates/mail"),
        autoescape=False,  # noqa: S701 (plain text, never HTML)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    spoken = catalogue("citizen", code)
    environment.install_gettext_callables(spoken.gettext, spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]  # added by the extension
    return environment


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


def facts(case: Case, assignment: Assignment, settings: Settings, names: Names) -> dict[str, Any]:
    """What the notes to a förvaltning say of a case."""
    zone = ZoneInfo(settings.city.timezone)
    return {
        "unit": assignment.unit_name,
        "number": case.number,
        "arrived": moment(case.opened_at.astimezone(zone)),
        "answer_due": day(assignment.answer_due),
        "area": names.area(assignment.area),
        "district": "" if is_protected(case) else names.district(case.district),
        "subject": one_line(subject_of(case)),
        "wants_answer": case.wants_answer,
        "sender": settings.forward.from_name,
    }


def header(case: Case, assignment: Assignment, dispatch: Dispatch, settings: Settings) -> bytes:
    """The header of a mail to a förvaltning, with the tags that its rules look for."""
    subject = f"[{case.number}] {_PREFIXES.get(dispatch.kind, '')}{one_line(subject_of(case))}"
    to = Address(assignment.unit_name, addr_spec=dispatch.recipient)
    urgent = _URGENT if is_urgent(case) else b""
    return basic_header(dispatch, to, subject, settings) + urgent + _tags(case, assignment, dispatch, settings)


def basic_header(dispatch: Dispatch, to: Address, subject: str, settings: Settings) -> bytes:
    """The fields that every mail of ours has, each ended by CRLF."""
    head = EmailMessage(policy=policy.SMTP if dispatch.recipient.isascii() else policy.SMTPUTF8)
    head["Date"] = format_datetime(dispatch.created_at.astimezone(ZoneInfo(settings.city.timezone)))
    head["Message-ID"] = f"<{message_id(dispatch.token, settings)}>"
    head["From"] = Address(settings.forward.from_name, addr_spec=settings.forward.from_address)
    head["To"] = to
    head["Reply-To"] = Address(settings.forward.from_name, addr_spec=reply_address(dispatch.token, settings))
    head["Subject"] = subject
    head["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    return head.as_bytes().removesuffix(b"\r\n")


def _tags(case: Case, assignment: Assignment, dispatch: Dispatch, settings: Settings) -> bytes:
    """X-Mailrouter-* fields, one unfolded line each, since Outlook's rules look for words in a line."""
    said = [
        ("Case", case.number),
        ("Dispatch", dispatch.kind.value),
        ("Area", assignment.area),
        ("Unit", assignment.unit),
        ("Kind", case.kind),
        ("Urgent", "ja" if is_urgent(case) else ""),
        *(("Flags", flag) for flag in case.flags),
        ("District", "" if is_protected(case) else case.district),
        ("Answer-Due", assignment.answer_due.isoformat()),
        ("Arrived", case.opened_at.astimezone(ZoneInfo(settings.city.timezone)).isoformat(timespec="seconds")),
        ("Suggested-By", str((case.suggestion or {}).get("by", ""))),
    ]
    return "".join(f"X-Mailrouter-{name}: {ascii_only(value)}\r\n" for name, value in said if value).encode()


def render(template: str, facts: Mapping[str, Any], code: str = SOURCE) -> str:
    """A text from templates/mail, in the language ``code`` where citizens read it."""
    return _templates(code).get_template(template).render(facts)


def text_part(text: str) -> list[bytes]:
    """text/plain."""
    part = MIMEPart(policy=policy.SMTP)
    part.set_content(text, cte="quoted-printable")
    return [part.as_bytes()]


def file_part(octets: bytes, filename: str, content_type: str) -> list[bytes]:
    """An attachment in base64."""
    maintype, _, subtype = content_type.partition("/")
    part = MIMEPart(policy=policy.SMTP)
    part.set_content(octets, maintype, subtype, filename=filename)
    return [part.as_bytes()]


def message_part(original: bytes, filename: str) -> list[bytes]:
    """message/rfc822 with the octets as they are; the standard library would parse and write them anew."""
    encoding = "7bit" if original.isascii() else "8bit"
    head = (
        f'Content-Type: message/rfc822; name="{filename}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f'Content-Disposition: attachment; filename="{filename}"\r\n\r\n'
    )
    return [head.encode(), original]


def multipart(head: bytes, parts: list[list[bytes]], token: str) -> bytes:
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


def one_line(text: str) -> str:
    """Without line ends, and without the signs that turn text around or hide it."""
    return " ".join("".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text).split())


def ascii_only(text: str) -> str:
    """Header text without anything to encode: å becomes a, what has no kin becomes a question mark."""
    plain = unicodedata.normalize("NFKD", one_line(text))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return kept.encode("ascii", errors="replace").decode("ascii")[:TAG_CHARS]


def day(of: date) -> str:
    """A day in Swedish words."""
    return format_date(of, "EEEE d MMMM y", locale="sv_SE")


def moment(of: datetime) -> str:
    """A moment in Swedish words; ``of`` is in the city's time zone."""
    return babel_datetime(of, "EEEE d MMMM y 'kl.' HH.mm", locale="sv_SE")
