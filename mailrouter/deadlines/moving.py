"""Answer dates anew, when the calendar or a policy has changed: what would move, and moving it with an event each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel import Session, col, select

from mailrouter import diarium, workdays
from mailrouter.config import Settings
from mailrouter.deadlines import ladder
from mailrouter.deadlines.digests import ACTOR, policy_for
from mailrouter.deadlines.office import Office
from mailrouter.deadlines.pause import answer_due
from mailrouter.deadlines.remind import LIVE
from mailrouter.diarium import EventKind
from mailrouter.organisation import Organisation
from mailrouter.store import Store
from mailrouter.tables import Assignment, Case, CaseState

CHUNK = 500  # cases in one transaction
_ALIVE = (CaseState.OPEN, CaseState.QUARANTINED, CaseState.ROUTED)


@dataclass(frozen=True, slots=True)
class Move:
    """An answer date that moves: a förvaltning's, or with an empty ``unit`` the citizen's."""

    number: str
    unit: str
    before: date
    after: date


def recompute(
    store: Store, settings: Settings, now: datetime, *, organisation: Organisation | None, dry_run: bool
) -> list[Move]:
    """Bring the dates of all cases that wait for an answer up to date; what moved, or with ``dry_run`` would.

    The moments of the ladder follow too; what somebody was told already is not told again.
    """
    moves: list[Move] = []
    last = 0
    while True:
        with store.read() if dry_run else store.write() as session:
            cases = _cases(session, last)
            parts = _parts(session, cases)
            for case in cases:
                found = list(_moves(case, parts.get(case.id, []), settings, organisation))
                moves += found
                if not dry_run:
                    _move(session, case, parts.get(case.id, []), found, settings, organisation, now)
        if not cases:
            return moves
        last = cases[-1].id


def _cases(session: Session, last: int) -> Sequence[Case]:
    alive = select(Case).where(col(Case.state).in_(_ALIVE), col(Case.id) > last).order_by(col(Case.id)).limit(CHUNK)
    return session.exec(alive.with_for_update()).all()


def _parts(session: Session, cases: Sequence[Case]) -> dict[int, list[Assignment]]:
    found: dict[int, list[Assignment]] = {}
    live = select(Assignment).where(
        col(Assignment.case_id).in_([case.id for case in cases]), col(Assignment.state).in_(LIVE)
    )
    for part in session.exec(live.order_by(col(Assignment.id)).with_for_update()):
        found.setdefault(part.case_id, []).append(part)
    return found


def _moves(
    case: Case, parts: Sequence[Assignment], settings: Settings, organisation: Organisation | None
) -> Iterator[Move]:
    whole = workdays.answer_date(case.arrived_on, settings.deadline.weeks)
    for part in parts:
        due = answer_due(part, case, settings, organisation)
        if part.paused_days:
            whole = max(whole, due)
        if due != part.answer_due:
            yield Move(case.number, part.unit, part.answer_due, due)
    if whole != case.answer_due:
        yield Move(case.number, "", case.answer_due, whole)


def _move(
    session: Session,
    case: Case,
    parts: Sequence[Assignment],
    moves: Sequence[Move],
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
) -> None:
    after = {move.unit: move.after for move in moves}
    case.answer_due = after.get("", case.answer_due)
    office = Office.of(settings)
    for part in parts:
        part.answer_due = after.get(part.unit, part.answer_due)
        policy = policy_for(case.kind, part.unit, settings, organisation)
        climbed = part.climbed_at or part.created_at
        if part.due_at is None or part.due_at > now:  # what is due by now is told as it stands
            part.climbed_at = max(climbed, now) if part.unit in after else climbed
            part.due_at = ladder.following(part, policy, office, part.climbed_at)
    if moves:
        moved = [
            {"unit": move.unit, "before": move.before.isoformat(), "answer_due": move.after.isoformat()}
            for move in moves
        ]
        diarium.record(session, case, EventKind.RESCHEDULED, actor=ACTOR, now=now, detail={"moved": moved})
