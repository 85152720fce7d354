"""Administrators' pages: what is wrong, förvaltningar and their mailboxes, rules, model versions.

They only show; the organisation, the rules and the model in use are changed by files and commands, which check
what they are given and leave a trace. Accounts, which are changed here, have pages of their own (users.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlmodel import Session, col, select
from starlette.responses import Response

from mailrouter import check, webhooks
from mailrouter.classify import rules
from mailrouter.desk import queries
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.context import AtDesk, Desk, Reader, require
from mailrouter.desk.pages.health import SILENCE
from mailrouter.tables import Attempt, Case, Dispatch, DispatchState

MOST_STUCK = 50

MEASURES = ("unit top-1", "unit top-3", "sure, share of all", "sure, unit right")  # of a model's card, in this order


def administrator(visitor: Reader) -> Visitor:
    """Who administers. Raises ForbiddenError."""
    require(visitor, Act.ADMINISTER)
    return visitor


Administrator = Annotated[Visitor, Depends(administrator)]

router = APIRouter(prefix="/admin")


@dataclass(frozen=True, slots=True)
class Stuck:
    """A mail that did not leave at the first try, and what the server said last."""

    dispatch: Dispatch
    case: Case
    reply: str


@router.get("")
def show(request: Request, desk: AtDesk, visitor: Administrator) -> Response:
    """What is wrong, and what lives."""
    now = desk.clock()
    with desk.store.read() as session:
        beats = queries.heartbeats(session)
        stuck = _stuck(session, visitor)
        silent_hooks = webhooks.failing(session)
    return desk.render(
        request,
        "admin.html",
        visitor,
        problems=check.start_problems(desk.settings),
        notes=check.notes(desk.settings),
        beats=sorted(beats, key=lambda beat: (beat.role, beat.node)),
        silent_since=now - SILENCE,
        stuck=stuck,
        silent_hooks=silent_hooks,
    )


def _stuck(session: Session, visitor: Visitor) -> list[Stuck]:
    """Mails that wait for another try, those of cases that the visitor may see; soonest first."""
    statement = (
        select(Dispatch, Case)
        .join(Case, col(Case.id) == Dispatch.case_id)
        .where(
            col(Dispatch.due_at).is_not(None),
            Dispatch.state == DispatchState.QUEUED,
            Dispatch.attempts > 0,
            queries.visible(visitor),
        )
        .order_by(col(Dispatch.due_at))
        .limit(MOST_STUCK)
    )
    return [Stuck(dispatch, case, _last_reply(session, dispatch)) for dispatch, case in session.exec(statement)]


def _last_reply(session: Session, dispatch: Dispatch) -> str:
    tried = select(Attempt.reply).where(Attempt.dispatch_id == dispatch.id).order_by(col(Attempt.id).desc()).limit(1)
    return session.exec(tried).first() or ""


@router.get("/forvaltningar")
def show_units(request: Request, desk: AtDesk, visitor: Administrator) -> Response:
    """Everybody who answers, with mailbox, days and areas, as the organisation file says."""
    city = desk.organisation
    areas: dict[str, list[str]] = {unit: [] for unit in city.units}
    for area in city.areas.values():
        for unit in {area.unit, *area.unit_by_district.values()} - {None}:
            areas[str(unit)].append(area.name)
    domains = set(desk.settings.city.domains)
    return desk.render(
        request,
        "units.html",
        visitor,
        units=list(city.units.values()),
        areas=areas,
        outside={
            unit.id for unit in city.units.values() if unit.mailbox and unit.mailbox.rpartition("@")[2] not in domains
        },
        by_name=city.units,
        file=str(desk.settings.classify.organisation),
    )


@router.get("/regler")
def show_rules(request: Request, desk: AtDesk, visitor: Administrator) -> Response:
    """The rules with why they are, and the model versions with what they reached."""
    faults: Sequence[str] = ()
    try:
        known = rules.load(desk.settings.classify.rules, desk.organisation)
    except rules.RuleError as error:
        known, faults = None, str(error).splitlines()
    return desk.render(
        request,
        "rules.html",
        visitor,
        rules=known.rules if known else (),
        faults=faults,
        models=_models(desk),
        measures=MEASURES,
        areas=desk.organisation.areas,
        folder=str(desk.settings.classify.rules),
    )


def _models(desk: Desk) -> list[dict[str, Any]]:
    """The model versions, the newest first."""
    from mailrouter.classify import model  # noqa: PLC0415 (numpy is loaded only to look at a model)

    folder = desk.settings.classify.models
    try:
        used = model.current_version(folder)
    except model.ModelError:
        used = ""
    cards = [model.load_card(file.parent) for file in sorted(folder.glob("*/card.json"), reverse=True)]
    return [
        {"card": card, "made_at": datetime.fromisoformat(card.made_at), "used": card.version == used} for card in cards
    ]
