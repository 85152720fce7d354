"""What the pages read. Nothing here writes; lists never load a mail's text or octets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, literal_column, or_
from sqlmodel import Session, col, select

from mailrouter import number, restrictions, search
from mailrouter.desk.auth import Viewer, Visitor
from mailrouter.desk.trays import ORDERS, Tray, flagged, place_of, within
from mailrouter.desk.words import COUNT_LIMIT
from mailrouter.diarium import DECISIVE, EventKind, NoSuchCaseError
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Attempt,
    Case,
    CaseLink,
    Dispatch,
    Disposition,
    Event,
    Heartbeat,
    Mail,
    Presence,
    RawMail,
)

PAGE_SIZE = 50
MINE_LIMIT = 200  # decisions that a person finds again in a tray; older ones are searched for
LONGEST_SEARCH = 200
COUNTED = (
    Tray.SORT, Tray.UNSURE, Tray.FOREIGN, Tray.BACK, Tray.FAILED, Tray.RETURNED, Tray.QUARANTINE, Tray.MINE,
    Tray.ROUTED, Tray.ANSWERED, Tray.CLOSED, Tray.NOT_A_CASE,
)  # fmt: skip
_REGISTRATORS = (Tray.ROUTED, Tray.BACK, Tray.ANSWERED, Tray.CLOSED)
_GONE = (AssignmentState.RETURNED, AssignmentState.WITHDRAWN, AssignmentState.FAILED)


@dataclass(frozen=True, slots=True)
class Filter:
    """What stands in the address line of the queue."""

    tray: Tray = Tray.SORT
    search: str = ""
    unit: str = ""
    flag: str = ""

    def query(self) -> dict[str, str]:
        """The same for a link; what is as usual is left out."""
        usual = Tray.ALL if self.search else Tray.SORT
        said = {"lada": "" if self.tray is usual else self.tray.value, "sok": self.search}
        said |= {"enhet": self.unit, "flagga": self.flag}
        return {key: value for key, value in said.items() if value}

    def unfiltered(self) -> "Filter":
        """The same tray and search for every unit and flag."""
        return replace(self, unit="", flag="")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a tray. ``more`` tells that something comes behind the last case."""

    cases: Sequence[Case]
    parts: Mapping[int, Sequence[Assignment]]
    more: bool


@dataclass(frozen=True, slots=True)
class CaseFile:
    """All that is known of one case, oldest first; attempts by their dispatch's id."""

    case: Case
    mails: Sequence[Mail]
    parts: Sequence[Assignment]
    dispatches: Sequence[Dispatch]
    attempts: Mapping[int, Sequence[Attempt]]
    events: Sequence[Event]


def trays_of(visitor: Visitor) -> Sequence[Tray]:
    """The trays somebody works with: a registrator has nothing to sort."""
    if visitor.only_unit is not None:
        return _REGISTRATORS
    return (*COUNTED, Tray.RESTRICTED) if visitor.clearances else COUNTED


def visible(visitor: Viewer) -> ColumnElement[bool]:
    """The cases somebody may see: a registrator those that her unit has or had, restricted ones who is cleared."""
    cleared = restrictions.cleared(visitor.clearances)
    if visitor.only_unit is None:
        return cleared
    return and_(cleared, exists().where(col(Assignment.case_id) == Case.id, col(Assignment.unit) == visitor.only_unit))


def matching(wanted: Filter, visitor: Viewer) -> ColumnElement[bool]:
    """The condition behind a filter, for cases that somebody may see."""
    conditions = [_standing(wanted.tray, visitor), visible(visitor)]
    if wanted.search:
        conditions.append(_says(wanted.search[:LONGEST_SEARCH], visitor))
    if wanted.unit:
        conditions.append(_concerns(wanted.unit))
    if wanted.flag:
        conditions.append(flagged(wanted.flag))
    return and_(*conditions)


def _standing(tray: Tray, visitor: Viewer) -> ColumnElement[bool]:
    """The case stands in the tray; a program has nothing of its own."""
    if tray is not Tray.MINE:
        return within(tray)
    return _mine(visitor) if isinstance(visitor, Visitor) else false()


