"""The tables. One place of truth; what must happen exactly once is a row with ``Claim`` columns.

Times are stored in UTC and come back aware; dates are dates in the city's time zone.
"""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Index,
    LargeBinary,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware in Python, UTC in both databases. A naive datetime is a mistake and raises ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive values; SQLite keeps no zone, so hand it UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _enum(kind: type[StrEnum]) -> Any:
    """An enum stored as its readable value in a text column: adding a state needs no type migration."""
    return Enum(kind, native_enum=False, length=32, values_callable=lambda members: [m.value for m in members])


class CaseState(StrEnum):
    """Where a case is; the allowed moves stand in diarium.CASE_MOVES."""

    OPEN = "open"
    QUARANTINED = "quarantined"
    ROUTED = "routed"
    ANSWERED = "answered"
    CLOSED = "closed"


class AssignmentState(StrEnum):
    """Where one förvaltning's part of a case is; the allowed moves stand in diarium.ASSIGNMENT_MOVES."""

    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    RETURNED = "returned"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


class DispatchState(StrEnum):
    """Where one outgoing mail is; the allowed moves stand in diarium.DISPATCH_MOVES."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DispatchKind(StrEnum):
    """What an outgoing mail is."""

    FORWARD = "forward"
    REMINDER = "reminder"
    DIGEST = "digest"  # all that a unit is to be reminded of on a day
    COMPLETION = "completion"  # what the citizen wrote later, on its way to those who have the case (komplettering)
    ACKNOWLEDGEMENT = "acknowledgement"  # to the citizen: it has come in
    NOTICE = "notice"  # to the citizen: who has it now
    ANSWER = "answer"  # to the citizen: what a servicevägledare wrote


class Disposition(StrEnum):
    """What became of a received mail. received = cases + joined + duplicates + quarantined."""

    CASE = "case"
    JOINED = "joined"
    DUPLICATE = "duplicate"


class Restriction(StrEnum):
    """Why only those named for it may see a case."""

    SKYDDAD = "skyddad"  # protected personal data
    ORO = "orosanmalan"  # report of a child at risk
    VISSELBLASNING = "visselblasning"


class Role(StrEnum):
    """What a user of the desk may do."""

    SERVICEVAGLEDARE = "servicevagledare"
    REGISTRATOR = "registrator"
    CHEF = "chef"
    ADMIN = "admin"


class Claim(SQLModel):
    """The columns of a row that is work: ``store.claim`` hands it out, whoever settles it clears ``due_at``.

    ``due_at`` None means nothing to do. A lease that has run out belongs to a dead process.
    """

    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    leased_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    leased_by: str = ""
    attempts: int = 0


class Series(SQLModel, table=True):
    """Gapless numbers: the last one given in a year. Locked for the length of the transaction that takes one."""

    year: int = Field(primary_key=True)
    last: int


class Mailbox(SQLModel, table=True):
    """The IMAP cursor of one folder: every UID up to ``last_uid`` is registered (RFC 3501 2.3.1.1)."""

    __table_args__ = (UniqueConstraint("account", "folder"),)

    id: int = Field(default=None, primary_key=True)
    account: str
    folder: str
    uidvalidity: int = Field(sa_type=BigInteger)  # 32 bits without a sign (RFC 3501 9)
    last_uid: int = Field(sa_type=BigInteger)


class Case(SQLModel, table=True):
    """One matter of one citizen: the register's row (OSL 5:2: date, number, sender, what it concerns)."""

    __tablename__ = "register_case"  # CASE is a word of SQL
    __table_args__ = (
        UniqueConstraint("year", "serial"),
        Index("ix_case_state_due", "state", "answer_due", "id"),
        Index("ix_case_state_closed", "state", "closed_at", "id"),
        Index("ix_case_state", "state", "id", "restricted"),  # counters look at nothing else
        Index("ix_case_arrived", "arrived_on"),
        Index("ix_case_contact", "contact", "id"),
        Index(
            "ix_case_attention", "id", postgresql_where=text("attention <> ''"), sqlite_where=text("attention <> ''")
        ),
        Index(
            "ix_case_not_a_case",
            "closed_at",
            "id",
            postgresql_where=text("closed_as = 'ej-arende'"),
            sqlite_where=text("closed_as = 'ej-arende'"),
        ),
        Index(
            "ix_case_restricted", "id", postgresql_where=text("restricted <> ''"), sqlite_where=text("restricted <> ''")
        ),
    )

    id: int = Field(default=None, primary_key=True)
    number: str = Field(unique=True)
    year: int
    serial: int
    state: CaseState = Field(default=CaseState.OPEN, sa_type=_enum(CaseState))
    kind: str = ""
    subject: str = Field(sa_type=Text)  # as the citizen wrote it: may hold names and illness
    subject_public: str = Field(sa_type=Text)  # neutral ärendemening, never copied from the mail
    sender: str = Field(sa_type=Text)
    sender_name: str = Field(default="", sa_type=Text)
    wants_answer: bool = True
    district: str = ""
    flags: list[str] = Field(default_factory=list, sa_type=JSON)
    language: str = ""
    arrived_on: date  # the day it came in (FL 22 §), in the city's time zone
    opened_at: datetime = Field(sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    answered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # while nobody waits for an answer any more
    closed_as: str = Field(default="", sa_column_kwargs={"server_default": ""})  # a CloseReason while it is closed
    answer_due: date
    attention: str = Field(default="", sa_type=Text)  # why the case came back to the desk, in Swedish
    suggestion: dict[str, Any] | None = Field(default=None, sa_type=JSON)  # a Verdict, as classify wrote it
    suggested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    restricted: str = Field(default="", sa_column_kwargs={"server_default": ""})  # a Restriction, or empty
    contact: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})  # where the citizen is told
    last_event: int = 0  # Event.sequence of the newest event: the version a decision must have seen
    last_hash: str = ""


