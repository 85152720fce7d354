"""What every page works with: the desk's parts, who asks, and how a page is made."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Form, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailrouter import restrictions
from mailrouter.classify import sensitive
from mailrouter.config import Settings
from mailrouter.desk import auth, language, oidc, trays, words
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.language import Language
from mailrouter.desk.live import Live
from mailrouter.letter.defects import EXPLAINED
from mailrouter.organisation import Organisation
from mailrouter.reports.statistics import Kept
from mailrouter.store import Store

STATIC = Path(__file__).parent / "static"
LANGUAGE_COOKIE = "sprak"
CALLBACK = "/logga-in/stad/klar"  # where the OpenID provider sends people back to


class LoginNeededError(Exception):
    """Nobody is logged in; ``wanted`` is the page to come back to, or empty."""

    def __init__(self, wanted: str) -> None:
        super().__init__("login needed")
        self.wanted = wanted


class ForbiddenError(Exception):
    """The visitor's role does not allow it."""


class ForgedFormError(Exception):
    """The form was not made by us for this login (CSRF)."""


@dataclass
class Desk:
    """The parts that the pages share. ``clock`` says what time it is."""

    store: Store
    settings: Settings
    organisation: Organisation
    clock: Callable[[], datetime]

    overviews: Kept = field(default_factory=Kept)

    def __post_init__(self) -> None:
        self.zone = ZoneInfo(self.settings.city.timezone)
        self.languages = language.load(self.zone)
        self.environments = {code: _environment(spoken) for code, spoken in self.languages.items()}
        secure = self.settings.desk.secure_cookies
        self.hold = timedelta(minutes=self.settings.desk.hold_minutes)
        self.live = Live(self.store, self.clock, self.hold)
        self.undo_window = timedelta(seconds=self.settings.desk.undo_seconds)
        city = self.settings.oidc
        self.provider = oidc.Provider(city, self._address(CALLBACK)) if city.issuer else None
        self.login_cookie = "__Host-mailrouter" if secure else "mailrouter"

    def _address(self, path: str) -> str:
        return self.settings.desk.base_url.rstrip("/") + path

    def today(self) -> date:
        """The city's day."""
        return self.clock().astimezone(self.zone).date()

    def language_of(self, request: Request) -> Language:
        """The language somebody has chosen; Swedish for everybody else."""
        chosen = request.cookies.get(LANGUAGE_COOKIE, language.SOURCE)
        return self.languages.get(chosen, self.languages[language.SOURCE])

    def set_cookie(self, response: Response, name: str, value: str, *, seconds: int | None = None) -> None:
        """A cookie that no script reads and no other site's form carries."""
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.settings.desk.secure_cookies,
        )

    def render(
        self, request: Request, template: str, visitor: Visitor | None = None, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page in the visitor's language."""
        spoken = self.language_of(request)
        now = self.clock()
        html = (
            self.environments[spoken.code]
            .get_template(template)
            .render(
                city=self.settings.city.name,
                language=spoken,
                languages=language.NAMES,
                path=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
                visitor=visitor,
                Act=Act,
                now=now,
                today=now.astimezone(self.zone).date(),
                **values,
            )
        )
        return HTMLResponse(html, status)


def _environment(spoken: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("mailrouter", "templates/desk"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(spoken.gettext, spoken.ngettext, newstyle=True)  # type: ignore[attr-defined]  # added by the extension
    environment.filters["masked"] = sensitive.masked
    environment.globals |= {
        "words": words,
        "restrictions": restrictions,
        "explained": EXPLAINED,
        "trays": trays,
        "static": static_address,
        "certainty": partial(words.certainty, spoken),
        "event_words": partial(words.event, spoken.gettext),
        "event_details": partial(words.event_details, spoken.gettext),
        "url": address,
    }
    return environment


@cache
def static_address(name: str) -> str:
    """The address of a static file, which changes with its content so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


def address(path: str, query: dict[str, str] | None = None, **more: str) -> str:
    """A path of ours with a query; empty values are left out."""
    said = {key: value for key, value in ((query or {}) | more).items() if value}
    return quote(path) + (f"?{urlencode(said)}" if said else "")


def see(path: str, query: dict[str, str] | None = None, **more: str) -> RedirectResponse:
    """Go and look at another page (RFC 9110 15.4.4), after a form was taken."""
    return RedirectResponse(address(path, query, **more), 303)


def _path(request: Request) -> str:
    """The address of a request without the host."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def desk_of(request: Request) -> Desk:
    """The desk behind a request."""
    desk = request.app.state.desk
    assert isinstance(desk, Desk)
    return desk


def visitor_of(request: Request, desk: Annotated[Desk, Depends(desk_of)]) -> Visitor:
    """Who asks. Raises LoginNeededError."""
    with desk.store.read() as session:
        found = auth.find_login(session, request.cookies.get(desk.login_cookie, ""), desk.clock())
    if found is None:
        raise LoginNeededError(_path(request) if request.method == "GET" else "")
    return found


def writer_of(visitor: Annotated[Visitor, Depends(visitor_of)], csrf: Annotated[str, Form()] = "") -> Visitor:
    """Who sends a form that we made. Raises ForgedFormError."""
    if not auth.same(visitor.csrf, csrf):
        raise ForgedFormError
    return visitor


def require(visitor: Visitor, act: Act) -> None:
    """Raise ForbiddenError when the visitor's role does not allow the act."""
    if not visitor.may(act):
        raise ForbiddenError


AtDesk = Annotated[Desk, Depends(desk_of)]
Reader = Annotated[Visitor, Depends(visitor_of)]
Writer = Annotated[Visitor, Depends(writer_of)]
Field = Annotated[str, Form()]
