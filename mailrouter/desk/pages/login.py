"""Come in and go out, and choose the language."""

import logging
import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from mailrouter.desk import auth, language
from mailrouter.desk.context import LANGUAGE_COOKIE, AtDesk, Desk, Field, ForgedFormError, Writer, see

log = logging.getLogger(__name__)

router = APIRouter()

DOOR_COOKIE = "mailrouter-dorr"  # ties a login form to the browser that asked for it, before there is a login
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
    if wait := desk.throttle.attempt(namn, client, now):
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
    desk.throttle.succeeded(namn, client)
    with desk.store.write() as session:
        auth.close_login(session, request.cookies.get(desk.login_cookie, ""))
        token = auth.open_login(session, user, now=now, hours=desk.settings.desk.session_hours)
    response = RedirectResponse(own_path(till), 303)
    desk.set_cookie(response, desk.login_cookie, token, seconds=desk.settings.desk.session_hours * 3600)
    response.delete_cookie(DOOR_COOKIE, path="/")
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
        request, "login.html", status=status, door=door, wanted=own_path(wanted), fault=fault, name=name
    )
    desk.set_cookie(response, DOOR_COOKIE, door)
    return response


def own_path(wanted: str) -> str:
    """A page of ours to go to, whatever somebody wrote into the address: never another site."""
    safe = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if safe and not wanted.startswith("/logga-") else "/"
