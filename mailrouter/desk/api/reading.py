"""What the API tells: cases, their history and mails, units and areas."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement
from sqlmodel import col, exists, select
from starlette.responses import Response

from mailrouter.desk import queries
from mailrouter.desk.api import shown
from mailrouter.desk.api.clients import Client
from mailrouter.desk.api.door import Reader
from mailrouter.desk.api.models import (
    LARGEST_ID,
    AreaOut,
    Areas,
    CaseDetail,
    CaseList,
    History,
    Name,
    UnitOut,
    Units,
)
from mailrouter.desk.api.problems import happened, responses
from mailrouter.desk.context import AtDesk, Desk
from mailrouter.desk.letterview import disposition
from mailrouter.desk.pages.files import DOWNLOAD_POLICY
from mailrouter.desk.queries import CaseFile
from mailrouter.desk.secrecy import note_reading
from mailrouter.desk.trays import flagged
from mailrouter.diarium import NoSuchCaseError
from mailrouter.tables import Assignment, Case, CaseState

router = APIRouter(tags=["read"])

MOST_CASES = 200

CaseNumber = Annotated[str, Path(description="As in 26-2223-G.", examples=["26-2223-G"])]


class Order(StrEnum):
    """In which order cases are listed: as they came in, or the newest first."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Wanted(BaseModel):
    """The filters of a list; one that is misspelt is refused rather than left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: CaseState | None = None
    unit: Name | None = Field(None, description="Cases that the unit has or had.")
    kind: Name | None = None
    flag: Name | None = None
    arrived_from: date | None = None
    arrived_to: date | None = None
    due_to: date | None = Field(None, description="Cases to be answered on this day or before.")
    order: Order = Order.NEWEST
    cursor: str | None = Field(None, pattern=r"^[1-9][0-9]{0,8}$", description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=MOST_CASES)


@router.get("/cases", responses=responses(401, 403, 422, 429, 503))
def list_cases(desk: AtDesk, client: Reader, wanted: Annotated[Wanted, Query()]) -> CaseList:
    """List cases that fulfil all of the filters."""
    conditions: list[ColumnElement[bool]] = [queries.visible(client)]
    if wanted.state is not None:
        conditions.append(col(Case.state) == wanted.state)
    if wanted.unit is not None:
        conditions.append(exists().where(col(Assignment.case_id) == Case.id, col(Assignment.unit) == wanted.unit))
    if wanted.kind is not None:
        conditions.append(col(Case.kind) == wanted.kind)
    if wanted.flag is not None:
        conditions.append(flagged(wanted.flag))
    if wanted.arrived_from is not None:
        conditions.append(col(Case.arrived_on) >= wanted.arrived_from)
    if wanted.arrived_to is not None:
        conditions.append(col(Case.arrived_on) <= wanted.arrived_to)
    if wanted.due_to is not None:
        conditions.append(col(Case.answer_due) <= wanted.due_to)
    rising = wanted.order is Order.OLDEST
    if wanted.cursor is not None:
        conditions.append(col(Case.id) > int(wanted.cursor) if rising else col(Case.id) < int(wanted.cursor))
    statement = select(Case).where(*conditions)
    ordered = statement.order_by(col(Case.id) if rising else col(Case.id).desc()).limit(wanted.limit + 1)
    with desk.store.read() as session:
        found = session.exec(ordered).all()
        parts = queries.parts_of(session, [case.id for case in found])
    page = found[: wanted.limit]
    further = str(page[-1].id) if len(found) > wanted.limit else None
    return CaseList(cases=[shown.summary(case, parts.get(case.id, [])) for case in page], next=further)


@router.get("/cases/{number}", responses=responses(401, 403, 404, 429, 503))
def read_case(request: Request, desk: AtDesk, client: Reader, number: CaseNumber) -> CaseDetail:
    """Read one case with its mails' texts and the suggestion. Reading a restricted case is an event."""
    file = _file(desk, client, number)
    return shown.detail(file, request.scope["root_path"])


@router.get("/cases/{number}/events", responses=responses(401, 403, 404, 429, 503))
def list_events(desk: AtDesk, client: Reader, number: CaseNumber) -> History:
    """Read all that happened to a case, oldest first."""
    file = _file(desk, client, number)
    return History(number=file.case.number, events=[happened(event) for event in file.events])


@router.get(
    "/cases/{number}/mails/{mail_id}/original",
    response_class=Response,
    responses={
        200: {
            "description": "The mail byte for byte as it came.",
            "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
        },
        **responses(401, 403, 404, 422, 429, 503),
    },
)
def read_original(
    desk: AtDesk, client: Reader, number: CaseNumber, mail_id: Annotated[int, Path(ge=1, le=LARGEST_ID)]
) -> Response:
    """Download a mail of a case."""
    with desk.store.read() as session:
        case = queries.find(session, client, number)
        octets = queries.octets(session, case, mail_id)
    if octets is None:
        raise NoSuchCaseError("the case has no such mail")
    note_reading(desk, client.actor, case)
    headers = {
        "Content-Disposition": disposition(f"{case.number}-{mail_id}.eml"),
        "Content-Security-Policy": DOWNLOAD_POLICY,
    }
    return Response(octets, media_type="message/rfc822", headers=headers)


@router.get("/units", responses=responses(401, 403, 429, 503))
def list_units(desk: AtDesk, _client: Reader) -> Units:
    """List the units that a case can go to, and those outside the city."""
    today = desk.today()
    found = [
        UnitOut(
            id=unit.id,
            name=unit.name,
            kind=unit.kind,
            mailbox=unit.mailbox or "",
            answers_today=unit.answers_on(today),
        )
        for unit in desk.organisation.units.values()
    ]
    return Units(units=found)


@router.get("/areas", responses=responses(401, 403, 429, 503))
def list_areas(desk: AtDesk, _client: Reader) -> Areas:
    """List the areas that mails can be about, with the unit that answers."""
    city, today = desk.organisation, desk.today()
    found = [
        AreaOut(id=area.id, name=area.name, unit=None if area.place_split else city.unit_for(area.id, None, today))
        for area in city.areas.values()
    ]
    return Areas(areas=found)


def _file(desk: Desk, client: Client, number: str) -> CaseFile:
    with desk.store.read() as session:
        file = queries.case_file(session, queries.find(session, client, number))
    note_reading(desk, client.actor, file.case)
    return file
