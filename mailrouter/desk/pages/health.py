"""Is the service well? For load balancers and containers; holds nothing about people."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse

from mailrouter import restrictions
from mailrouter.desk import queries
from mailrouter.desk.context import AtDesk

router = APIRouter()

SILENCE = timedelta(seconds=60)


@router.get("/health")
def health(desk: AtDesk) -> JSONResponse:
    """200 when the database answers and every role that ever reported has done so within a minute, else 503.

    ``restricted_unseen`` counts restricted cases that wait for somebody who is cleared, when nobody is.
    """
    now = desk.clock()
    try:
        with desk.store.read() as session:
            beats = queries.heartbeats(session)
            unseen = restrictions.unseen(session)
    except SQLAlchemyError:
        return JSONResponse({"status": "down", "database": "down", "roles": {}}, 503)
    latest: dict[str, Any] = {}
    for beat in beats:
        latest[beat.role] = max(beat.at, latest.get(beat.role, beat.at))
    roles = {
        role: {"status": "up" if now - at <= SILENCE else "silent", "seconds": max(0, int((now - at).total_seconds()))}
        for role, at in sorted(latest.items())
    }
    well = all(role["status"] == "up" for role in roles.values())
    return JSONResponse(
        {"status": "up" if well else "degraded", "database": "up", "roles": roles, "restricted_unseen": unseen},
        200 if well else 503,
    )
