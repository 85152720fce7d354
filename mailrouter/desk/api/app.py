"""The API as an application of its own, mounted beside the pages: its errors are problems, not pages."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from mailrouter.desk.api import deciding, problems, reading
from mailrouter.desk.api.door import Pace
from mailrouter.desk.api.models import Problem
from mailrouter.desk.context import Desk
from mailrouter.desk.safety import Safety

VERSION = "1.0.0"
_ABOUT = """\
What people do at the desk, for programs: a diarium system reads the cases of its unit, enters the diarienummer and
says when a case is answered. Times are UTC, dates are days in the city's time zone.

A decision sends `seen`, the `last_event` of the case as the client knows it. When something decisive has happened
since, it is refused with 409 and what happened. The same request sent twice is carried out once.
"""


def create_api(desk: Desk) -> FastAPI:
    """The API over a desk; mounted at /api/v1."""
    api = FastAPI(
        title="mailrouter",
        version=VERSION,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    api.state.desk = desk
    api.state.pace = Pace(desk.settings.desk.api_per_minute)
    api.include_router(reading.router)
    api.include_router(deciding.router)
    problems.install(api)
    api.add_middleware(Safety, broken=problems.broken, https=desk.settings.desk.secure_cookies)
    api.openapi = lambda: _description(api)  # type: ignore[method-assign]  # FastAPI's way to extend it
    return api


def _operation_id(route: APIRoute) -> str:
    return route.name


def _description(api: FastAPI) -> dict[str, Any]:
    """FastAPI's description and the model of problems, which no route returns by itself."""
    if not api.openapi_schema:
        described = get_openapi(
            title=api.title, version=api.version, description=api.description, routes=api.routes, servers=api.servers
        )
        for operation in (one for path in described["paths"].values() for one in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]  # FastAPI's own, which no route of ours answers
        for name in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(name, None)
        model = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        described["components"]["schemas"] |= model.pop("$defs", {}) | {"Problem": model}
        api.openapi_schema = described
    return api.openapi_schema
