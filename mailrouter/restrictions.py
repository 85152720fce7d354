"""Restricted cases: which they are, who may know of them, and that reading one is written down.

A restricted case is seen only by those whose clearances name its restriction, everywhere: in lists, counters,
search, files and by programs. ``cleared`` is the one condition that says so. Why: protected personal data
(OSL 21 kap. 3 §), children at risk (OSL 26 kap. 1 §), whistle-blowers (lag 2021:890, 5 kap.).
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from mailrouter import diarium
from mailrouter.classify.values import Verdict
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.tables import Case, CaseState, Event, Restriction, Role, User

READ_AGAIN = timedelta(minutes=30)  # whoever goes on reading for so long has read once
SURE = 0.5  # an area this likely restricts by itself
PROTECTED = Restriction.SKYDDAD.value  # also the name of a flag, which forwards obey: both say the same

_WHISTLE = re.compile(r"visselblås|\bwhistle-?blow|\(?2021:890\b", re.IGNORECASE)
_WAITING = (CaseState.OPEN, CaseState.QUARANTINED)
_SORTERS = (Role.SERVICEVAGLEDARE, Role.ADMIN)


class RestrictionError(DiariumError):
    """The restriction cannot be changed like that; the message says why."""


def needed(verdict: Verdict | None, words: str) -> Restriction | None:
    """The restriction that a mail needs, by what is suggested for it and by its words; the narrowest of several."""
    if _WHISTLE.search(words):
        return Restriction.VISSELBLASNING
    if verdict is None:
        return None
    if Restriction.SKYDDAD in verdict.flags:
        return Restriction.SKYDDAD
    worry = verdict.area == "orosanmalan-barn" and verdict.probability >= SURE
    return Restriction.ORO if worry or verdict.kind == "orosanmalan" else None


def restrict_if_needed(session: Session, case: Case, verdict: Verdict | None, words: str, now: datetime) -> None:
    """Restrict a locked case that was just read. What was decided about it before, by a person too, stands."""
    _keep_flag(case)
    restriction = needed(verdict, words)
    if restriction is None or case.restricted or _was_changed(session, case):
        return
    _change(session, case, restriction, reason="", actor="mailrouter", now=now)


def _was_changed(session: Session, case: Case) -> bool:
    changed = select(Event.id).where(Event.case_id == case.id, Event.kind == EventKind.RESTRICTED).limit(1)
    return session.exec(changed).first() is not None


def change(
    session: Session,
    case_id: int,
    restriction: Restriction | None,
    *,
    reason: str,
    seen: int | None,
    actor: str,
    now: datetime,
) -> Case:
    """Restrict the case by hand, to other people than now, or to nobody in particular with None.

    Raises RestrictionError, and StaleError when somebody was faster.
    """
    case = diarium.lock(session, case_id)
    if seen is not None:
        diarium.refuse_stale(session, case, seen)
    if not reason.strip():
        raise RestrictionError("say why the restriction is changed")
    if case.restricted == (restriction or ""):
        raise RestrictionError(f"case {case.number} is so already")
    _change(session, case, restriction, reason=reason.strip(), actor=actor, now=now)
    return case


def _change(
    session: Session, case: Case, restriction: Restriction | None, *, reason: str, actor: str, now: datetime
) -> None:
    before, case.restricted = case.restricted, restriction.value if restriction else ""
    if case.restricted:
        case.subject_public = diarium.PUBLIC_SUBJECT
    if before == PROTECTED:
        case.flags = [flag for flag in case.flags if flag != PROTECTED]
    _keep_flag(case)
    detail = {"restricted": case.restricted, "before": before, "reason": reason}
    diarium.record(session, case, EventKind.RESTRICTED, actor=actor, now=now, detail=detail)


def _keep_flag(case: Case) -> None:
    if case.restricted == PROTECTED and PROTECTED not in case.flags:
        case.flags = [*case.flags, PROTECTED]


def cleared(clearances: Collection[str]) -> ColumnElement[bool]:
    """The cases that somebody with these clearances may know of."""
    return col(Case.restricted).in_(["", *sorted(clearances)])


def note_reading(session: Session, case_id: int, actor: str, now: datetime) -> bool:
    """Write down that ``actor`` reads a restricted case, once in READ_AGAIN; True when it was."""
    case = diarium.lock(session, case_id)
    if not case.restricted:
        return False
    read = select(Event.id).where(
        Event.case_id == case_id,
        Event.kind == EventKind.READ,
        Event.actor == actor,
        col(Event.at) > now - READ_AGAIN,
    )
    if session.exec(read.limit(1)).first() is not None:
        return False
    diarium.record(session, case, EventKind.READ, actor=actor, now=now, detail={"restricted": case.restricted})
    return True


def unseen(session: Session) -> dict[str, int]:
    """How many restricted cases wait at the desk that nobody who sorts is cleared to see, by restriction.

    Anything but an empty answer means that citizens wait for nobody: operators are told loudly.
    """
    waiting = (
        select(Case.restricted, func.count())
        .where(col(Case.restricted) != "", col(Case.state).in_(_WAITING))
        .group_by(col(Case.restricted))
    )
    found = dict(session.exec(waiting).all())
    if not found:
        return {}
    sorters = select(User.clearances).where(col(User.active).is_(True), col(User.role).in_(_SORTERS))
    held = {clearance for clearances in session.exec(sorters) for clearance in clearances}
    return {restriction: count for restriction, count in sorted(found.items()) if restriction not in held}


def listed_subject(case: Case) -> str:
    """What a list says the case is about: of a restricted one nothing that the citizen wrote."""
    return case.subject_public if case.restricted else case.subject


def listed_sender(case: Case) -> str:
    """Whom a list names as sender; nobody for a restricted case."""
    return "" if case.restricted else case.sender_name or case.sender
