"""Pages for what went wrong: plain words, a way on, and nothing of our inside."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailrouter.desk.context import Desk, ForbiddenError, ForgedFormError, LoginNeededError, see
from mailrouter.desk.language import N_
from mailrouter.desk.safety import route_of
from mailrouter.diarium import NoSuchCaseError

log = logging.getLogger(__name__)

# Status: heading, and what to do
_TEXTS = {
    400: (N_("Formuläret gick inte att läsa"), N_("Gå tillbaka, ladda om sidan och försök igen.")),
    403: (N_("Det får du inte göra"), N_("Ditt konto har inte den behörigheten. Be en administratör om hjälp.")),
    404: (N_("Sidan finns inte"), N_("Kontrollera ärendenumret, eller sök i fältet högst upp.")),
    405: (N_("Så går det inte att göra"), N_("Gå tillbaka till ärendet och använd knapparna där.")),
    413: (N_("Det var för mycket text"), N_("Gå tillbaka, korta texten och försök igen.")),
    500: (
        N_("Något gick fel hos oss"),
        N_("Inget mejl har gått förlorat. Försök igen om en stund; säg till driften om det fortsätter."),
    ),
    503: (
        N_("Databasen svarar inte just nu"),
        N_("Inget mejl har gått förlorat. Det du nyss gjorde är kanske inte sparat: se efter i ärendet om en stund."),
    ),
}
_FORGED = (
    N_("Formuläret har blivit för gammalt"),
    N_("Du har loggat in på nytt sedan sidan öppnades. Inget sparades. Gå tillbaka, ladda om sidan och gör om."),
)


def error_page(request: Request, status: int, *, forged: bool = False) -> Response:
    """The page for a status; any that has no words of its own gets those of 400 or 500."""
    desk: Desk = request.app.state.desk
    known = status if status in _TEXTS else 500 if status >= 500 else 400
    heading, advice = _FORGED if forged else _TEXTS[known]
    return desk.render(request, "error.html", status=status, code=status, heading=heading, advice=advice)


def install(app: FastAPI) -> None:
    """Tell the app which page answers which error. Every one is logged, none with anybody's data."""

    def noted(request: Request, status: int, *, forged: bool = False) -> Response:
        log.info("page-refused status=%d route=%s", status, route_of(request.scope))
        return error_page(request, status, forged=forged)

    @app.exception_handler(LoginNeededError)
    def _login(_request: Request, error: LoginNeededError) -> Response:
        return see("/logga-in", till=error.wanted if error.wanted != "/" else "")

    @app.exception_handler(NoSuchCaseError)
    def _missing(request: Request, _error: NoSuchCaseError) -> Response:
        return noted(request, 404)

    @app.exception_handler(ForbiddenError)
    def _forbidden(request: Request, _error: ForbiddenError) -> Response:
        return noted(request, 403)

    @app.exception_handler(ForgedFormError)
    def _forged(request: Request, _error: ForgedFormError) -> Response:
        return noted(request, 403, forged=True)

    @app.exception_handler(RequestValidationError)
    def _unreadable(request: Request, error: RequestValidationError) -> Response:
        in_path = any(fault["loc"][0] == "path" for fault in error.errors())
        return noted(request, 404 if in_path else 400)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        response = noted(request, error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    def _database(request: Request, error: OperationalError | InterfaceError) -> Response:
        log.error("database-away route=%s error=%s", route_of(request.scope), type(error.orig).__name__)
        return error_page(request, 503)
