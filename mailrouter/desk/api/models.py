"""What goes in and out of the API. The field descriptions become the OpenAPI description."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mailrouter.tables import AssignmentState, CaseState, Disposition, Restriction
from mailrouter.triage import CloseReason

LARGEST_ID = 2**31 - 1
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
Words = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
Reason = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]


class Out(BaseModel):
    """Something that is answered."""

    model_config = ConfigDict(frozen=True)


class Part(Out):
    """One förvaltning's part of a case."""

    id: int
    unit: str = Field(description="Id of the unit, as in /units.")
    unit_name: str
    area: str = Field(description="Id of the area, or empty.")
    state: AssignmentState
    diarienummer: str = Field(description="The number under which the unit registered its part, or empty.")
    answer_due: date


class CaseSummary(Out):
    """A row of the register. A restricted case tells its sender and subject only when it is read."""

    number: str
    state: CaseState
    kind: str
    subject: str = Field(description="As the citizen wrote it; of a restricted case the public one.")
    subject_public: str = Field(description="Neutral ärendemening, never copied from the mail.")
    sender: str = Field(description="Mail address of the citizen; empty in lists for a restricted case.")
    sender_name: str
    district: str
    flags: list[str]
    language: str
    restricted: Restriction | None = Field(description="Why only cleared clients see the case.")
    wants_answer: bool
    arrived_on: date
    answer_due: date
    closed_at: datetime | None
    attention: str = Field(description="Why the case came back to the desk, in Swedish; empty when nothing is wrong.")
    last_event: int = Field(description="The version of the case, which a decision sends back as `seen`.")
    parts: list[Part]


class CaseList(Out):
    """One page of cases. ``next`` is the cursor of the next page, or null on the last one."""

    cases: list[CaseSummary]
    next: str | None


class Received(Out):
    """A mail of a case; its octets are at ``original``."""

    id: int
    received_at: datetime
    sender: str
    subject: str
    size: int = Field(description="In octets.")
    disposition: Disposition
    nature: str
    original: str = Field(description="Path of the mail as it came (message/rfc822).")


class Suggested(Out):
    """A receiver that mailrouter thinks possible."""

    area: str
    unit: str | None = Field(description="Null when the place that decides is not known.")
    probability: float


class Suggestion(Out):
    """What mailrouter suggests, best first."""

    abstain: bool = Field(description="True when mailrouter itself does not trust the suggestion.")
    candidates: list[Suggested]
    reasons: list[str] = Field(description="In Swedish.")
    by: str = Field(description="The rules and the model that said so.")


class CaseDetail(CaseSummary):
    """Everything about one case but its history and the mails' octets."""

    text: str = Field(description="The citizen's own words in the mail that opened the case.")
    mails: list[Received]
    suggestion: Suggestion | None


class Happened(Out):
    """One event of a case's history."""

    sequence: int
    at: datetime
    kind: str
    actor: str = Field(description="A user, mailrouter, or api:CLIENT.")
    detail: dict[str, Any]


class History(Out):
    """All events of a case, oldest first."""

    number: str
    events: list[Happened]


class UnitOut(Out):
    """A förvaltning, bolag or body outside the city."""

    id: str
    name: str
    kind: str
    mailbox: str = Field(description="Where forwards go; empty when nothing can be sent there.")
    answers_today: bool


class Units(Out):
    """All units."""

    units: list[UnitOut]


class AreaOut(Out):
    """An area that mails can be about."""

    id: str
    name: str
    unit: str | None = Field(description="The unit that answers for it today; null when the place decides.")


class Areas(Out):
    """All areas."""

    areas: list[AreaOut]


class Decision(BaseModel):
    """Every decision says which version of the case it rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seen: int = Field(ge=0, le=LARGEST_ID, description="`last_event` of the case as the client saw it.")


class Receiver(BaseModel):
    """A unit that is to have the case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: Name
    area: Name | None = Field(None, description="Without it, the likeliest area of the suggestion for that unit.")


class Confirm(Decision):
    """Send the case to one or several units."""

    receivers: list[Receiver] = Field(min_length=1, max_length=20)


class Close(Decision):
    """End the case without a forward."""

    reason: CloseReason
    note: Words = ""


class Because(Decision):
    """A decision that has a reason."""

    reason: Reason


class Number(Decision):
    """The diarienummer of a unit's part."""

    diarienummer: Annotated[
        str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")
    ]


class Problem(Out):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="urn:mailrouter:problem:CODE")
    title: str
    status: int
    code: str = Field(description="Stable, for programs.")
    detail: str = ""
    errors: list[str] = Field([], description="Which fields are wrong, and how.")
    event: Happened | None = Field(None, description="With code stale: what happened meanwhile.")