def _mine(visitor: Visitor) -> ColumnElement[bool]:
    """The visitor has the case open, or was among the last to decide it."""
    open_now = select(col(Presence.case_id)).where(Presence.user_id == visitor.user_id)
    did = select(col(Event.case_id)).where(
        Event.actor == visitor.name, col(Event.actor) != literal_column("'mailrouter'"), col(Event.kind).in_(DECISIVE)
    )
    last = did.order_by(col(Event.id).desc()).limit(MINE_LIMIT).subquery()
    return col(Case.id).in_(open_now.union(select(last.c.case_id)))  # an OR would have PostgreSQL read every case


def _says(words: str, visitor: Viewer) -> ColumnElement[bool]:
    """The case holds all the words; of very many that do, the newest (search.MOST_HITS)."""
    among = () if visitor.only_unit is None else (visible(visitor),)  # else her cases may lie behind all the others'
    found = search.hits(words, *among)
    return false() if found is None else col(Case.id).in_(found.correlate(None))


def _concerns(unit: str) -> ColumnElement[bool]:
    """The unit has the case, or is suggested while nobody has decided."""
    has = exists().where(
        col(Assignment.case_id) == Case.id, col(Assignment.unit) == unit, col(Assignment.state).not_in(_GONE)
    )
    return or_(has, col(Case.suggestion)["unit"].as_string() == unit)


def counts(session: Session, visitor: Visitor) -> dict[Tray, int]:
    """How many cases stand in each tray, at most COUNT_LIMIT each; one statement."""
    seen = visible(visitor)
    standing: dict[Tray, Select[tuple[int]]] = {
        tray: select(literal_column("1")).select_from(Case).where(_standing(tray, visitor), seen).limit(COUNT_LIMIT)
        for tray in trays_of(visitor)
    }
    capped = {
        tray: select(func.count()).select_from(cases.subquery()).scalar_subquery() for tray, cases in standing.items()
    }
    row = session.execute(select(*capped.values())).one()
    return dict(zip(capped, row, strict=True))


def page(
    session: Session,
    visitor: Visitor,
    wanted: Filter,
    place: Sequence[Any] | None,
    *,
    backwards: bool = False,
    size: int = PAGE_SIZE,
) -> Page:
    """The cases behind ``place`` (or before it when ``backwards``), in the tray's order."""
    order = ORDERS[wanted.tray]
    statement = select(Case).where(matching(wanted, visitor))
    if place is not None:
        statement = statement.where(order.beyond(place, backwards=backwards))
    found = session.exec(statement.order_by(*order.clauses(backwards=backwards)).limit(size + 1)).all()
    cases = found[:size]
    if backwards:
        cases = cases[::-1]
    return Page(cases, parts_of(session, [case.id for case in cases]), len(found) > size)


def parts_of(session: Session, case_ids: Sequence[int]) -> dict[int, list[Assignment]]:
    """The förvaltningar that have or had each case, oldest first."""
    parts: dict[int, list[Assignment]] = {}
    if case_ids:
        statement = select(Assignment).where(col(Assignment.case_id).in_(case_ids)).order_by(col(Assignment.id))
        for part in session.exec(statement):
            parts.setdefault(part.case_id, []).append(part)
    return parts


def parts(session: Session, case: Case) -> Sequence[Assignment]:
    """The förvaltningar that have or had the case, oldest first."""
    return parts_of(session, [case.id]).get(case.id, [])


def neighbour(
    session: Session,
    visitor: Visitor,
    wanted: Filter,
    of: Case,
    place: Sequence[Any] | None = None,
    *,
    back: bool = False,
    besides: Sequence[int] = (),
) -> str | None:
    """The number of the next case of the tray after ``of`` (or before it), whether or not it still stands there.

    ``besides`` are cases that are left out, as those that somebody else has open.
    """
    order = ORDERS[wanted.tray]
    beyond = order.beyond(place or place_of(of, wanted.tray), backwards=back)
    statement = select(col(Case.number)).where(
        matching(wanted, visitor), beyond, col(Case.id).not_in([of.id, *besides])
    )
    return session.exec(statement.order_by(*order.clauses(backwards=back)).limit(1)).first()


