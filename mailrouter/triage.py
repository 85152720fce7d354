"""What people decide about a case: confirm, close, give back, answer, reopen, release from quarantine.

Every decision locks the case, refuses when something decisive happened since the person looked
(``seen`` is Case.last_event at that time; None means "I look now"), moves the state through
diarium's table and appends the event. The caller opens ``store.write()`` and commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from mailrouter import citizen, deadlines, diarium, number, search, store
from mailrouter.config import Settings
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.organisation import Organisation
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseState,
    Dispatch,
    DispatchKind,
    DispatchState,
    Disposition,
    Mail,
)

# Swedish names of the kinds a case can be of; also the first word of its neutral ärendemening.
KINDS = {
    "klagomal": "Klagomål",
    "fraga": "Fråga",
    "berom": "Beröm",
    "forslag": "Förslag",
    "felanmalan": "Felanmälan",
    "begaran-handling": "Begäran om allmän handling",
    "overklagande": "Överklagande",
    "skadestand": "Skadeståndsanspråk",
    "orosanmalan": "Orosanmälan",
    "ovrigt": "Skrivelse",
}

LIVE = (AssignmentState.SENDING, AssignmentState.DELIVERED)


class TriageError(DiariumError):
    """What was asked cannot be done; the message says what to do instead."""


class CloseReason(StrEnum):
    """Why a case ends at the contact centre without a forward."""

    BESVARAT_DIREKT = "besvarat-direkt"
    HANVISAT = "hanvisat"
    EJ_ARENDE = "ej-arende"


@dataclass(frozen=True, slots=True)
class Choice:
    """A förvaltning that is to answer, and the area it answers for; without an area the suggestion's is taken."""

    unit: str
    area: str = ""


def confirm(
    session: Session,
    case_id: int,
    choices: Sequence[Choice],
    *,
    seen: int | None,
    actor: str,
    now: datetime,
    organisation: Organisation,
    settings: Settings,
    delay: timedelta = timedelta(),
) -> Case:
    """Route the case: one Assignment and one forward Dispatch for each choice, in this transaction (T3).

    The event keeps what was suggested beside what was chosen: that is what the model learns from.
    ``delay`` is how long the forwards wait, so that a person may take the decision back (undo.py).
    """
    case = _locked(session, case_id, seen)
    if not choices:
        raise TriageError("choose at least one förvaltning")
    if len({choice.unit for choice in choices}) != len(choices):
        raise TriageError("the same förvaltning was chosen twice")
    _refuse_busy(session, case, choices)
    routes = [_route(case, choice, organisation, now, settings) for choice in choices]
    mail = opening_mail(session, case.id)
    before = _before(case)
    assigned = []
    for unit, area, recipient in routes:
        assignment = _assign(session, case, unit, area, actor, now, settings, organisation)
        session.add(_forward(case, assignment, mail, recipient, now, delay))
        citizen.completions_for(session, assignment, now)
        assigned.append({"assignment": assignment.id, "unit": unit, "area": area})
    case.subject_public = _neutral_subject(case, routes[0][1], organisation)
    case.attention = ""
    suggested = _suggested(case)
    detail = {
        "chosen": assigned,
        "suggested": suggested,
        "accepted": (suggested or {}).get("unit") == routes[0][0] and len(routes) == 1,
        "before": before,
    }
    diarium.record(session, case, EventKind.CONFIRMED, actor=actor, now=now, detail=detail)
    return case


def close(
    session: Session,
    case_id: int,
    reason: CloseReason,
    *,
    note: str,
    seen: int | None,
    actor: str,
    now: datetime,
    recipient: str = "",
) -> Case:
    """End the case here. What is on its way to a förvaltning is withdrawn; what has arrived there stays there.

    ``recipient`` is whom an answer goes to, for the history (answers.py).
    """
    case = _locked(session, case_id, seen)
    before = _before(case)
    withdrawn = [part for part in assignments(session, case.id) if part.state in LIVE]
    for part in withdrawn:
        diarium.move_assignment(part, AssignmentState.WITHDRAWN)
        store.settle(part)
    _cancel_queued(session, case.id)
    case.attention = ""
    detail: dict[str, Any] = {
        "reason": reason.value,
        "note": note,
        "withdrawn": [part.id for part in withdrawn],
        "before": before,
    }
    if recipient:
        detail["recipient"] = recipient
    diarium.record(session, case, EventKind.CLOSED, actor=actor, now=now, detail=detail)
    return case


