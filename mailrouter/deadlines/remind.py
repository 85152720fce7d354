"""The clock's step (T5): what the ladder says is due becomes marks at the desk, and one digest a day for each reader.

A mailbox is told of everything on a day in one mail, written when its office opens; the row of that day
(``tables.Digest``) is the claim. What becomes due later in the day, or was missed while nothing ran, stands in the
next one. All that a transaction tells it also writes down, so that a crash leaves it due again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter import diarium
from mailrouter.compose.common import day as day_in_words
from mailrouter.config import Settings
from mailrouter.deadlines import digests, ladder
from mailrouter.deadlines.digests import ACTOR, Found, Look, policy_for, unit_of
from mailrouter.deadlines.ladder import Step
from mailrouter.deadlines.office import Office
from mailrouter.diarium import EventKind
from mailrouter.organisation import Organisation
from mailrouter.store import Store, settle
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState, Dispatch, DispatchKind

log = logging.getLogger(__name__)

LIVE = frozenset({AssignmentState.SENDING, AssignmentState.DELIVERED})
# Open, or set aside: another part of it came back to the desk.
_WAITING = frozenset({CaseState.ROUTED, CaseState.OPEN, CaseState.QUARANTINED})


def start(part: Assignment, case: Case, settings: Settings, organisation: Organisation | None) -> None:
    """Give a new part its answer date, and the moment at which the clock looks at it first."""
    policy, office = policy_for(case.kind, part.unit, settings, organisation), Office.of(settings)
    part.answer_due = ladder.answer_date(policy, case.arrived_on, office.day(part.created_at))
    part.climbed_at = part.created_at
    part.due_at = ladder.following(part, policy, office, part.created_at)


@dataclass(frozen=True, slots=True)
class _Due:
    """A part whose time has come, and who is told of it."""

    part: int
    case: int
    registrator: str
    head: str


@dataclass(slots=True)
class _Group:
    """Parts whose readers overlap: they are told in one transaction, since each reader gets one mail."""

    readers: set[str] = field(default_factory=set)
    parts: list[_Due] = field(default_factory=list)


def remind_due(store: Store, settings: Settings, now: datetime, *, organisation: Organisation | None = None) -> int:
    """T5: tell whoever is to be told; how many parts were looked at.

    Outside office hours only what cannot wait at night, and what concerns the desk alone, is done.
    """
    look = Look(settings, organisation, Office.of(settings), now)
    with store.read() as session:
        groups = _groups(_waiting(session, look))
    log.debug("remind-claimed groups=%d", len(groups))
    done = 0
    for group in groups:
        with store.write() as session:
            done += _tell(session, look, group)
        log.debug("remind-considered parts=%d", len(group.parts))
    return done


def _waiting(session: Session, look: Look) -> list[_Due]:
    """Every part whose time has come, with the mailbox that got its forward."""
    newest = (
        select(Dispatch.assignment_id, func.max(Dispatch.id).label("newest"))
        .join(Assignment, col(Assignment.id) == Dispatch.assignment_id)
        .where(col(Assignment.due_at) <= look.now, Dispatch.kind == DispatchKind.FORWARD)
        .group_by(col(Dispatch.assignment_id))
        .subquery()
    )
    statement = (
        select(Assignment.id, Assignment.case_id, Assignment.unit, Dispatch.recipient)
        .join(newest, newest.c.assignment_id == Assignment.id)
        .join(Dispatch, col(Dispatch.id) == newest.c.newest)
        .order_by(col(Assignment.id))
    )
    return [
        _Due(part, case, recipient, _head_of(look.organisation, unit) or recipient)
        for part, case, unit, recipient in session.exec(statement)
    ]


def _head_of(organisation: Organisation | None, unit: str) -> str:
    found = unit_of(organisation, unit)
    return found.head or "" if found is not None else ""


def _groups(waiting: Iterable[_Due]) -> list[_Group]:
    """Parts that share a reader come together, directly or by way of others."""
    groups: list[_Group] = []
    for due in waiting:
        readers = {due.registrator, due.head}
        joined = _Group(readers, [due])
        for group in [group for group in groups if group.readers & readers]:
            joined.readers |= group.readers
            joined.parts = group.parts + joined.parts
            groups.remove(group)
        groups.append(joined)
    return groups


def _tell(session: Session, look: Look, group: _Group) -> int:
    """Look at the parts of a group; each is dealt with by the time this commits, or is due again later."""
    readers = {due.part: due for due in group.parts}
    found: list[Found] = []
    looked = 0
    for case, part in _locked(session, group.parts):
        if part.due_at is None or part.due_at > look.now:
            continue  # another node was faster
        looked += 1
        if part.state not in LIVE or case.state not in _WAITING:
            settle(part)
            continue
        found.append(_found(look, case, part, readers[part.id]))
    urgent = [one for one in found if _is_urgent(one) and (one.policy.at_once or look.office.is_open(look.now))]
    rest = [one for one in found if one not in urgent]
    free = digests.claim_day(session, look, {reader for one in rest for reader in one.readers})
    digested = [one for one in rest if one.mailed and one.readers <= free]
    for one in urgent:
        _tell_urgent(session, look, one)
    digests.write(session, look, digested)
    for one in rest:
        if one.mailed and one not in digested:
            _wait(look, one)
        else:
            _tell_desk(session, look, one)
            _climb(look, one)
    session.flush()
    return looked


def _found(look: Look, case: Case, part: Assignment, due: _Due) -> Found:
    policy = look.policy(case.kind, part.unit)
    rungs = ladder.due(part, policy, look.office, look.now)
    told = ladder.is_for_head(rungs, part, policy, look.today) and due.head != due.registrator
    return Found(case, part, policy, rungs, due.registrator, due.head if told else "")


def _is_urgent(one: Found) -> bool:
    return any(rung.step is Step.URGENT for rung in one.rungs)


def _locked(session: Session, parts: Sequence[_Due]) -> list[tuple[Case, Assignment]]:
    """The cases, then their parts, locked in the order that everybody keeps."""
    anew = {"populate_existing": True}
    cases = select(Case).where(col(Case.id).in_({due.case for due in parts})).order_by(col(Case.id))
    by_id = {case.id: case for case in session.exec(cases.with_for_update().execution_options(**anew))}
    held = select(Assignment).where(col(Assignment.id).in_({due.part for due in parts})).order_by(col(Assignment.id))
    return [(by_id[part.case_id], part) for part in session.exec(held.with_for_update().execution_options(**anew))]


def _climb(look: Look, one: Found) -> None:
    settle(one.part)
    one.part.climbed_at = look.now
    one.part.due_at = ladder.following(one.part, one.policy, look.office, look.now)


def _wait(look: Look, one: Found) -> None:
    """Everything that has come stays due until the office opens next."""
    settle(one.part)
    opening = look.office.next_opening(look.now)
    following = ladder.following(one.part, one.policy, look.office, look.now)
    one.part.due_at = min(opening, following or opening)


def _tell_desk(session: Session, look: Look, one: Found) -> None:
    """Mark the case for the desk, with the reason."""
    for rung in one.rungs:
        if rung.step in ladder.DESK:
            reason = _reason(look, one, rung.step)
            mark(one.case, reason)
            one.part.reminded += 1
            detail = {"assignment": one.part.id, "unit": one.part.unit, "step": rung.step.value, "reason": reason}
            diarium.record(session, one.case, EventKind.REMINDED, actor=ACTOR, now=look.now, detail=detail)


def mark(case: Case, reason: str) -> None:
    """Ask for a person's attention without taking away what somebody is asked for already."""
    if reason not in case.attention:
        case.attention = f"{case.attention} {reason}".strip()


