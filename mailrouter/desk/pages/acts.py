"""Decisions: every form of a case's page ends here. The rules are triage's; this room says what came of it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlmodel import Session
from starlette.responses import Response

from mailrouter import answers, deadlines, diarium, restrictions, triage, undo
from mailrouter.desk import choices, presence, queries, trays
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.context import AtDesk, Desk, Field, ForbiddenError, Writer, require, see
from mailrouter.desk.language import Gettext
from mailrouter.desk.pages.case import Answer, Draft, Look, Wish, page
from mailrouter.desk.pages.queue import filter_of
from mailrouter.desk.presence import HeldError
from mailrouter.desk.queries import Filter
from mailrouter.diarium import DiariumError, EventKind, IllegalMoveError, NoSuchCaseError, StaleError
from mailrouter.tables import Assignment, Case, Restriction
from mailrouter.triage import Choice, CloseReason

log = logging.getLogger(__name__)

router = APIRouter(prefix="/arende/{number}")

LONGEST_NOTE = 2000
LONGEST_NUMBER = 100
LIFTED = "ingen"  # no restriction any more
LONGEST_WHERETO = 200


class RefusedError(Exception):
    """The form cannot be carried out; the message stands beside it in the person's language."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A form with the case it is about, the version that was seen and the tray the person came from."""

    request: Request
    desk: Desk
    visitor: Visitor
    number: str
    seen: int
    wanted: Filter

    @property
    def gettext(self) -> Gettext:
        """Sentences in the person's language."""
        return self.desk.language_of(self.request).gettext


def _sent(
    request: Request,
    desk: AtDesk,
    visitor: Writer,
    number: str,
    seen: Annotated[int, Form(ge=0, lt=2**31)],
    lada: Field = "",
    sok: Field = "",
    enhet: Field = "",
    flagga: Field = "",
) -> Sent:
    return Sent(request, desk, visitor, number, seen, filter_of(lada, sok, enhet, flagga))


ASent = Annotated[Sent, Depends(_sent)]
Decide = Callable[[Session, Case, datetime], object]


@router.post("/bekrafta")
def confirm(
    sent: ASent,
    val: Field = "",
    annan: Field = "",
    aven: Annotated[list[str], Form()] = [],  # noqa: B006 (FastAPI copies it)
) -> Response:
    """Send the letter to the chosen receivers."""
    wish = Wish(val, annan, tuple(aven))

    def decide(session: Session, case: Case, now: datetime) -> object:
        chosen = _chosen(sent, wish, queries.parts(session, case))
        return triage.confirm(
            session,
            case.id,
            chosen,
            seen=sent.seen,
            actor=sent.visitor.name,
            now=now,
            organisation=sent.desk.organisation,
            settings=sent.desk.settings,
            delay=sent.desk.undo_window,
        )

    return _carry_out(sent, Act.SORT, decide, wish=wish)


def _chosen(sent: Sent, wish: Wish, parts: Sequence[Assignment]) -> list[Choice]:
    """The receivers a form names. Raises RefusedError rather than guess between two answers."""
    _ = sent.gettext
    if wish.other and wish.chosen not in ("", choices.OTHER):
        raise RefusedError(_("Du har markerat ett förslag och dessutom valt en annan mottagare. Välj en av dem."))
    if wish.chosen == choices.OTHER and not wish.other:
        raise RefusedError(_("Du har markerat Annan mottagare. Välj vilken i listan."))
    first = wish.other if wish.chosen in ("", choices.OTHER) else wish.chosen
    values = [value for value in (first, *wish.also) if value]
    if not values:
        raise RefusedError(_("Välj vem som ska ha mejlet."))
    found: dict[str, Choice] = {}
    for value in values:
        read = choices.read_value(value, sent.desk.organisation)
        if read is None:
            raise RefusedError(_("En av mottagarna finns inte längre. Välj igen."))
        unit = sent.desk.organisation.units[read[0]]
        if not unit.mailbox or not unit.answers_on(sent.desk.today()):
            raise RefusedError(_("Dit går det inte att skicka: {unit}.").format(unit=unit.name))
        found.setdefault(read[0], Choice(*read))
    busy = [part.unit_name for part in parts if part.unit in found and part.state in triage.LIVE]
    if busy:
        raise RefusedError(_("Har redan fått ärendet: {unit}.").format(unit=", ".join(busy)))
    return list(found.values())


