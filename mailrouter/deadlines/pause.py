"""The clock of a part stands still while the förvaltning waits for somebody else, and runs on afterwards."""

from datetime import date, datetime

from sqlmodel import Session

from mailrouter import diarium
from mailrouter.config import Settings
from mailrouter.deadlines import ladder
from mailrouter.deadlines.digests import policy_for
from mailrouter.deadlines.office import Office
from mailrouter.deadlines.remind import LIVE
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.organisation import Organisation
from mailrouter.tables import Assignment, Case

LONGEST_REASON = 200


class ClockError(DiariumError):
    """The clock cannot be stopped or started; the message says why."""


def pause(
    session: Session,
    case_id: int,
    assignment_id: int,
    *,
    reason: str,
    seen: int | None,
    actor: str,
    now: datetime,
    settings: Settings,
    organisation: Organisation | None,
) -> Case:
    """Stop the clock of a part, as while the citizen is asked or a court decides; nobody is reminded meanwhile.

    Raises ClockError, StaleError when somebody was faster, or NoSuchCaseError.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON:
        raise ClockError(f"say in at most {LONGEST_REASON} characters what is waited for")
    case, part = _locked(session, case_id, assignment_id, seen)
    if part.state not in LIVE:
        raise ClockError(f"the part of {part.unit_name} is {part.state}: no clock runs")
    if part.paused_at is not None:
        raise ClockError(f"the clock of {part.unit_name} is stopped already: {part.pause_reason}")
    part.paused_at, part.pause_reason = now, reason
    _look_next(part, case, settings, organisation, now)
    detail = {"assignment": part.id, "unit": part.unit, "reason": reason}
    diarium.record(session, case, EventKind.PAUSED, actor=actor, now=now, detail=detail)
    return case


def resume(
    session: Session,
    case_id: int,
    assignment_id: int,
    *,
    seen: int | None,
    actor: str,
    now: datetime,
    settings: Settings,
    organisation: Organisation | None,
) -> Case:
    """Start the clock of a part again: the answer date moves by the days it stood still.

    Raises ClockError, StaleError when somebody was faster, or NoSuchCaseError.
    """
    case, part = _locked(session, case_id, assignment_id, seen)
    if part.paused_at is None:
        raise ClockError(f"the clock of {part.unit_name} is not stopped")
    office = Office.of(settings)
    days, before = (office.day(now) - office.day(part.paused_at)).days, part.answer_due
    detail = {"assignment": part.id, "unit": part.unit, "reason": part.pause_reason, "days": days}
    part.paused_at, part.pause_reason = None, ""
    part.paused_days += days
    if days:
        part.answer_due = answer_due(part, case, settings, organisation)
        case.answer_due = max(case.answer_due, part.answer_due)
    _look_next(part, case, settings, organisation, now)
    detail |= {"before": before.isoformat(), "answer_due": part.answer_due.isoformat()}
    diarium.record(session, case, EventKind.RESUMED, actor=actor, now=now, detail=detail)
    return case


def answer_due(part: Assignment, case: Case, settings: Settings, organisation: Organisation | None) -> date:
    """The answer date of a part as the calendar, the settings and its pauses have it now."""
    policy = policy_for(case.kind, part.unit, settings, organisation)
    given_on = Office.of(settings).day(part.created_at)
    return ladder.answer_date(policy, case.arrived_on, given_on, part.paused_days)


def _look_next(
    part: Assignment, case: Case, settings: Settings, organisation: Organisation | None, now: datetime
) -> None:
    policy = policy_for(case.kind, part.unit, settings, organisation)
    part.climbed_at = now
    part.due_at = ladder.following(part, policy, Office.of(settings), now)


def _locked(session: Session, case_id: int, assignment_id: int, seen: int | None) -> tuple[Case, Assignment]:
    case = diarium.lock(session, case_id)
    if seen is not None:
        diarium.refuse_stale(session, case, seen)
    part = session.get(Assignment, assignment_id, with_for_update=True, populate_existing=True)
    if part is None or part.case_id != case.id:
        raise ClockError(f"case {case.number} has no part {assignment_id}")
    return case, part
