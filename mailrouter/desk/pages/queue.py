"""The queue: a tray of cases, searched and filtered by what stands in the address line."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from mailrouter import restrictions
from mailrouter.desk import done, presence, queries, trays
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.choices import catalogue
from mailrouter.desk.context import AtDesk, Reader, address
from mailrouter.desk.queries import Filter
from mailrouter.desk.trays import Tray
from mailrouter.desk.words import FLAG_RANKS
from mailrouter.diarium import NoSuchCaseError

router = APIRouter()


@router.get("/")
def queue(
    request: Request,
    desk: AtDesk,
    visitor: Reader,
    lada: str = "",
    sok: str = "",
    enhet: str = "",
    flagga: str = "",
    efter: str = "",
    fore: str = "",
    klart: str = "",
) -> Response:
    """One page of a tray. ``efter`` and ``fore`` are places (keys) in its order."""
    wanted = filter_of(lada, sok, enhet, flagga)
    if wanted == Filter() and Tray.SORT not in queries.trays_of(visitor):
        wanted = Filter(queries.trays_of(visitor)[0])
    after, before = trays.read_place(efter, wanted.tray), trays.read_place(fore, wanted.tray)
    backwards = after is None and before is not None
    with desk.store.read() as session:
        if named := _named_case(session, visitor, wanted):
            return RedirectResponse(f"/arende/{named}", 303)
        shown = queries.page(session, visitor, wanted, before if backwards else after, backwards=backwards)
        counts = queries.counts(session, visitor)
        unseen = restrictions.unseen(session) if visitor.may(Act.SORT) else {}
        holders = presence.holders(session, desk.clock(), desk.hold, [case.id for case in shown.cases])
        notice = done.notice(session, visitor, klart, now=desk.clock(), within=desk.undo_window)
    links = _links(wanted, shown, after is not None, backwards)
    return desk.render(
        request,
        "queue.html",
        visitor,
        wanted=wanted,
        page=shown,
        counts=counts,
        unseen=unseen,
        holders={key: holder for key, holder in holders.items() if holder.user_id != visitor.user_id},
        links=links,
        units=catalogue(desk.organisation, desk.today()).units,
        flags=list(FLAG_RANKS),
        organisation=desk.organisation,
        notice=notice,
    )


def filter_of(tray: str, search: str, unit: str, flag: str) -> Filter:
    """The filter that the address line says; a search looks everywhere unless a tray is named."""
    words = " ".join(search.replace("\0", " ").split())[: queries.LONGEST_SEARCH]
    usual = Tray.ALL if words else Tray.SORT
    chosen = Tray(tray) if tray in set(Tray) else usual
    return Filter(chosen, words, unit, flag if flag in FLAG_RANKS else "")


def _named_case(session: Session, visitor: Visitor, wanted: Filter) -> str | None:
    """The case whose number somebody typed into the search field."""
    if not wanted.search:
        return None
    try:
        return queries.find(session, visitor, wanted.search).number
    except NoSuchCaseError:
        return None


@dataclass(frozen=True, slots=True)
class Links:
    """Where the pages before and behind are, or empty."""

    newer: str = ""
    older: str = ""


def _links(wanted: Filter, shown: queries.Page, from_place: bool, backwards: bool) -> Links:
    if not shown.cases:
        return Links(newer=address("/", wanted.query())) if from_place or backwards else Links()
    first, last = (trays.write_place(trays.place_of(case, wanted.tray)) for case in (shown.cases[0], shown.cases[-1]))
    before = shown.more if backwards else from_place
    behind = backwards or shown.more
    return Links(
        newer=address("/", wanted.query(), fore=first) if before else "",
        older=address("/", wanted.query(), efter=last) if behind else "",
    )
