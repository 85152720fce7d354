"""Who is told what, in one mail a day for each reader: the day is claimed, the mail queued, the history written.

The row of a reader's day (``tables.Digest``) is the claim: two nodes can never make two digests of it.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from mailrouter import diarium, number
from mailrouter.compose.caution import is_quiet
from mailrouter.config import Settings
from mailrouter.deadlines import ladder
from mailrouter.deadlines.ladder import MAILED, Policy, Rung
from mailrouter.deadlines.office import Office
from mailrouter.diarium import EventKind
from mailrouter.organisation import Organisation, Unit
from mailrouter.store import settle
from mailrouter.tables import Assignment, AssignmentState, Case, Digest, Dispatch, DispatchKind, DispatchState

ACTOR = "mailrouter"
KEPT_QUEUED = timedelta(days=30)  # longer than any mail is tried
REGISTRATOR, HEAD = "registrator", "chef"  # whom a digest is for, in its ``detail``


def policy_for(kind: str, unit: str, settings: Settings, organisation: Organisation | None) -> Policy:
    """The clock of a kind of case at a unit; a unit that the organisation does not know has none of its own."""
    return ladder.policy_of(settings.deadline, unit_of(organisation, unit), kind)


def unit_of(organisation: Organisation | None, unit: str) -> Unit | None:
    return organisation.units.get(unit) if organisation is not None else None


def forward_of(session: Session, assignment_id: int) -> Dispatch:
    """The forward that gave a förvaltning its part. Raises NoResultFound: a part without one is a defect of ours."""
    statement = (
        select(Dispatch)
        .where(Dispatch.assignment_id == assignment_id, Dispatch.kind == DispatchKind.FORWARD)
        .order_by(col(Dispatch.id).desc())
    )
    return session.exec(statement.limit(1)).one()


@dataclass(frozen=True, slots=True)
class Look:
    """One call of ``remind_due``."""

    settings: Settings
    organisation: Organisation | None
    office: Office
    now: datetime

    @property
    def today(self) -> date:
        return self.office.day(self.now)

    def policy(self, kind: str, unit: str) -> Policy:
        return policy_for(kind, unit, self.settings, self.organisation)


@dataclass(frozen=True, slots=True)
class Found:
    """A locked part with the rungs that have come, and the readers they are for."""

    case: Case
    part: Assignment
    policy: Policy
    rungs: list[Rung]
    registrator: str
    head: str  # empty when the head is not told

    @property
    def mailed(self) -> list[Rung]:
        """What a digest tells of; the rest is for the desk."""
        return [rung for rung in self.rungs if rung.step in MAILED]

    @property
    def readers(self) -> set[str]:
        return {self.registrator, self.head} - {""} if self.mailed else set()


def claim_day(session: Session, look: Look, readers: Iterable[str]) -> set[str]:
    """Take the day of each reader; those who can be written to now."""
    if not look.office.is_open(look.now):
        return set()
    return {
        reader for reader in sorted(readers) if not _is_told(session, look, reader) and _take(session, look, reader)
    }


def _take(session: Session, look: Look, reader: str) -> bool:
    with suppress(IntegrityError), session.begin_nested():  # another node may take it just now
        session.add(Digest(recipient=reader, day=look.today, at=look.now))
        session.flush()
        return True
    return False


def _is_told(session: Session, look: Look, reader: str) -> bool:
    """True when an earlier day's digest reached the reader only today, or is just being handed over."""
    return any(
        mail.leased_until is not None
        if mail.state is DispatchState.QUEUED
        else mail.settled_at is not None and look.office.day(mail.settled_at) == look.today
        for mail in session.exec(_digests(reader, look.now).where(Dispatch.state != DispatchState.CANCELLED))
    )


def _digests(reader: str, now: datetime) -> SelectOfScalar[Dispatch]:
    """The digests to a reader that may still be on their way."""
    return select(Dispatch).where(
        Dispatch.recipient == reader,
        Dispatch.kind == DispatchKind.DIGEST,
        col(Dispatch.created_at) > now - KEPT_QUEUED,
    )


def told_of(look: Look, one: Found, mail: Dispatch) -> dict[str, Any]:
    """What a ``reminded`` event says of a mail that tells somebody."""
    days_left = (one.part.answer_due - look.today).days
    return {"assignment": one.part.id, "unit": one.part.unit, "dispatch": mail.id, "days_left": days_left}


def queued(one: Found, kind: DispatchKind, reader: str, now: datetime, detail: dict[str, Any]) -> Dispatch:
    """A mail to a reader, on its way at once."""
    return Dispatch(
        case_id=one.case.id,
        assignment_id=one.part.id,
        kind=kind,
        recipient=reader,
        token=number.new_token(),
        created_at=now,
        due_at=now,
        detail=detail,
    )


def write(session: Session, look: Look, told: Sequence[Found]) -> None:
    """One mail for each registrator and each head, with all that they are told of."""
    for reader in sorted({reader for one in told for reader in one.readers}):
        mine = [one for one in told if reader in one.readers]
        whose = HEAD if all(reader == one.head for one in mine) else REGISTRATOR
        lines = [_line(session, look, one) for one in mine]
        lines += _left_over(session, look, reader, {line["assignment"] for line in lines})
        lines.sort(key=lambda line: (line["answer_due"], line["number"]))
        mail = queued(mine[0], DispatchKind.DIGEST, reader, look.now, {"to": whose, "cases": lines})
        session.add(mail)
        session.flush()
        for one in mine:
            detail = told_of(look, one, mail) | {"to": whose, "steps": sorted({rung.step.value for rung in one.mailed})}
            diarium.record(session, one.case, EventKind.REMINDED, actor=ACTOR, now=look.now, detail=detail)
            one.part.reminded += 1


def _line(session: Session, look: Look, one: Found) -> dict[str, Any]:
    """What a digest says of a case, as it is now: the same at every try. Of a restricted one only the number."""
    return {
        "case": one.case.id,
        "assignment": one.part.id,
        "number": one.case.number,
        "subject": "" if is_quiet(one.case) else one.case.subject_public,
        "unit": one.part.unit_name,
        "answer_due": one.part.answer_due.isoformat(),
        "days_left": (one.part.answer_due - look.today).days,
        "diarienummer": one.part.external_number,
        "token": forward_of(session, one.part.id).token,
    }


def _left_over(session: Session, look: Look, reader: str, told: set[int]) -> list[dict[str, Any]]:
    """What earlier digests to the reader say that never left: they are cancelled, and this one says it."""
    waiting = _digests(reader, look.now).where(Dispatch.state == DispatchState.QUEUED).with_for_update()
    lines: dict[int, dict[str, Any]] = {}
    for mail in session.exec(waiting).all():
        diarium.move_dispatch(mail, DispatchState.CANCELLED)
        settle(mail)
        lines |= {line["assignment"]: line for line in mail.detail["cases"] if line["assignment"] not in told}
    still = select(Assignment).where(
        col(Assignment.id).in_(lines),
        Assignment.state == AssignmentState.DELIVERED,
        col(Assignment.paused_at).is_(None),
    )
    return [
        lines[part.id] | {"days_left": (part.answer_due - look.today).days, "answer_due": part.answer_due.isoformat()}
        for part in session.exec(still)
    ]
