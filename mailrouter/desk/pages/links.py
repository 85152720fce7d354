"""The pages behind the links in a cover note: no login, since the link itself is the key.

Opening one changes nothing, because mail scanners and previews open every link; only its form acts. A page
names the case and shows nothing of the citizen, so that a link that is passed on gives nothing away.
"""

import logging
import math
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlmodel import Session, select
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mailrouter import signing, triage
from mailrouter.compose.caution import subject_of
from mailrouter.compose.links import LinkAct, is_ours
from mailrouter.desk import auth
from mailrouter.desk.context import AtDesk, Desk, Field
from mailrouter.desk.language import N_
from mailrouter.diarium import DiariumError
from mailrouter.tables import Assignment, AssignmentState, Case, Dispatch

log = logging.getLogger(__name__)

router = APIRouter(prefix="/svar/{act}/{token}/{signature}")

LONGEST_NUMBER = 100
LONGEST_REASON = 2000

_OPEN = frozenset({AssignmentState.SENDING, AssignmentState.DELIVERED})
_TITLES = {
    LinkAct.DIARIENUMMER: N_("Lämna diarienummer"),
    LinkAct.RETURN: N_("Fel förvaltning"),
    LinkAct.ANSWERED: N_("Medborgaren har fått svar"),
}
_DONE = {
    LinkAct.DIARIENUMMER: N_("Tack! Diarienumret står nu i ärendet."),
    LinkAct.RETURN: N_("Tack! Ärendet är tillbaka hos kontaktcenter, som väljer en annan förvaltning."),
    LinkAct.ANSWERED: N_("Tack! Ärendet är besvarat. Ni får inga fler påminnelser om det."),
}
_USED = {  # why a link has lost its use
    AssignmentState.ANSWERED: N_("Ärendet är redan besvarat. Du behöver inte göra något mer."),
    AssignmentState.RETURNED: N_("Ärendet är redan tillbaka hos kontaktcenter. Du behöver inte göra något mer."),
    AssignmentState.WITHDRAWN: N_("Kontaktcenter har dragit tillbaka ärendet. Du behöver inte göra något mer."),
    AssignmentState.FAILED: N_("Mejlet till er kom aldrig fram, och kontaktcenter har tagit hand om ärendet."),
}


@dataclass(frozen=True, slots=True)
class _Link:
    """A genuine link and what it leads to, as it stands now."""

    act: LinkAct
    case: Case
    part: Assignment
    recipient: str

    @property
    def used(self) -> str:
        """Why it has lost its use, or empty. A number may be told, and mended, until the case leaves the unit."""
        if self.part.state in _OPEN or (
            self.act is LinkAct.DIARIENUMMER and self.part.state is AssignmentState.ANSWERED
        ):
            return ""
        return _USED[self.part.state]


def _link(request: Request, desk: AtDesk, act: str, token: str, signature: str) -> _Link:
    """The link that was opened. Raises HTTPException 404 for any that we did not make, and 429 for many of those."""
    with desk.store.read() as session:
        keys = signing.keys(session, desk.settings.city)
        wanted = next((one for one in LinkAct if one == act), None)
        found = _find(session, wanted, token) if wanted and is_ours(wanted, token, signature, keys) else None
    if found is None:
        _slow_down(request, desk, "")
        raise HTTPException(404)
    return found


def _find(session: Session, act: LinkAct, token: str) -> _Link | None:
    dispatch = session.exec(select(Dispatch).where(Dispatch.token == token.lower())).first()
    if dispatch is None or dispatch.assignment_id is None:
        return None
    part = session.get_one(Assignment, dispatch.assignment_id)
    return _Link(act, session.get_one(Case, part.case_id), part, dispatch.recipient)


def _slow_down(request: Request, desk: Desk, token: str) -> None:
    """Raise HTTPException 429 when too much comes from one address, or for one link.

    Broken links are counted apart, so that whoever guesses keeps nobody behind the same address from answering.
    """
    client = request.client.host if request.client else ""
    if wait := auth.count_try(desk.store, token, f"{'link' if token else 'broken link'} {client}", desk.clock()):
        log.warning("link-throttled")
        raise HTTPException(429, headers={"Retry-After": str(math.ceil(wait.total_seconds()))})


ALink = Annotated[_Link, Depends(_link)]


@router.get("")
def show(request: Request, desk: AtDesk, link: ALink) -> Response:
    """What the link is for, with a button; nothing is changed."""
    return _page(request, desk, link)


@router.post("")
def act(request: Request, desk: AtDesk, link: ALink, token: str, nummer: Field = "", skal: Field = "") -> Response:
    """Do it, in the name of the mailbox that got the link."""
    _slow_down(request, desk, token.lower())
    if link.used:
        return _page(request, desk, link)
    said = {LinkAct.DIARIENUMMER: nummer.strip(), LinkAct.RETURN: skal.strip(), LinkAct.ANSWERED: ""}[link.act]
    if fault := _fault(link.act, said):
        return _page(request, desk, link, fault=fault, said=said, status=400)
    try:
        with desk.store.write() as session:
            _do(session, desk, link, said)
    except DiariumError:
        log.info("link-refused case=%s act=%s", link.case.number, link.act)
        fault = N_("Det gick inte att göra just nu. Svara på mejlet i stället, så hjälper kontaktcenter er.")
        return _page(request, desk, link, fault=fault, said=said, status=409)
    log.info("link-done case=%s act=%s", link.case.number, link.act)
    return _page(request, desk, link, done=_DONE[link.act])


def _fault(act: LinkAct, said: str) -> str:
    if act is LinkAct.DIARIENUMMER and not 0 < len(said) <= LONGEST_NUMBER:
        return N_("Skriv ert diarienummer, högst 100 tecken.")
    if act is LinkAct.RETURN and not 0 < len(said) <= LONGEST_REASON:
        return N_("Skriv varför det är fel, och gärna vilken förvaltning som är rätt.")
    return ""


def _do(session: Session, desk: Desk, link: _Link, said: str) -> None:
    who, now = f"länk: {link.recipient}", desk.clock()
    match link.act:
        case LinkAct.DIARIENUMMER:
            triage.set_diarienummer(session, link.case.id, link.part.id, said, seen=None, actor=who, now=now)
        case LinkAct.RETURN:
            triage.give_back(session, link.case.id, link.part.id, reason=f"”{said}”", seen=None, actor=who, now=now)
        case LinkAct.ANSWERED:
            triage.answered(session, link.case.id, link.part.id, seen=None, actor=who, now=now)


def _page(
    request: Request, desk: Desk, link: _Link, *, done: str = "", fault: str = "", said: str = "", status: int = 200
) -> Response:
    """A page for people on whatever device, who read nothing but this."""
    return desk.render(
        request,
        "link.html",
        status=status,
        act=link.act,
        title=_TITLES[link.act],
        number=link.case.number,
        about=subject_of(link.case),
        part=link.part,
        used="" if done else link.used,
        done=done,
        fault=fault,
        said=said,
    )
