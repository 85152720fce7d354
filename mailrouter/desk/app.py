"""The desk as one application. The daemon serves it; nothing here starts a server."""

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mailrouter.config import Settings
from mailrouter.desk import errors
from mailrouter.desk.api import create_api
from mailrouter.desk.context import STATIC, Desk
from mailrouter.desk.pages import (
    acts,
    admin,
    case,
    events,
    files,
    guide,
    health,
    links,
    login,
    overview,
    queue,
    status,
    templates,
    users,
)
from mailrouter.desk.safety import Safety
from mailrouter.organisation import Organisation
from mailrouter.store import Store

API = "/api/v1"


class _Kept(StaticFiles):
    """Static files; their addresses change with their content, so browsers keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class _Programs:
    """ASGI middleware: what is asked below API is the API's, whatever characters the path holds."""

    def __init__(self, app: ASGIApp, *, api: ASGIApp) -> None:
        self._pages = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and str(scope["path"]).startswith(f"{API}/"):
            scope["root_path"] = API
            await self._api(scope, receive, send)
        else:
            await self._pages(scope, receive, send)


def _now() -> datetime:
    return datetime.now(UTC)


def create_app(
    store: Store, settings: Settings, organisation: Organisation, *, clock: Callable[[], datetime] = _now
) -> FastAPI:
    """The desk over a migrated store. ``clock`` gives an aware moment."""
    app = FastAPI(title="mailrouter", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = Desk(store, settings, organisation, clock)
    app.mount("/static", _Kept(directory=STATIC), name="static")
    pages = (health, login, links, status, queue, events, guide, templates, files, acts, case, overview, users, admin)
    for room in pages:
        app.include_router(room.router)
    errors.install(app)
    app.add_middleware(Safety, broken=errors.error_page, https=settings.desk.secure_cookies)
    app.add_middleware(_Programs, api=create_api(app.state.desk))
    return app