def set_aside(session: Session, case_id: int, *, reason: str, seen: int | None, actor: str, now: datetime) -> Case:
    """Take the case out of the queue into quarantine, where it waits with its reason until somebody takes it up."""
    if not reason.strip():
        raise TriageError("say why the case is set aside")
    case = _locked(session, case_id, seen)
    case.attention = f"Ställt åt sidan av {actor}: {reason}"
    diarium.record(session, case, EventKind.QUARANTINED, actor=actor, now=now, detail={"reason": reason})
    return case


def release(session: Session, case_id: int, *, seen: int | None, actor: str, now: datetime) -> Case:
    """Take the case out of quarantine and have its mail read again."""
    case = _locked(session, case_id, seen)
    diarium.record(session, case, EventKind.RELEASED, actor=actor, now=now, detail={})
    mail = opening_mail(session, case.id)
    mail.due_at, mail.leased_until, mail.attempts = now, None, 0
    case.attention = ""
    return case


def give_back(
    session: Session,
    case_id: int,
    assignment_id: int,
    *,
    reason: str,
    seen: int | None,
    actor: str,
    now: datetime,
    hint: str = "",
) -> Case:
    """Fel förvaltning: the part comes back to the desk, with the reason for whoever decides anew.

    ``hint`` is the id of the unit that they say is the right one.
    """
    if not reason.strip():
        raise TriageError("say why the case is returned")
    case = _locked(session, case_id, seen)
    assignment = _part(session, case, assignment_id)
    diarium.move_assignment(assignment, AssignmentState.RETURNED)
    store.settle(assignment)
    case.attention = f"{assignment.unit_name} skickade tillbaka ärendet: {reason}"
    detail = {"assignment": assignment.id, "unit": assignment.unit, "reason": reason} | ({"hint": hint} if hint else {})
    diarium.record(session, case, EventKind.RETURNED, actor=actor, now=now, detail=detail)
    return case


def answered(
    session: Session, case_id: int, assignment_id: int, *, seen: int | None, actor: str, now: datetime
) -> Case:
    """The förvaltning has answered the citizen. The case is answered when no part is left waiting."""
    case = _locked(session, case_id, seen)
    assignment = _part(session, case, assignment_id)
    diarium.move_assignment(assignment, AssignmentState.ANSWERED)
    store.settle(assignment)
    detail = {"assignment": assignment.id, "unit": assignment.unit}
    waiting = any(part.state in LIVE for part in assignments(session, case.id))
    kind = EventKind.PART_ANSWERED if waiting or case.state is CaseState.OPEN else EventKind.ANSWERED
    diarium.record(session, case, kind, actor=actor, now=now, detail=detail)
    return case


def set_diarienummer(
    session: Session,
    case_id: int,
    assignment_id: int,
    value: str,
    *,
    seen: int | None,
    actor: str,
    now: datetime,
) -> Case:
    """Keep the number under which the förvaltning registered its part."""
    if not value.strip() or len(value) > 100:
        raise TriageError("a diarienummer has between 1 and 100 characters")
    case = _locked(session, case_id, seen)
    assignment = _part(session, case, assignment_id)
    detail = {"assignment": assignment.id, "value": value.strip(), "before": assignment.external_number}
    assignment.external_number = value.strip()
    diarium.record(session, case, EventKind.DIARIENUMMER, actor=actor, now=now, detail=detail)
    search.index(session, case)
    return case


def reopen(session: Session, case_id: int, *, reason: str, seen: int | None, actor: str, now: datetime) -> Case:
    """Take a closed or answered case up again."""
    case = _locked(session, case_id, seen)
    case.attention = f"Återöppnat: {reason}" if reason else "Återöppnat"
    diarium.record(session, case, EventKind.REOPENED, actor=actor, now=now, detail={"reason": reason})
    return case


def noted(session: Session, case_id: int, *, seen: int | None, actor: str, now: datetime) -> Case:
    """Somebody has read why the case asked for attention, and nothing more is to be done about it."""
    case = _locked(session, case_id, seen)
    if not case.attention:
        raise TriageError(f"case {case.number} asks for no attention")
    diarium.record(session, case, EventKind.NOTED, actor=actor, now=now, detail={"attention": case.attention})
    case.attention = ""
    return case


def assignments(session: Session, case_id: int) -> Sequence[Assignment]:
    """The parts of a case, oldest first."""
    return session.exec(select(Assignment).where(Assignment.case_id == case_id).order_by(col(Assignment.id))).all()