@router.post("/avsluta")
def close(sent: ASent, skal: Field = "", hanvisad: Field = "", anteckning: Field = "") -> Response:
    """End the case without a forward."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _ = sent.gettext
        if skal not in set(CloseReason):
            raise RefusedError(_("Välj varför ärendet avslutas."))
        unit = sent.desk.organisation.units.get(hanvisad)
        if skal == CloseReason.HANVISAT and unit is None and not anteckning.strip():
            raise RefusedError(_("Välj vart avsändaren hänvisas, eller skriv det i anteckningen."))
        referred = unit.name if unit and skal == CloseReason.HANVISAT else ""
        note = ". ".join(part for part in (referred, anteckning.strip()[:LONGEST_NOTE]) if part)
        return triage.close(
            session, case.id, CloseReason(skal), note=note, seen=sent.seen, actor=sent.visitor.name, now=now
        )

    return _carry_out(sent, Act.SORT, decide, wish=Wish(note=anteckning))


@router.post("/svara")
def answer(sent: ASent, text: Field = "", hanvisa: Field = "", vart: Field = "") -> Response:
    """Answer the citizen, or refer them elsewhere, and end the case."""
    _ = sent.gettext
    refer, whereto = bool(hanvisa), " ".join(vart.split())[:LONGEST_WHERETO]

    def decide(session: Session, case: Case, now: datetime) -> object:
        if refer and not whereto:
            raise RefusedError(_("Skriv vart avsändaren hänvisas."))
        try:
            return answers.answer(
                session,
                case.id,
                text,
                reason=CloseReason.HANVISAT if refer else CloseReason.BESVARAT_DIREKT,
                note=whereto if refer else "",
                seen=sent.seen,
                actor=sent.visitor.name,
                now=now,
                delay=sent.desk.undo_window,
            )
        except answers.NobodyToAnswerError as error:
            raise RefusedError(
                _("Det finns ingen att svara: mejlet saknar adress eller kommer från ett program.")
            ) from error
        except answers.UnfinishedError as error:
            raise RefusedError(_("Svaret är inte klart: skriv färdigt det som står inom hakparentes.")) from error

    return _carry_out(sent, Act.SORT, decide, wish=Wish(draft=Draft(refer, text, whereto)))


@router.post("/at-sidan")
def set_aside(sent: ASent, orsak: Field = "") -> Response:
    """Take the case out of the queue, with the reason for whoever takes it up."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        reason = orsak.strip()[:LONGEST_NOTE]
        if not reason:
            raise RefusedError(sent.gettext("Skriv varför ärendet ställs åt sidan."))
        return triage.set_aside(session, case.id, reason=reason, seen=sent.seen, actor=sent.visitor.name, now=now)

    return _carry_out(sent, Act.SORT, decide)


@router.post("/begransa")
def restrict(sent: ASent, skydd: Field = "", orsak: Field = "") -> Response:
    """Say who may read the case; whoever may not from now on goes to the next one."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _ = sent.gettext
        if skydd not in (LIFTED, *Restriction) or skydd == case.restricted:
            raise RefusedError(_("Välj vem som får läsa ärendet."))
        reason = orsak.strip()[:LONGEST_NOTE]
        if not reason:
            raise RefusedError(_("Skriv varför det ändras vem som får läsa ärendet."))
        chosen = None if skydd == LIFTED else Restriction(skydd)
        return restrictions.change(
            session, case.id, chosen, reason=reason, seen=sent.seen, actor=sent.visitor.name, now=now
        )

    return _carry_out(sent, Act.SORT, decide, stay=skydd == LIFTED or skydd in sent.visitor.clearances)


@router.post("/angra")
def take_back(sent: ASent) -> Response:
    """Undo the last decision while nothing of it has left."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        try:
            return undo.take_back(
                session, case.id, seen=sent.seen, actor=sent.visitor.name, now=now, within=sent.desk.undo_window
            )
        except IllegalMoveError:
            raise
        except triage.TriageError as error:
            raise RefusedError(
                sent.gettext("Det är för sent att ångra: beslutet är redan på väg. Öppna ärendet igen i stället.")
            ) from error

    return _carry_out(sent, Act.SORT, decide, stay=True)


