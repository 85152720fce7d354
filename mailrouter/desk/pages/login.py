"""Come in and go out, and choose the language."""

import logging
import math
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from mailrouter.desk import auth, language, oidc
from mailrouter.desk.auth import AccountError
from mailrouter.desk.context import LANGUAGE_COOKIE, AtDesk, Desk, Field, ForgedFormError, Writer, see
from mailrouter.desk.oidc import OidcError, ProviderAwayError
from mailrouter.tables import User

log = logging.getLogger(__name__)

router = APIRouter()

DOOR_COOKIE = "mailrouter-dorr"  # ties a login form to the browser that asked for it, before there is a login
ATTEMPT_COOKIE = "mailrouter-stad"  # what ties an answer of the OpenID provider to the browser that asked
ATTEMPT_SECONDS = 600
YEAR_SECONDS = 365 * 24 * 3600


@router.get("/logga-in")
def show(request: Request, desk: AtDesk, till: str = "") -> Response:
    """The login form."""
    return _form(request, desk, till)


@router.post("/logga-in")
def log_in(
    request: Request,
    desk: AtDesk,
    namn: Field = "",
    losenord: Field = "",
    till: Field = "",
    dorr: Annotated[str, Form()] = "",
) -> Response:
    """Check name and password; the cookie of an earlier login is never kept (no session fixation)."""
    if not auth.same(request.cookies.get(DOOR_COOKIE, ""), dorr):
        raise ForgedFormError
    _ = desk.language_of(request).gettext
    now = desk.clock()
    client = request.client.host if request.client else ""
    if wait := auth.count_try(desk.store, namn, client, now):
        minutes = math.ceil(wait.total_seconds() / 60)
        log.warning("login-throttled")
        said = desk.language_of(request).ngettext(
            "För många försök. Vänta %(num)d minut och försök igen.",
            "För många försök. Vänta %(num)d minuter och försök igen.",
            minutes,
        )
        response = _form(request, desk, till, fault=said % {"num": minutes}, name=namn, status=429)
        response.headers["Retry-After"] = str(math.ceil(wait.total_seconds()))
        return response
    with desk.store.read() as session:
        user = auth.check_password(session, namn, losenord)
    if user is None:
        log.info("login-refused")
        said = _("Fel namn eller lösenord. Kontrollera båda och försök igen.")
        return _form(request, desk, till, fault=said, name=namn, status=401)
    with desk.store.write() as session:
        auth.forget_tries(session, namn, client)
        return _enter(request, desk, session, user, till)


@router.get("/logga-in/stad")
def to_provider(request: Request, desk: AtDesk, till: str = "") -> Response:
    """Go and log in where the city's accounts are."""
    if desk.provider is None:
        raise HTTPException(404)
    try:
        address, attempt = desk.provider.begin(own_path(till), desk.clock())
    except OidcError as error:
        return _refused(request, desk, till, error, status=503)
    response = RedirectResponse(address, 303)
    desk.set_cookie(response, ATTEMPT_COOKIE, attempt.written(), seconds=ATTEMPT_SECONDS)
    return response


@router.get("/logga-in/stad/klar")
def from_provider(request: Request, desk: AtDesk) -> Response:
    """Come back from there; what it says of the user holds from now on."""
    if desk.provider is None:
        raise HTTPException(404)
    attempt = oidc.Attempt.read(request.cookies.get(ATTEMPT_COOKIE, ""))
    wanted = attempt.wanted if attempt else ""
    try:
        if attempt is None:
            raise OidcError("the attempt is not of this browser, or too old")
        person = desk.provider.finish(attempt, request.query_params, desk.clock())
        with desk.store.write() as session:
            user = oidc.let_in(session, person, desk.clock())
            response = _enter(request, desk, session, user, wanted)
    except ProviderAwayError as error:
        return _refused(request, desk, wanted, error, status=503)
    except (OidcError, AccountError) as error:
        return _refused(request, desk, wanted, error, status=403)
    response.delete_cookie(ATTEMPT_COOKIE, path="/")
    return response


def _enter(request: Request, desk: Desk, session: Session, user: User, wanted: str) -> Response:
    """Begin a login and go to the page that was wanted."""
    hours = desk.settings.desk.session_hours
    auth.close_login(session, request.cookies.get(desk.login_cookie, ""))
    token = auth.open_login(session, user, now=desk.clock(), hours=hours)
    response = RedirectResponse(own_path(wanted), 303)
    desk.set_cookie(response, desk.login_cookie, token, seconds=hours * 3600)
    response.delete_cookie(DOOR_COOKIE, path="/")
    return response


def _refused(request: Request, desk: Desk, wanted: str, error: Exception, *, status: int) -> Response:
    """The login form again, with what a person can do; why stands in the log alone."""
    log.warning("oidc-refused error=%s", str(error) if isinstance(error, OidcError) else type(error).__name__)
    _ = desk.language_of(request).gettext
    said = (
        _("Stadens inloggning svarar inte just nu. Försök igen om en stund.")
        if status == 503
        else _(
            "Inloggningen gick inte att slutföra. Försök igen; be en administratör om behörighet om det inte hjälper."
        )
    )
    response = _form(request, desk, wanted, fault=said, status=status)
    response.delete_cookie(ATTEMPT_COOKIE, path="/")
    return response


@router.post("/logga-ut")
def log_out(request: Request, desk: AtDesk, _visitor: Writer) -> Response:
    """End the login here and in the database."""
    with desk.store.write() as session:
        auth.close_login(session, request.cookies.get(desk.login_cookie, ""))
    response = see("/logga-in")
    response.delete_cookie(desk.login_cookie, path="/", secure=desk.settings.desk.secure_cookies, httponly=True)
    return response


@router.get("/sprak/{code}")
def choose_language(desk: AtDesk, code: str, till: str = "/") -> Response:
    """Remember the language; nothing else changes, so a link may do it."""
    response = RedirectResponse(own_path(till), 303)
    if code in language.NAMES:
        desk.set_cookie(response, LANGUAGE_COOKIE, code, seconds=YEAR_SECONDS)
    return response


def _form(request: Request, desk: Desk, wanted: str, *, fault: str = "", name: str = "", status: int = 200) -> Response:
    door = request.cookies.get(DOOR_COOKIE) or auth.new_token()
    response = desk.render(
        request,
        "login.html",
        status=status,
        door=door,
        wanted=own_path(wanted),
        fault=fault,
        name=name,
        provider=desk.provider,
    )
    desk.set_cookie(response, DOOR_COOKIE, door)
    return response


def own_path(wanted: str) -> str:
    """A page of ours to go to, whatever somebody wrote into the address: never another site."""
    safe = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if safe and not wanted.startswith("/logga-") else "/"