class Mail(Claim, table=True):
    """A mail that was taken in. The unique (source, source_key) makes intake idempotent."""

    __table_args__ = (
        UniqueConstraint("source", "source_key"),
        Index("ix_mail_identity", "identity"),
        Index("ix_mail_case", "case_id"),
        Index("ix_mail_message_id", "message_id"),
        Index("ix_mail_due", "due_at"),
    )

    id: int = Field(default=None, primary_key=True)
    case_id: int = Field(foreign_key="register_case.id")
    dispatch_id: int | None = Field(default=None)  # the outgoing mail it answers or bounces, when it joined by one
    disposition: Disposition = Field(sa_type=_enum(Disposition))
    duplicate_of: int | None = Field(default=None, foreign_key="mail.id")
    source: str  # smtp, lmtp, imap:ACCOUNT, demo
    source_key: str = Field(sa_type=Text)  # folder/uidvalidity/uid, or the transaction's own id
    message_id: str = Field(default="", sa_type=Text)
    identity: str
    size: int
    received_at: datetime = Field(sa_type=UtcDateTime)
    envelope_sender: str = Field(default="", sa_type=Text)
    envelope_recipients: list[str] = Field(default_factory=list, sa_type=JSON)
    sender: str = Field(default="", sa_type=Text)
    subject: str = Field(default="", sa_type=Text)
    text: str = Field(default="", sa_type=Text)  # the citizen's own words, once read
    nature: str = ""
    defects: list[str] = Field(default_factory=list, sa_type=JSON)


class RawMail(SQLModel, table=True):
    """The octets exactly as they came, apart from Mail so that no list ever loads them."""

    mail_id: int = Field(primary_key=True, foreign_key="mail.id")
    octets: bytes = Field(sa_type=LargeBinary)