@router.post("/visa-nummer")
def show_numbers(sent: ASent, mejl: Annotated[int, Form(ge=0, lt=2**31)] = 0) -> Response:
    """The page with the numbers of persons and cards that are hidden else; that somebody asked is an event."""
    with sent.desk.store.write() as session:
        case = diarium.lock(session, queries.find(session, sent.visitor, sent.number).id)
        detail = {"what": "sensitive-numbers", "mail": mejl}
        diarium.record(session, case, EventKind.READ, actor=sent.visitor.name, now=sent.desk.clock(), detail=detail)
    look = Look(mejl, numbers=True)
    return page(sent.request, sent.desk, sent.visitor, sent.number, sent.wanted, look=look)


@router.post("/ta-over")
def take_over(sent: ASent) -> Response:
    """Hold the case from now on, whoever had it open first."""
    require(sent.visitor, Act.SORT)
    with sent.desk.store.write() as session:
        case = queries.find(session, sent.visitor, sent.number)
        presence.take_over(session, diarium.lock(session, case.id), sent.visitor, sent.desk.clock())
    return see(f"/arende/{case.number}", sent.wanted.query())


@router.post("/lamna")
def leave(sent: ASent) -> Response:
    """The page was closed: the case is free for others at once."""
    with sent.desk.store.write() as session:
        case = queries.find(session, sent.visitor, sent.number)
        presence.close_page(session, case.id, sent.visitor, sent.desk.clock())
    return Response(status_code=204)


@router.post("/las-igen")
def release(sent: ASent) -> Response:
    """Take the letter out of quarantine and read it again."""
    return _carry_out(
        sent,
        Act.SORT,
        lambda session, case, now: triage.release(session, case.id, seen=sent.seen, actor=sent.visitor.name, now=now),
        stay=True,
    )


@router.post("/last")
def noted(sent: ASent) -> Response:
    """Somebody has read why the case asks for attention."""
    return _carry_out(
        sent,
        Act.SORT,
        lambda session, case, now: triage.noted(session, case.id, seen=sent.seen, actor=sent.visitor.name, now=now),
        stay=True,
    )


@router.post("/oppna-igen")
def reopen(sent: ASent, orsak: Field = "") -> Response:
    """Take an ended case up again."""
    reason = orsak.strip()[:LONGEST_NOTE]
    return _carry_out(
        sent,
        Act.SORT,
        lambda session, case, now: triage.reopen(
            session, case.id, reason=reason, seen=sent.seen, actor=sent.visitor.name, now=now
        ),
        stay=True,
    )


@router.post("/del/{part_id}/besvarad")
def answered(sent: ASent, part_id: int) -> Response:
    """The förvaltning has answered the citizen."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _own_part(sent, session, case, part_id)
        return triage.answered(session, case.id, part_id, seen=sent.seen, actor=sent.visitor.name, now=now)

    return _carry_out(sent, Act.SETTLE, decide, stay=True)


@router.post("/del/{part_id}/aterlamna")
def give_back(sent: ASent, part_id: int, orsak: Field = "") -> Response:
    """Fel förvaltning: back to the desk, with the reason."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _own_part(sent, session, case, part_id)
        reason = orsak.strip()[:LONGEST_NOTE]
        if not reason:
            raise RefusedError(sent.gettext("Skriv varför ärendet lämnas tillbaka."))
        return triage.give_back(
            session, case.id, part_id, reason=reason, seen=sent.seen, actor=sent.visitor.name, now=now
        )

    return _carry_out(sent, Act.SETTLE, decide, stay=True)


@router.post("/del/{part_id}/pausa")
def pause(sent: ASent, part_id: int, orsak: Field = "") -> Response:
    """Stop the answer clock of a part."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _own_part(sent, session, case, part_id)
        reason = " ".join(orsak.split())[: deadlines.LONGEST_REASON]
        if not reason:
            raise RefusedError(sent.gettext("Skriv vad förvaltningen väntar på."))
        return deadlines.pause(
            session, case.id, part_id, reason=reason, seen=sent.seen, actor=sent.visitor.name, now=now,
            settings=sent.desk.settings, organisation=sent.desk.organisation,
        )  # fmt: skip

    return _carry_out(sent, Act.SETTLE, decide, stay=True)


@router.post("/del/{part_id}/fortsatt")
def resume(sent: ASent, part_id: int) -> Response:
    """Let the answer clock of a part run on."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _own_part(sent, session, case, part_id)
        return deadlines.resume(
            session, case.id, part_id, seen=sent.seen, actor=sent.visitor.name, now=now,
            settings=sent.desk.settings, organisation=sent.desk.organisation,
        )  # fmt: skip

    return _carry_out(sent, Act.SETTLE, decide, stay=True)


