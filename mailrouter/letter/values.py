"""What a mail says, as frozen values. Every string in here is free of surrogates and NULs: both
databases store it and JSON carries it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Nature(StrEnum):
    """What wrote the mail. Only HUMAN and FORM may ever be answered; when in doubt it is HUMAN."""

    HUMAN = "human"
    FORM = "form"
    AUTO_REPLY = "auto-reply"
    DELIVERY_REPORT = "delivery-report"
    FEEDBACK_REPORT = "feedback-report"
    MAILING_LIST = "mailing-list"
    BULK = "bulk"
    READ_RECEIPT = "read-receipt"
    CALENDAR = "calendar"
    DMARC_REPORT = "dmarc-report"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox (RFC 5322 3.4): ``name`` is the display name or empty, ``address`` is local@domain or empty."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name and self.address else self.address or self.name


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the text. ``octets`` are the decoded content."""

    filename: str
    content_type: str
    octets: bytes = field(repr=False)
    content_id: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient of a delivery report (RFC 3464 2.3)."""

    recipient: str
    action: str  # failed | delayed | delivered | relayed | expanded
    status: str  # 5.1.1, or empty when the report gives none
    diagnostic: str

    @property
    def permanent(self) -> bool:
        """True when trying again is useless (RFC 3463: class 5, or action failed)."""
        return self.action == "failed" and not self.status.startswith("4")


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report about a mail that we or somebody else sent."""

    failures: tuple[Failure, ...]
    original_message_id: str
    envelope_id: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """Who filled in a web form, as far as the person wanted to say; each field may be empty.

    Never the sender of the mail: that is the form's robot. An acknowledgement may go to ``address`` when
    ``wants_answer`` is True, and never to From.
    """

    name: str
    address: str  # local@domain, or empty: then the person is anonymous to us
    phone: str
    wants_answer: bool | None  # None: not asked, or not answered in a way that can be read
    place: str


@dataclass(frozen=True, slots=True)
class Head:
    """What the doors need to know before a mail is registered; read from the header section alone."""

    message_id: str
    sender: Address
    subject: str
    date: datetime | None
    references: tuple[str, ...]  # In-Reply-To and References, without angle brackets
    auto_submitted: bool  # RFC 3834 or its older kin: no acknowledgement may ever be sent
    identity: str  # sha256 in hex over the mail without its trace fields: the same mail by another road is equal
    defects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as a servicevägledare reads it."""

    message_id: str
    sender: Address
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: str
    date: datetime | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    text: str  # the citizen's own words, for triage: quotes, signature and disclaimers taken off
    quoted: str
    signature: str
    body: str  # the whole readable text: text, quotes and signature in the order they stand
    html: str  # the HTML part as it came, or empty; never shown unsanitised
    attachments: tuple[Attachment, ...]
    nature: Nature
    report: Report | None
    fields: tuple[tuple[str, str], ...]  # labelled fields of a web form, in order
    forwarded_from: Address | None  # the original sender of a mail that was forwarded inline or attached
    defects: tuple[str, ...]  # short kebab-case names of what was odd; "unreadable" means only octets are left
    contact: Contact | None = None  # the citizen behind a web form; None for every other nature
