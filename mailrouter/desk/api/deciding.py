"""What programs decide. The rules are triage's, as for people; the same request sent twice is carried out once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from sqlmodel import Session, col, select

from mailrouter import diarium, triage
from mailrouter.desk import queries
from mailrouter.desk.api import shown
from mailrouter.desk.api.clients import Client
from mailrouter.desk.api.door import Settler, Sorter
from mailrouter.desk.api.models import LARGEST_ID, Because, CaseSummary, Close, Confirm, Decision, Number
from mailrouter.desk.api.problems import NotAllowedError, responses
from mailrouter.desk.api.reading import CaseNumber
from mailrouter.desk.context import AtDesk, Desk
from mailrouter.diarium import EventKind, NoSuchCaseError
from mailrouter.tables import Assignment, Case, Event
from mailrouter.triage import Choice, TriageError

_RESPONSES = responses(400, 401, 403, 404, 409, 413, 422, 429, 503)

router = APIRouter(tags=["decide"], prefix="/cases/{number}", responses=_RESPONSES)

PartId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Act = Callable[[Session, Case, datetime], object]
Said = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request: who decides about which case, having seen what."""

    desk: Desk
    client: Client
    number: str
    seen: int

    def carry_out(self, kinds: tuple[EventKind, ...], said: Said, act: Act) -> CaseSummary:
        """Do it in one transaction, unless an event of ``kinds`` that ``said`` the same shows that it is done."""
        with self.desk.store.write() as session:
            case = diarium.lock(session, queries.find(session, self.client, self.number).id)
            if self.seen > case.last_event:
                raise TriageError(f"seen is {self.seen}, but the last event of case {case.number} is {case.last_event}")
            if not self._is_done(session, case, kinds, said):
                act(session, case, self.desk.clock())
            return shown.summary(case, queries.parts(session, case))

    def _is_done(self, session: Session, case: Case, kinds: tuple[EventKind, ...], said: Said) -> bool:
        since = select(Event).where(
            Event.case_id == case.id,
            col(Event.sequence) > self.seen,
            Event.actor == self.client.actor,
            col(Event.kind).in_(kinds),
        )
        return any(said(event.detail) for event in session.exec(since))

    def who(self, now: datetime) -> dict[str, Any]:
        """As triage's functions take it."""
        return {"seen": self.seen, "actor": self.client.actor, "now": now}


@router.post("/confirm")
def confirm(desk: AtDesk, client: Sorter, number: CaseNumber, body: Confirm) -> CaseSummary:
    """Send the case to the units that are to answer."""
    wanted = [Choice(receiver.unit, receiver.area or "") for receiver in body.receivers]
    asked = _Asked(desk, client, number, body.seen)

    def said(detail: dict[str, Any]) -> bool:
        chosen = [(one["unit"], one["area"]) for one in detail["chosen"]]
        return len(chosen) == len(wanted) and all(
            unit == choice.unit and choice.area in ("", area)
            for (unit, area), choice in zip(chosen, wanted, strict=True)
        )

    return asked.carry_out(
        (EventKind.CONFIRMED,),
        said,
        lambda session, case, now: triage.confirm(
            session, case.id, wanted, organisation=desk.organisation, settings=desk.settings, **asked.who(now)
        ),
    )


@router.post("/close")
def close(desk: AtDesk, client: Sorter, number: CaseNumber, body: Close) -> CaseSummary:
    """End the case without a forward."""
    asked = _Asked(desk, client, number, body.seen)
    return asked.carry_out(
        (EventKind.CLOSED,),
        lambda detail: (detail["reason"], detail["note"]) == (body.reason, body.note),
        lambda session, case, now: triage.close(session, case.id, body.reason, note=body.note, **asked.who(now)),
    )


@router.post("/reopen")
def reopen(desk: AtDesk, client: Sorter, number: CaseNumber, body: Because) -> CaseSummary:
    """Take a closed or answered case up again."""
    asked = _Asked(desk, client, number, body.seen)
    return asked.carry_out(
        (EventKind.REOPENED,),
        lambda detail: detail["reason"] == body.reason,
        lambda session, case, now: triage.reopen(session, case.id, reason=body.reason, **asked.who(now)),
    )


@router.post("/release")
def release(desk: AtDesk, client: Sorter, number: CaseNumber, body: Decision) -> CaseSummary:
    """Take the case out of quarantine and have its mail read again."""
    asked = _Asked(desk, client, number, body.seen)
    return asked.carry_out(
        (EventKind.RELEASED,),
        lambda _detail: True,
        lambda session, case, now: triage.release(session, case.id, **asked.who(now)),
    )


@router.post("/noted")
def note(desk: AtDesk, client: Sorter, number: CaseNumber, body: Decision) -> CaseSummary:
    """Say that somebody has read why the case asks for attention."""
    asked = _Asked(desk, client, number, body.seen)
    return asked.carry_out(
        (EventKind.NOTED,),
        lambda _detail: True,
        lambda session, case, now: triage.noted(session, case.id, **asked.who(now)),
    )


@router.put("/parts/{part_id}/diarienummer")
def set_diarienummer(desk: AtDesk, client: Settler, number: CaseNumber, part_id: PartId, body: Number) -> CaseSummary:
    """Keep the number under which the unit has registered its part."""
    asked = _Asked(desk, client, number, body.seen)

    def act(session: Session, case: Case, now: datetime) -> None:
        part = _own_part(session, client, case, part_id)
        if part.external_number != body.diarienummer.strip():
            triage.set_diarienummer(session, case.id, part_id, body.diarienummer, **asked.who(now))

    return asked.carry_out((), lambda _detail: False, act)


@router.post("/parts/{part_id}/answered")
def answered(desk: AtDesk, client: Settler, number: CaseNumber, part_id: PartId, body: Decision) -> CaseSummary:
    """Say that the unit has answered the citizen."""
    asked = _Asked(desk, client, number, body.seen)

    def act(session: Session, case: Case, now: datetime) -> None:
        _own_part(session, client, case, part_id)
        triage.answered(session, case.id, part_id, **asked.who(now))

    kinds = (EventKind.ANSWERED, EventKind.PART_ANSWERED)
    return asked.carry_out(kinds, lambda detail: detail["assignment"] == part_id, act)


@router.post("/parts/{part_id}/return")
def give_back(desk: AtDesk, client: Settler, number: CaseNumber, part_id: PartId, body: Because) -> CaseSummary:
    """Fel förvaltning: send the part back to the contact centre, with the reason."""
    asked = _Asked(desk, client, number, body.seen)

    def act(session: Session, case: Case, now: datetime) -> None:
        _own_part(session, client, case, part_id)
        triage.give_back(session, case.id, part_id, reason=body.reason, **asked.who(now))

    return asked.carry_out(
        (EventKind.RETURNED,),
        lambda detail: (detail["assignment"], detail["reason"]) == (part_id, body.reason),
        act,
    )


def _own_part(session: Session, client: Client, case: Case, part_id: int) -> Assignment:
    """The part, when it is of the case and of the client's unit. Raises NoSuchCaseError and NotAllowedError."""
    part = next((part for part in queries.parts(session, case) if part.id == part_id), None)
    if part is None:
        raise NoSuchCaseError("the case has no such part")
    if client.only_unit not in (None, part.unit):
        raise NotAllowedError(f"the part is not one of {client.only_unit}")
    return part
