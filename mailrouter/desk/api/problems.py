"""Errors of the API as problem+json (RFC 9457): a stable code, an English sentence, and nothing of our inside."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailrouter.desk.api.models import Happened, Problem
from mailrouter.desk.safety import route_of
from mailrouter.diarium import DiariumError, IllegalMoveError, NoSuchCaseError, StaleError
from mailrouter.tables import Event

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

CODES = {
    400: "unreadable",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "stale",
    413: "too-large",
    422: "invalid",
    429: "too-many-requests",
    500: "internal",
    503: "unavailable",
}


class UnauthorizedError(Exception):
    """No token, or none that is known."""


class NotAllowedError(Exception):
    """The client's scopes or unit do not allow it; the message says which would."""


class TooManyError(Exception):
    """The client asks too often; it may come back after ``seconds``."""

    def __init__(self, seconds: int) -> None:
        super().__init__("too many requests")
        self.seconds = seconds


def happened(event: Event) -> Happened:
    """An event as the API tells it."""
    return Happened(sequence=event.sequence, at=event.at, kind=event.kind, actor=event.actor, detail=event.detail)


def problem(
    status: int, detail: str = "", *, code: str = "", headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """The answer for something that went wrong."""
    named = code or CODES.get(status, "error")
    body = Problem(
        type=f"urn:mailrouter:problem:{named}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=named,
        detail=detail,
        **more,
    )
    return Response(body.model_dump_json(), status, headers=headers, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer, for its OpenAPI description."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def broken(_request: Request, status: int) -> Response:
    """For what the application itself could not answer."""
    return problem(status)


def install(api: FastAPI) -> None:
    """Tell the API which problem answers which error."""

    @api.exception_handler(UnauthorizedError)
    def _unknown(_request: Request, _error: UnauthorizedError) -> Response:
        said = "send a valid token as Authorization: Bearer TOKEN"
        return problem(401, said, headers={"WWW-Authenticate": "Bearer"})

    @api.exception_handler(NotAllowedError)
    def _forbidden(_request: Request, error: NotAllowedError) -> Response:
        return problem(403, str(error))

    @api.exception_handler(TooManyError)
    def _too_many(_request: Request, error: TooManyError) -> Response:
        return problem(429, headers={"Retry-After": str(error.seconds)})

    @api.exception_handler(NoSuchCaseError)
    def _missing(_request: Request, error: NoSuchCaseError) -> Response:
        return problem(404, str(error))

    @api.exception_handler(StaleError)
    def _stale(_request: Request, error: StaleError) -> Response:
        return problem(409, "somebody decided meanwhile; read the case again", event=happened(error.event))

    @api.exception_handler(IllegalMoveError)
    def _illegal(_request: Request, error: IllegalMoveError) -> Response:
        return problem(409, str(error), code="illegal-move")

    @api.exception_handler(DiariumError)
    def _refused(_request: Request, error: DiariumError) -> Response:
        return problem(422, str(error), code="refused")

    @api.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> Response:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        return problem(422, errors=faults)

    @api.exception_handler(HTTPException)
    def _http(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, headers=dict(error.headers or {}))

    @api.exception_handler(OperationalError)
    @api.exception_handler(InterfaceError)
    def _database(request: Request, error: OperationalError | InterfaceError) -> Response:
        log.error("database-away route=%s error=%s", route_of(request.scope), type(error.orig).__name__)
        return problem(503, "the database does not answer; try again later", headers={"Retry-After": "10"})
