"""The shell around every request: security headers, a limit on what is sent in, and no internals in any answer."""

import logging
import traceback
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_FORM_OCTETS = 256 * 1024
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class TooLargeError(Exception):
    """The form is larger than any of ours."""


class Safety:
    """ASGI middleware. A header that a page sets itself is left as it is."""

    def __init__(self, app: ASGIApp, *, broken: Callable[[Request, int], Response], https: bool) -> None:
        self._app = app
        self._broken = broken
        self._headers = _HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 when it breaks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        if _announced(scope) > MAX_FORM_OCTETS:
            log.info("page-refused status=413")
            await self._broken(Request(scope), 413)(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, _limited(receive), guarded_send)
        except Exception as error:  # noqa: BLE001 (the last guard: a person gets a page, the log gets the place)
            _note(scope, error)
            if started:
                raise RuntimeError("the answer broke off") from None
            await self._broken(Request(scope), 500)(scope, receive, guarded_send)


def _announced(scope: Scope) -> int:
    """The length of the form as its sender says."""
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() else 0


def _limited(receive: Receive) -> Receive:
    """Stop reading a form whose sender did not say, or lied about, how long it is."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_FORM_OCTETS:
            raise TooLargeError
        return message

    return counted


def _note(scope: Scope, error: Exception) -> None:
    """Log where it broke and what kind it was; messages may hold a citizen's words and are left out."""
    place = traceback.extract_tb(error.__traceback__)
    trail = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(place[-6:]))
    log.error("page-broken route=%s error=%s at=%s", route_of(scope), type(error).__name__, trail)


def route_of(scope: Scope) -> str:
    """The route's pattern, which unlike its address holds nothing of a case."""
    return str(getattr(scope.get("route"), "path", "unknown"))