def opening_mail(session: Session, case_id: int) -> Mail:
    """The mail that opened the case."""
    statement = select(Mail).where(Mail.case_id == case_id, Mail.disposition == Disposition.CASE)
    return session.exec(statement).one()


def _locked(session: Session, case_id: int, seen: int | None) -> Case:
    case = diarium.lock(session, case_id)
    if seen is not None:
        diarium.refuse_stale(session, case, seen)
    return case


def _before(case: Case) -> dict[str, str]:
    """What a decision changes of the case, kept so that it can be undone."""
    return {"state": case.state.value, "attention": case.attention, "subject": case.subject_public}


def _part(session: Session, case: Case, assignment_id: int) -> Assignment:
    assignment = session.get(Assignment, assignment_id, with_for_update=True)
    if assignment is None or assignment.case_id != case.id:
        raise TriageError(f"case {case.number} has no part {assignment_id}")
    return assignment


def _refuse_busy(session: Session, case: Case, choices: Sequence[Choice]) -> None:
    chosen = {choice.unit for choice in choices}
    for assignment in assignments(session, case.id):
        if assignment.unit in chosen and assignment.state in LIVE:
            raise TriageError(f"{assignment.unit_name} already has case {case.number}")


def _route(
    case: Case, choice: Choice, organisation: Organisation, now: datetime, settings: Settings
) -> tuple[str, str, str]:
    """Unit, area and mailbox of a choice, or why it cannot be."""
    unit = organisation.units.get(choice.unit)
    if unit is None:
        raise TriageError(f"there is no förvaltning {choice.unit!r}; `mailrouter units` lists them")
    if not unit.answers_on(now.date()):
        raise TriageError(f"{unit.name} no longer answers; choose its successor")
    if not unit.mailbox:
        raise TriageError(f"{unit.name} has no mailbox to forward to; refer the citizen there and close the case")
    if unit.mailbox.rpartition("@")[2].lower() not in settings.city.domains:
        raise TriageError(f"{unit.mailbox} is outside city.domains: nothing is sent there")
    area = choice.area or _likeliest_area(case, choice.unit)
    if area and area not in organisation.areas:
        raise TriageError(f"there is no area {area!r}")
    return unit.id, area, unit.mailbox


def _likeliest_area(case: Case, unit: str) -> str:
    candidates = (case.suggestion or {}).get("candidates", [])
    return next((str(candidate["area"]) for candidate in candidates if candidate["unit"] == unit), "")


def _assign(
    session: Session,
    case: Case,
    unit: str,
    area: str,
    actor: str,
    now: datetime,
    settings: Settings,
    organisation: Organisation,
) -> Assignment:
    assignment = Assignment(
        case_id=case.id,
        unit=unit,
        unit_name=organisation.units[unit].name,
        area=area,
        created_at=now,
        created_by=actor,
        answer_due=case.answer_due,
    )
    deadlines.start(assignment, case, settings, organisation)
    session.add(assignment)
    session.flush()
    return assignment


def _forward(
    case: Case, assignment: Assignment, mail: Mail, recipient: str, now: datetime, delay: timedelta
) -> Dispatch:
    return Dispatch(
        case_id=case.id,
        assignment_id=assignment.id,
        mail_id=mail.id,
        kind=DispatchKind.FORWARD,
        recipient=recipient,
        token=number.new_token(),
        created_at=now,
        due_at=now + delay,
    )


def _cancel_queued(session: Session, case_id: int) -> None:
    queued = select(Dispatch).where(Dispatch.case_id == case_id, Dispatch.state == DispatchState.QUEUED)
    for dispatch in session.exec(queued.with_for_update()):
        diarium.move_dispatch(dispatch, DispatchState.CANCELLED)
        store.settle(dispatch)


def _neutral_subject(case: Case, area: str, organisation: Organisation) -> str:
    """An ärendemening that tells the matter and nothing of the person (OSL 5 kap. 2 §).

    Of a restricted case it tells nothing at all, whatever it was when it came in.
    """
    if case.restricted:
        return case.subject_public
    kind = KINDS.get(case.kind, KINDS["ovrigt"])
    return f"{kind} – {organisation.areas[area].name}" if area else kind


def _suggested(case: Case) -> dict[str, Any] | None:
    if case.suggestion is None:
        return None
    return {key: case.suggestion.get(key) for key in ("area", "unit", "probability", "abstain", "by")}