def _reason(look: Look, one: Found, step: Step) -> str:
    unit, policy = one.part.unit_name, one.policy
    match step:
        case Step.UNDELIVERED:
            hours = policy.urgent_hours if policy.at_once else policy.deliver_hours
            return f"Mejlet till {unit} har inte gått att lämna på {hours} timmar. Nya försök görs."
        case Step.PAUSED:
            since = day_in_words(look.office.day(one.part.paused_at or look.now))
            return f"Svarstiden hos {unit} är pausad sedan {since}: {one.part.pause_reason} Gäller det än?"
        case Step.DELAYED:
            return f"Svaret från {unit} är mer än {policy.delay_weeks} veckor försenat. Medborgaren bör få veta det."
        case _:
            return f"{unit} har inte hört av sig på {policy.urgent_hours} timmar om något som inte kan vänta. Ring dem."


def _tell_urgent(session: Session, look: Look, one: Found) -> None:
    """A mail of its own, now; the desk is told too of what must be done at once. It stands for whatever else is due."""
    mail = digests.queued(one, DispatchKind.REMINDER, one.registrator, look.now, {})
    session.add(mail)
    session.flush()
    detail = digests.told_of(look, one, mail) | {"step": Step.URGENT.value}
    if one.policy.at_once:
        detail["reason"] = _reason(look, one, Step.URGENT)
        mark(one.case, detail["reason"])
    diarium.record(session, one.case, EventKind.REMINDED, actor=ACTOR, now=look.now, detail=detail)
    one.part.reminded += 1
    _climb(look, one)
