"""Help: what the trays mean and which keys there are."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from mailrouter.desk.context import AtDesk, Reader

router = APIRouter()


@router.get("/hjalp")
def guide(request: Request, desk: AtDesk, visitor: Reader) -> Response:
    """The help page."""
    return desk.render(request, "help.html", visitor)
