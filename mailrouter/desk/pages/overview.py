"""Managers' overview: figures of a period, as pictures with their numbers in tables beside, and as files."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailrouter.desk import figures, pictures
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.context import AtDesk, Desk, Reader, require
from mailrouter.reports.periods import PERIODS, USUAL, period_named
from mailrouter.reports.statistics import KEPT, Overview

router = APIRouter(prefix="/oversikt")

WEEK = 7


@router.get("")
def show(request: Request, desk: AtDesk, visitor: Reader, period: str = USUAL) -> Response:
    """The page for a period that is named in the address line."""
    name = period if period in PERIODS else USUAL
    of = _overview(desk, visitor, name)
    spoken, weeks = desk.language_of(request), desk.settings.deadline.weeks
    limit = spoken.ngettext("%(num)d vecka", "%(num)d veckor", weeks) % {"num": weeks}
    counts = [one.count for one in of.inflow]
    return desk.render(
        request,
        "overview.html",
        visitor,
        of=of,
        chosen=name,
        periods=figures.PERIOD_NAMES,
        tables=figures.tables(of, desk.organisation, spoken, weeks),
        inflow_picture=pictures.columns(list(zip(figures.labels(of, spoken), counts, strict=True))),
        answers_picture=pictures.spread(of.answers.days, weeks * WEEK, limit, longest=(weeks + 3) * WEEK),
        pictures=pictures,
        weeks=weeks,
        minutes=int(KEPT.total_seconds() // 60),
        unit_name=desk.organisation.units[of.unit].name if of.unit in desk.organisation.units else "",
    )


@router.get("/{table}.csv")
def download(request: Request, desk: AtDesk, visitor: Reader, table: str, period: str = USUAL) -> Response:
    """One of the page's tables for a spreadsheet."""
    name = period if period in PERIODS else USUAL
    of = _overview(desk, visitor, name)
    made = figures.tables(of, desk.organisation, desk.language_of(request), desk.settings.deadline.weeks)
    if table not in made:
        raise HTTPException(404)
    file = f"{table}-{of.period.first}-{of.period.last}.csv"
    return Response(
        figures.written(made[table]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )


def _overview(desk: Desk, visitor: Visitor, name: str) -> Overview:
    """What the visitor may know: a manager of a unit, what concerns that unit."""
    require(visitor, Act.OVERSEE)
    now = desk.clock().astimezone(desk.zone)
    return desk.overviews.overview(
        desk.store,
        period_named(name, now.date()),
        visitor.only_unit or "",
        weeks=desk.settings.deadline.weeks,
        today=now.date(),
        now=now,
    )
