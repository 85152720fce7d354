"""The templates that answers begin from: everybody who sorts reads them, administrators write them."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from mailrouter import answers
from mailrouter.desk.auth import Visitor
from mailrouter.desk.context import AtDesk, Desk, Field, ForbiddenError, Reader, Writer, see
from mailrouter.tables import Role
from mailrouter.triage import TriageError

router = APIRouter(prefix="/mallar")


@dataclass(frozen=True, slots=True)
class Written:
    """A template as the form has it."""

    title: str
    purpose: str
    target: str
    text: str
    active: bool


def _written(
    rubrik: Field = "",
    sort: Field = "",
    till: Field = "",
    text: Field = "",
    anvands: Field = "",
) -> Written:
    return Written(rubrik, sort, till, text, bool(anvands))


AWritten = Annotated[Written, Depends(_written)]


@router.get("")
def show(request: Request, desk: AtDesk, visitor: Reader, sparad: str = "") -> Response:
    """All templates; who may change them gets them as forms."""
    return _page(request, desk, visitor, saved=sparad)


@router.post("")
def write_new(request: Request, desk: AtDesk, visitor: Writer, written: AWritten) -> Response:
    """Keep a new template."""
    return _keep(request, desk, visitor, None, written)


@router.post("/{template_id}")
def write(request: Request, desk: AtDesk, visitor: Writer, template_id: int, written: AWritten) -> Response:
    """Change a template; answers that were sent keep their words."""
    return _keep(request, desk, visitor, template_id, written)


def _keep(request: Request, desk: Desk, visitor: Visitor, template_id: int | None, written: Written) -> Response:
    if not may_write(visitor):
        raise ForbiddenError
    target = written.target if written.target in desk.organisation.units else ""
    try:
        with desk.store.write() as session:
            kept = answers.keep_template(
                session,
                template_id,
                title=written.title,
                purpose=written.purpose,
                target=target,
                text=written.text,
                active=written.active,
                actor=visitor.name,
                now=desk.clock(),
            )
    except TriageError:
        _ = desk.language_of(request).gettext
        fault = _("Mallen sparades inte. Den behöver en egen rubrik och en text.")
        return _page(request, desk, visitor, fault=fault, written=written, status=422)
    return see("/mallar", sparad=str(kept.id))


def may_write(visitor: Visitor) -> bool:
    """Who may change what everybody's answers begin from."""
    return visitor.role is Role.ADMIN


def _page(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    *,
    saved: str = "",
    fault: str = "",
    written: Written | None = None,
    status: int = 200,
) -> Response:
    with desk.store.read() as session:
        templates = answers.templates(session, all_of_them=True)
    outside = [unit for unit in desk.organisation.units.values() if not unit.mailbox and unit.answers_on(desk.today())]
    return desk.render(
        request,
        "templates.html",
        visitor,
        status=status,
        templates=templates,
        may_write=may_write(visitor),
        outside=sorted(outside, key=lambda unit: unit.name),
        units=desk.organisation.units,
        saved=saved,
        fault=fault,
        written=written,
        answers=answers,
    )