def first(session: Session, visitor: Visitor, wanted: Filter, *, besides: Sequence[int] = ()) -> str | None:
    """The number of the first case of the tray, without those of ``besides``."""
    statement = select(col(Case.number)).where(matching(wanted, visitor), col(Case.id).not_in(besides))
    return session.exec(statement.order_by(*ORDERS[wanted.tray].clauses()).limit(1)).first()


def find(session: Session, visitor: Viewer, written: str) -> Case:
    """The case a person names and may see. Raises NoSuchCaseError for any other."""
    try:
        wanted = number.read_number(written)
    except number.NumberError as error:
        raise NoSuchCaseError(str(error)) from error
    case = session.exec(select(Case).where(Case.number == wanted, visible(visitor))).first()
    if case is None:
        raise NoSuchCaseError("there is no such case")
    return case


def case_file(session: Session, case: Case) -> CaseFile:
    """Everything about a case but the mails' octets."""
    dispatches = session.exec(select(Dispatch).where(Dispatch.case_id == case.id).order_by(col(Dispatch.id))).all()
    attempts: dict[int, list[Attempt]] = {}
    if dispatches:
        keys = [dispatch.id for dispatch in dispatches]
        tried = select(Attempt).where(col(Attempt.dispatch_id).in_(keys)).order_by(col(Attempt.id))
        for attempt in session.exec(tried):
            attempts.setdefault(attempt.dispatch_id, []).append(attempt)
    return CaseFile(
        case=case,
        mails=session.exec(select(Mail).where(Mail.case_id == case.id).order_by(col(Mail.id))).all(),
        parts=parts(session, case),
        dispatches=dispatches,
        attempts=attempts,
        events=session.exec(select(Event).where(Event.case_id == case.id).order_by(col(Event.sequence))).all(),
    )


@dataclass(frozen=True, slots=True)
class Related:
    """Cases about the same: linked ones with why, and the earlier ones that the suggestion rests on, by number."""

    linked: Sequence[tuple[Case, str]]
    similar: Mapping[str, Case]


def related(session: Session, visitor: Viewer, case: Case) -> Related:
    """What of it the visitor may see."""
    links = select(CaseLink).where(or_(col(CaseLink.case_id) == case.id, col(CaseLink.earlier_id) == case.id))
    why = {link.earlier_id if link.case_id == case.id else link.case_id: link.why for link in session.exec(links)}
    named = [number for reason in (case.suggestion or {}).get("reasons", ()) for number in reason.get("cases", ())]
    if not why and not named:
        return Related((), {})
    wanted = or_(col(Case.id).in_(why), col(Case.number).in_(named))
    found = session.exec(select(Case).where(wanted, visible(visitor)).order_by(col(Case.id).desc())).all()
    return Related(
        linked=[(one, why[one.id]) for one in found if one.id in why],
        similar={one.number: one for one in found if one.number in named},
    )


def octets(session: Session, case: Case, mail_id: int) -> bytes | None:
    """A mail of the case as it came; a copy's are those of the mail it repeats. None when it is not of this case."""
    mail = session.exec(select(Mail).where(Mail.id == mail_id, Mail.case_id == case.id)).first()
    if mail is None:
        return None
    holder = mail.duplicate_of if mail.disposition is Disposition.DUPLICATE else mail.id
    return session.exec(select(col(RawMail.octets)).where(RawMail.mail_id == holder)).first()


def last_event(session: Session, case: Case) -> Event | None:
    """The newest event of a case, besides that somebody has read it."""
    told = select(Event).where(Event.case_id == case.id, Event.kind != EventKind.READ)
    return session.exec(told.order_by(col(Event.sequence).desc()).limit(1)).first()


def heartbeats(session: Session) -> Sequence[Heartbeat]:
    """The last sign of life of every role on every node."""
    return session.exec(select(Heartbeat)).all()
