"""Where a citizen's case is, behind the signed link in our mails: no login, and nothing of what anybody wrote."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from fastapi import APIRouter
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlmodel import Session, select
from starlette.responses import HTMLResponse, Response

from mailrouter import signing
from mailrouter.compose.citizen import LANGUAGES, STATUS, WITHOUT_A_DAY, languages_of
from mailrouter.desk.context import AtDesk, Desk, static_address
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState
from mailrouter.translations import SOURCE, catalogue

router = APIRouter()

NAMES = {"sv": "Svenska", "en": "English", "fi": "Suomi"}
_THERE = (AssignmentState.DELIVERED, AssignmentState.ANSWERED)


@dataclass(frozen=True, slots=True)
class Step:
    """A station on the way, named as in status.html; ``look`` is done, now or later."""

    name: str
    look: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the page shows. ``units`` have it: name and diarienummer, which may be empty."""

    number: str
    came: str
    steps: tuple[Step, ...]
    units: tuple[tuple[str, str], ...] = ()
    answer_due: str = ""


@router.get("/mitt-arende/{number}/{signature}")
def show(desk: AtDesk, number: str, signature: str, sprak: str = "") -> Response:
    """The page; a link that we did not make leads to a page that says so."""
    with desk.store.read() as session:
        keys = signing.keys(session, desk.settings.city)
        known = signing.verify(keys, STATUS, number, signature)
        case = session.exec(select(Case).where(Case.number == number)).first() if known else None
        if case is None:
            return _page(desk, "missing.html", sprak if sprak in NAMES else SOURCE, 404)
        code = sprak if sprak in NAMES else languages_of(case)[0]
        status = status_of(session, case, code, desk.zone)
    return _page(desk, "status.html", code, 200, status=status)


def status_of(session: Session, case: Case, code: str, zone: ZoneInfo) -> Status:
    """How far the case has come, days in language ``code``. A restricted case says that it has come in and no more."""
    came = _day(case.opened_at, code, zone)
    if case.restricted:
        return Status(case.number, came, (Step("came", "done"), Step("secret", "now")))
    parts = session.exec(select(Assignment).where(Assignment.case_id == case.id)).all()
    units = tuple((part.unit_name, part.external_number) for part in parts if part.state in _THERE)
    ended = case.state in {CaseState.ANSWERED, CaseState.CLOSED}
    away = case.state is CaseState.ROUTED or (ended and bool(units))
    steps = [Step("came", "done"), Step("sorted", "done") if away or ended else Step("sorting", "now")]
    if away or not ended:
        steps.append(Step("with-unit", "done" if ended else "now" if away else "later"))
    last = "closed" if case.state is CaseState.CLOSED else "answered" if ended else "answer"
    steps.append(Step(last, "done" if ended else "later"))
    waits = case.wants_answer and not ended and case.kind not in WITHOUT_A_DAY
    due = datetime.combine(case.answer_due, datetime.min.time(), zone)
    return Status(case.number, came, tuple(steps), units, _day(due, code, zone) if waits else "")


def _day(moment: datetime, code: str, zone: ZoneInfo) -> str:
    return format_date(moment.astimezone(zone).date(), "long", locale=Locale.parse(LANGUAGES[code]))


def _page(desk: Desk, template: str, code: str, status_code: int, **facts: object) -> HTMLResponse:
    shared = {"city": desk.settings.city.name, "code": code, "names": NAMES}
    html = _environment(code).get_template(template).render(shared | facts)
    return HTMLResponse(html, status_code)


@cache
def _environment(code: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("mailrouter", "templates/public"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    spoken = catalogue("citizen", code)
    environment.install_gettext_callables(spoken.gettext, spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]  # added by the extension
    environment.globals["static"] = static_address
    return environment