@router.post("/besked")
def tell(sent: ASent, text: Field = "") -> Response:
    """Tell the citizen of a delay; the case stays as it is."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        try:
            return answers.tell(
                session, case.id, text, seen=sent.seen, actor=sent.visitor.name, now=now, delay=sent.desk.undo_window
            )
        except answers.UnfinishedError as error:
            raise RefusedError(
                sent.gettext("Svaret är inte klart: skriv färdigt det som står inom hakparentes.")
            ) from error

    return _carry_out(sent, Act.SORT, decide, stay=True)


@router.post("/del/{part_id}/diarienummer")
def set_diarienummer(sent: ASent, part_id: int, diarienummer: Field = "") -> Response:
    """Keep the förvaltning's own number."""

    def decide(session: Session, case: Case, now: datetime) -> object:
        _own_part(sent, session, case, part_id)
        value = diarienummer.strip()
        if not value or len(value) > LONGEST_NUMBER:
            raise RefusedError(sent.gettext("Ett diarienummer har mellan 1 och 100 tecken."))
        return triage.set_diarienummer(
            session, case.id, part_id, value, seen=sent.seen, actor=sent.visitor.name, now=now
        )

    return _carry_out(sent, Act.SETTLE, decide, stay=True)


def _own_part(sent: Sent, session: Session, case: Case, part_id: int) -> None:
    """Raise unless the part belongs to the case, and to the registrator's unit where there is one."""
    part = next((part for part in queries.parts(session, case) if part.id == part_id), None)
    if part is None:
        raise NoSuchCaseError("there is no such part")
    if sent.visitor.only_unit not in (None, part.unit):
        raise ForbiddenError


def _carry_out(sent: Sent, act: Act, decide: Decide, *, wish: Wish | None = None, stay: bool = False) -> Response:
    """One decision in one transaction; then the next case of the tray, or the same one when ``stay``.

    Whatever keeps it from being done is said on the case's page as it is by then.
    """
    require(sent.visitor, act)
    _ = sent.gettext
    try:
        with sent.desk.store.write() as session:
            case = queries.find(session, sent.visitor, sent.number)
            place = trays.place_of(case, sent.wanted.tray)
            now = sent.desk.clock()
            diarium.refuse_stale(session, diarium.lock(session, case.id), sent.seen)
            if act is Act.SORT:
                presence.refuse_held(session, case, sent.visitor, now, sent.desk.hold)
            decide(session, case, now)
            if not stay:
                presence.leave(session, case.id, sent.visitor)
    except NoSuchCaseError:
        raise
    except (HeldError, RefusedError, DiariumError) as error:
        return _refuse(sent, _why_not(sent, error, wish or Wish()))
    if stay:
        return see(f"/arende/{case.number}", sent.wanted.query(), klart=case.number)
    with sent.desk.store.read() as session:
        busy = presence.held_by_others(session, sent.visitor, now, sent.desk.hold)
        following = queries.neighbour(session, sent.visitor, sent.wanted, case, place, besides=busy) or queries.first(
            session, sent.visitor, sent.wanted, besides=busy
        )
    path = f"/arende/{following}" if following else "/"
    return see(path, sent.wanted.query(), klart=case.number)


def _refuse(sent: Sent, answer: Answer) -> Response:
    return page(sent.request, sent.desk, sent.visitor, sent.number, sent.wanted, answer=answer)


def _why_not(sent: Sent, error: Exception, wish: Wish) -> Answer:
    """What kept a decision from being carried out, in the person's language."""
    _ = sent.gettext
    match error:
        case StaleError():
            return Answer(409, stale=error.event, wish=wish)
        case HeldError():
            return Answer(409, _("{who} har ärendet öppet.").format(who=error.holder.name), wish=wish)
        case RefusedError():
            return Answer(422, str(error), wish=wish)
        case IllegalMoveError():
            return Answer(409, _("Ärendet är inte längre i ett läge där det går. Så här ser det ut nu."))
    log.warning("decision-refused case=%s error=%s", sent.number, type(error).__name__)
    return Answer(422, _("Det gick inte att göra. Kontrollera valet och försök igen."))
