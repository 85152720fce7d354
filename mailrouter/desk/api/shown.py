"""Rows of the register as the API's models."""

from collections.abc import Sequence

from mailrouter.desk.api.models import CaseDetail, CaseSummary, Part, Received, Suggested, Suggestion
from mailrouter.desk.queries import CaseFile
from mailrouter.restrictions import listed_subject
from mailrouter.tables import Assignment, Case, Disposition, Mail, Restriction


def summary(case: Case, parts: Sequence[Assignment]) -> CaseSummary:
    """A case as it stands in a list."""
    hidden = bool(case.restricted)
    return CaseSummary(
        number=case.number,
        state=case.state,
        kind=case.kind,
        subject=listed_subject(case),
        subject_public=case.subject_public,
        sender="" if hidden else case.sender,
        sender_name="" if hidden else case.sender_name,
        district=case.district,
        flags=case.flags,
        language=case.language,
        restricted=Restriction(case.restricted) if case.restricted else None,
        wants_answer=case.wants_answer,
        arrived_on=case.arrived_on,
        answer_due=case.answer_due,
        closed_at=case.closed_at,
        attention="" if hidden else case.attention,
        last_event=case.last_event,
        parts=[part(row) for row in parts],
    )


def detail(file: CaseFile, prefix: str) -> CaseDetail:
    """A case with its mails and what is suggested; ``prefix`` is the path of the API."""
    case = file.case
    opening = next((mail for mail in file.mails if mail.disposition is Disposition.CASE), None)
    told = summary(case, file.parts).model_dump() | {
        "subject": case.subject,
        "sender": case.sender,
        "sender_name": case.sender_name,
        "attention": case.attention,
        "text": opening.text if opening else "",
        "mails": [_received(case, mail, prefix) for mail in file.mails],
        "suggestion": _suggestion(case),
    }
    return CaseDetail.model_validate(told)


def part(row: Assignment) -> Part:
    """A unit's part."""
    return Part(
        id=row.id,
        unit=row.unit,
        unit_name=row.unit_name,
        area=row.area,
        state=row.state,
        diarienummer=row.external_number,
        answer_due=row.answer_due,
    )


def _received(case: Case, mail: Mail, prefix: str) -> Received:
    return Received(
        id=mail.id,
        received_at=mail.received_at,
        sender=mail.sender,
        subject=mail.subject,
        size=mail.size,
        disposition=mail.disposition,
        nature=mail.nature,
        original=f"{prefix}/cases/{case.number}/mails/{mail.id}/original",
    )


def _suggestion(case: Case) -> Suggestion | None:
    said = case.suggestion
    if said is None:
        return None
    return Suggestion(
        abstain=bool(said["abstain"]),
        candidates=[
            Suggested(**{key: one[key] for key in ("area", "unit", "probability")}) for one in said["candidates"]
        ],
        reasons=[str(reason["text"]) for reason in said.get("reasons", ())],
        by=str(said.get("by", "")),
    )
