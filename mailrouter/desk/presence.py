"""Who has which case open. The first to open it holds it for a while: only the holder decides, anybody may take over.

A hold keeps two people from answering the same citizen; that a decision rests on what was seen is diarium's business.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mailrouter.desk.auth import Visitor
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Presence, User

HOLDABLE = (CaseState.OPEN, CaseState.QUARANTINED)  # what waits for somebody at the desk to decide
REFRESH = timedelta(seconds=1)  # a page that is looked at again sooner writes nothing
JUST_OPENED = timedelta(seconds=3)  # a page that is loaded anew opens before the old one says that it is closed


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a case, since when."""

    user_id: int
    name: str
    since: datetime


class HeldError(Exception):
    """Somebody else holds the case."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.name)
        self.holder = holder


def holders(session: Session, now: datetime, hold: timedelta, case_ids: Sequence[int] = ()) -> Mapping[int, Holder]:
    """Who holds which case: of those who have it open, the first. All cases when none are named."""
    statement = (
        select(Presence, User.name)
        .join(User, col(User.id) == Presence.user_id)
        .where(col(Presence.seen_at) > now - hold)
        .order_by(col(Presence.since), col(Presence.user_id))
    )
    if case_ids:
        statement = statement.where(col(Presence.case_id).in_(case_ids))
    found: dict[int, Holder] = {}
    for row, name in session.exec(statement):
        found.setdefault(row.case_id, Holder(row.user_id, name, row.since))
    return found


def held_by_others(session: Session, visitor: Visitor, now: datetime, hold: timedelta) -> list[int]:
    """Cases that the visitor is not led to, since others have them."""
    return [key for key, holder in holders(session, now, hold).items() if holder.user_id != visitor.user_id]


def look_in(store: Store, case: Case, visitor: Visitor, now: datetime, hold: timedelta) -> Holder | None:
    """Note that the visitor has the case open; who holds it, the visitor or somebody else. None when nobody may."""
    if case.state not in HOLDABLE:
        return None
    with store.read() as session:
        mine = session.get(Presence, (case.id, visitor.user_id))
        holder = holders(session, now, hold, [case.id]).get(case.id)
    if mine is None or mine.seen_at < now - REFRESH:
        with store.write() as session:
            _note(session, case.id, visitor.user_id, now, hold)
    return holder or Holder(visitor.user_id, visitor.name, now)


def _note(session: Session, case_id: int, user_id: int, now: datetime, hold: timedelta) -> None:
    """The row of one who looks; what the same person left behind elsewhere goes."""
    over = delete(Presence).where(col(Presence.user_id) == user_id, col(Presence.seen_at) <= now - hold)
    session.execute(over)
    with suppress(IntegrityError), session.begin_nested():  # the same person's other window was faster
        row = session.get(Presence, (case_id, user_id), with_for_update=True)
        if row is None:
            session.add(Presence(case_id=case_id, user_id=user_id, since=now, seen_at=now))
        else:
            row.seen_at = now


def stay(session: Session, open_now: Sequence[tuple[int, int]], now: datetime) -> None:
    """Cases (with the user's id) whose pages are still open: their holds go on."""
    for case_id, user_id in sorted(open_now):
        row = update(Presence).where(col(Presence.case_id) == case_id, col(Presence.user_id) == user_id)
        session.execute(row.values(seen_at=now))


def leave(session: Session, case_id: int, visitor: Visitor) -> None:
    """The visitor has decided."""
    session.execute(delete(Presence).where(*_row(case_id, visitor)))


def close_page(session: Session, case_id: int, visitor: Visitor, now: datetime) -> None:
    """The visitor has closed a page of the case; the hold ends, unless another was opened just now."""
    session.execute(delete(Presence).where(*_row(case_id, visitor), col(Presence.seen_at) <= now - JUST_OPENED))


def _row(case_id: int, visitor: Visitor) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(Presence.case_id) == case_id, col(Presence.user_id) == visitor.user_id


def take_over(session: Session, case: Case, visitor: Visitor, now: datetime) -> None:
    """The visitor holds the case from now on, whoever had it."""
    session.execute(delete(Presence).where(col(Presence.case_id) == case.id))
    session.add(Presence(case_id=case.id, user_id=visitor.user_id, since=now, seen_at=now))
    session.flush()


def refuse_held(session: Session, case: Case, visitor: Visitor, now: datetime, hold: timedelta) -> None:
    """Raise HeldError when somebody else holds a case that waits for a decision."""
    holder = holders(session, now, hold, [case.id]).get(case.id) if case.state in HOLDABLE else None
    if holder is not None and holder.user_id != visitor.user_id:
        raise HeldError(holder)