class Receipt(SQLModel, table=True):
    """One line for each mail a door has acknowledged; nothing but intake writes it. The left side of reconcile."""

    id: int = Field(default=None, primary_key=True)
    source: str = Field(index=True)
    source_key: str = Field(sa_type=Text)
    sha256: str  # of the octets as they came
    received_at: datetime = Field(sa_type=UtcDateTime)


class Assignment(Claim, table=True):
    """One förvaltning's part of a case. ``due_at`` is when its next reminder is to be considered."""

    __table_args__ = (
        Index("ix_assignment_case", "case_id"),
        Index("ix_assignment_unit", "unit", "case_id"),
        Index(
            "ix_assignment_waiting",
            "unit",
            "answer_due",
            "case_id",
            postgresql_where=text("state IN ('sending', 'delivered')"),
            sqlite_where=text("state IN ('sending', 'delivered')"),
        ),
        Index("ix_assignment_due", "due_at"),
    )

    id: int = Field(default=None, primary_key=True)
    case_id: int = Field(foreign_key="register_case.id")
    unit: str
    unit_name: str
    area: str
    state: AssignmentState = Field(default=AssignmentState.SENDING, sa_type=_enum(AssignmentState))
    external_number: str = ""  # the förvaltning's diarienummer
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    answer_due: date
    reminded: int = 0  # how often somebody was told, whoever it was
    climbed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # the ladder is climbed to here
    paused_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # the clock stands still since
    pause_reason: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    paused_days: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # by which the answer date has moved


class Dispatch(Claim, table=True):
    """One outgoing mail. ``token`` stands in its Message-ID and its reply address, so that answers come home.

    A digest belongs to the first of the cases it tells of; ``detail`` names them all.
    """

    __table_args__ = (
        Index("ix_dispatch_case", "case_id"),
        Index("ix_dispatch_due", "due_at"),
        Index("ix_dispatch_recipient", "recipient", "created_at"),
    )

    id: int = Field(default=None, primary_key=True)
    case_id: int = Field(foreign_key="register_case.id")
    assignment_id: int | None = Field(default=None, foreign_key="assignment.id")
    mail_id: int | None = Field(default=None, foreign_key="mail.id")  # the mail carried, for a forward
    kind: DispatchKind = Field(sa_type=_enum(DispatchKind))
    recipient: str
    token: str = Field(unique=True)
    state: DispatchState = Field(default=DispatchState.QUEUED, sa_type=_enum(DispatchState))
    created_at: datetime = Field(sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    text: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})  # what a person wrote
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON, sa_column_kwargs={"server_default": "{}"})


class Digest(SQLModel, table=True):
    """Somebody is reminded on a day. The row is the claim: no two nodes can make two digests of a day."""

    recipient: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class Attempt(SQLModel, table=True):
    """One try to hand a dispatch over: written before the connection is used, finished with the server's words."""

    __table_args__ = (Index("ix_attempt_dispatch", "dispatch_id"),)

    id: int = Field(default=None, primary_key=True)
    dispatch_id: int = Field(foreign_key="dispatch.id")
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str = ""  # sent, later, never; empty while under way or when the process died
    reply: str = Field(default="", sa_type=Text)
    channel: str = Field(
        default="", sa_column_kwargs={"server_default": ""}
    )  # how it was secured, and whether DSN was asked


class Event(SQLModel, table=True):
    """Append-only history of a case; database triggers refuse change. ``hash`` chains over the case's events."""

    __table_args__ = (
        UniqueConstraint("case_id", "sequence"),
        Index(  # what a person did; most events are the program's own
            "ix_event_actor",
            "actor",
            "id",
            postgresql_where=text("actor <> 'mailrouter'"),
            sqlite_where=text("actor <> 'mailrouter'"),
        ),
        Index(
            "ix_event_confirmed",
            "at",
            postgresql_where=text("kind = 'confirmed'"),
            sqlite_where=text("kind = 'confirmed'"),
        ),
    )

    id: int = Field(default=None, primary_key=True)
    case_id: int = Field(foreign_key="register_case.id")
    sequence: int
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    actor: str
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    previous_hash: str
    hash: str


class Anchor(SQLModel, table=True):
    """A daily seal over all chains up to ``last_event_id``: taking a whole case or a chain's end away shows."""

    id: int = Field(default=None, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    last_event_id: int
    events: int
    previous_hash: str
    hash: str


class User(SQLModel, table=True):
    """Somebody who logs in at the desk."""

    __tablename__ = "desk_user"  # USER is a word of SQL

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    password_hash: str
    role: Role = Field(sa_type=_enum(Role))
    unit: str = ""  # the unit of a registrator
    clearances: list[str] = Field(  # the Restrictions whose cases may be read
        default_factory=list, sa_type=JSON, sa_column_kwargs={"server_default": "[]"}
    )
    subject: str = Field(default="", sa_column_kwargs={"server_default": ""})  # who it is to the OpenID provider
    active: bool = True
    created_at: datetime = Field(sa_type=UtcDateTime)


class Login(SQLModel, table=True):
    """A session of the desk; only the hash of the cookie is kept."""

    token_hash: str = Field(primary_key=True)
    user_id: int = Field(foreign_key="desk_user.id")
    csrf: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class LinkKey(SQLModel, table=True):
    """A key that signs the links in our mails, when the settings name no file with keys; the newest signs."""

    __tablename__ = "link_key"

    id: int = Field(default=None, primary_key=True)
    secret: str  # 32 octets in hexadecimal
    created_at: datetime = Field(sa_type=UtcDateTime)


class LoginTry(SQLModel, table=True):
    """How often a login was tried lately: with a name from an address, or from an address at all."""

    __tablename__ = "login_try"

    key: str = Field(primary_key=True)  # a hash of both
    since: datetime = Field(sa_type=UtcDateTime, index=True)
    tries: int


class Heartbeat(SQLModel, table=True):
    """The last sign of life of a role on a node, and what it had to say about its connections."""

    node: str = Field(primary_key=True)
    role: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class Presence(SQLModel, table=True):
    """Somebody has a case open at the desk; the first to open it holds it for a while."""

    case_id: int = Field(primary_key=True, foreign_key="register_case.id")
    user_id: int = Field(primary_key=True, foreign_key="desk_user.id")
    since: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)


class CaseLink(SQLModel, table=True):
    """Two cases about the same: linked, never merged, since each counts."""

    __tablename__ = "case_link"
    __table_args__ = (Index("ix_case_link_earlier", "earlier_id"),)

    case_id: int = Field(primary_key=True, foreign_key="register_case.id")
    earlier_id: int = Field(primary_key=True, foreign_key="register_case.id")
    why: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)


class AnswerTemplate(SQLModel, table=True):
    """A text that servicevägledare begin from when they answer directly or refer somebody elsewhere."""

    __tablename__ = "answer_template"

    id: int = Field(default=None, primary_key=True)
    title: str = Field(unique=True)
    purpose: str  # answer, or refer
    target: str = ""  # the unit outside that is referred to
    text: str = Field(sa_type=Text)
    active: bool = True
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str


class ApiClient(SQLModel, table=True):
    """A program that may use the JSON API; only the hash of its token is kept."""

    __tablename__ = "api_client"

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    token_hash: str = Field(unique=True)
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    unit: str = ""  # the one unit whose cases it may see, or empty for all
    active: bool = True
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Webhook(Claim, table=True):
    """An address that is told of events in their order; ``last_event_id`` is the last one it took."""

    id: int = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    url: str
    secret: str  # signs what is sent (HMAC-SHA256)
    kinds: list[str] = Field(default_factory=list, sa_type=JSON)  # event kinds; empty means all
    active: bool = True
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_event_id: int = 0
    last_status: str = Field(default="", sa_type=Text)
