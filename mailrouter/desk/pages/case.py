"""One case on one page: the letter, the suggestion with its reasons, what can be decided, and the history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from mailrouter import answers, deadlines, letter, undo
from mailrouter.classify import sensitive
from mailrouter.desk import choices, done, presence, queries, words
from mailrouter.desk.auth import Act, Visitor
from mailrouter.desk.context import AtDesk, Desk, Reader
from mailrouter.desk.letterview import safe_filename, shown, words_behind
from mailrouter.desk.pages.queue import filter_of
from mailrouter.desk.queries import CaseFile, Filter
from mailrouter.desk.secrecy import note_reading
from mailrouter.diarium import ASSIGNMENT_MOVES, CASE_MOVES, EventKind
from mailrouter.letter import Letter
from mailrouter.organisation import Organisation
from mailrouter.tables import AnswerTemplate, Assignment, AssignmentState, Case, CaseState, Event, Mail

router = APIRouter()

HTML_VIEW = "html"
EMPTY = "tom"  # an answer without a template
_AT_DESK = (CaseState.OPEN, CaseState.QUARANTINED)
_REFUSED = (AssignmentState.RETURNED, AssignmentState.FAILED)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a form asked for, to be shown again when it could not be done."""

    chosen: str = ""
    other: str = ""
    also: tuple[str, ...] = ()
    note: str = ""
    draft: "Draft | None" = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer that somebody is writing: to ``refer`` it says whereto, else it answers the question itself."""

    refer: bool
    text: str
    whereto: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """How the page answers a form that was not carried out."""

    status: int = 200
    fault: str = ""
    stale: Event | None = None
    wish: Wish = field(default_factory=Wish)


@dataclass(frozen=True, slots=True)
class Open:
    """What can be done to the case as it stands, by the one who looks."""

    confirm: bool
    answer: bool
    set_aside: bool
    close: bool
    release: bool
    reopen: bool
    note: bool

    @property
    def anything(self) -> bool:
        """True when there is a decision to take."""
        return self.confirm or self.close or self.release or self.reopen or self.set_aside


@dataclass(frozen=True, slots=True)
class Look:
    """What of the case is looked at: which of its mails and how, and which template an answer is begun from."""

    mail: int = 0
    html: bool = False
    template: str = ""
    numbers: bool = False  # also those of persons and cards


@router.get("/arende/{number}")
def show(
    request: Request,
    desk: AtDesk,
    visitor: Reader,
    number: str,
    lada: str = "",
    sok: str = "",
    enhet: str = "",
    flagga: str = "",
    klart: str = "",
    mejl: int = 0,
    visning: str = "",
    mall: str = "",
) -> Response:
    """The case's page; the tray somebody came from goes along, for next and previous."""
    wanted = filter_of(lada, sok, enhet, flagga)
    look = Look(mejl, html=visning == HTML_VIEW, template=mall)
    return page(request, desk, visitor, number, wanted, look=look, left=klart)


def page(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    number: str,
    wanted: Filter,
    *,
    answer: Answer | None = None,
    look: Look | None = None,
    left: str = "",
) -> Response:
    """The case as it stands now. Raises NoSuchCaseError."""
    answer, look = answer or Answer(), look or Look()
    with desk.store.read() as session:
        file = queries.case_file(session, queries.find(session, visitor, number))
        mail = _chosen_mail(file, look.mail)
        octets = queries.octets(session, file.case, mail.id) if mail else None
        now = desk.clock()
        busy = presence.held_by_others(session, visitor, now, desk.hold)
        following = queries.neighbour(session, visitor, wanted, file.case, besides=busy)
        before = queries.neighbour(session, visitor, wanted, file.case, back=True)
        templates = answers.templates(session)
        related = queries.related(session, visitor, file.case)
        notice = done.notice(session, visitor, left, now=now, within=desk.undo_window)
        if notice is None and undo.undoable(session, file.case, now=now, within=desk.undo_window):
            notice = done.notice(session, visitor, number, now=now, within=desk.undo_window)
    holder = presence.look_in(desk.store, file.case, visitor, now, desk.hold) if visitor.may(Act.SORT) else None
    held = holder if holder and holder.user_id != visitor.user_id else None
    note_reading(desk, visitor.name, file.case)
    read = letter.parse(octets) if octets is not None else None
    today = desk.today()
    candidates = choices.candidates(file.case.suggestion, desk.organisation, today)
    refused = {part.unit for part in file.parts if part.state in _REFUSED}
    wish = answer.wish.chosen or (choices.OTHER if answer.wish.other else "")
    said = _said(desk, request, file.case, numbers=look.numbers)
    return desk.render(
        request,
        "case.html",
        visitor,
        status=answer.status,
        answer=answer,
        file=file,
        case=file.case,
        mail=mail,
        letter=read,
        filenames=_filenames(read),
        said=said,
        has_numbers=not look.numbers and _has_numbers(file.case, read),
        related=related,
        place=[name for name, _ in words_behind(file.case.suggestion, "place")],
        as_html=look.html and bool(read and read.html),
        open=_open(file, visitor, free=held is None),
        held=held,
        part_acts={part.id: _part_acts(file, part, visitor) for part in file.parts},
        candidates=candidates,
        refused=refused,
        templates=templates,
        draft=answer.wish.draft or _draft(file.case, templates, look.template, desk.organisation),
        answer_to=answers.address_of(file.case, file.mails[0]) if file.mails else "",
        delay_notice=_delay_notice(file, visitor, today, desk.settings.deadline.delay_weeks),
        EMPTY=EMPTY,
        marked=wish or choices.marked(file.case.suggestion, candidates, refused),
        catalogue=choices.catalogue(desk.organisation, today),
        OTHER=choices.OTHER,
        organisation=desk.organisation,
        wanted=wanted,
        following=following,
        before=before,
        notice=notice,
    )


def _chosen_mail(file: CaseFile, mejl: int) -> Mail | None:
    """The mail asked for, else the one that opened the case."""
    return next((mail for mail in file.mails if mail.id == mejl), file.mails[0] if file.mails else None)


def _draft(case: Case, templates: Sequence[AnswerTemplate], wanted: str, organisation: Organisation) -> Draft | None:
    """The answer as the template begins it; None when none was chosen."""
    if wanted == EMPTY:
        return Draft(refer=False, text=answers.filled(answers.EMPTY, case))
    chosen = next((template for template in templates if str(template.id) == wanted), None)
    if chosen is None:
        return None
    refer = chosen.purpose == answers.REFER
    unit = organisation.units.get(chosen.target)
    whereto = (unit.name if unit else chosen.title) if refer else ""
    return Draft(refer, answers.filled(chosen.text, case), whereto)


def _said(desk: Desk, request: Request, case: Case, *, numbers: bool) -> Callable[[str], Markup]:
    """How the page shows what a citizen wrote."""
    _ = desk.language_of(request).gettext
    kinds = {kind: _(name) for kind, name in words.NUMBERS.items()}
    return partial(shown, words=words_behind(case.suggestion), numbers=numbers, kinds=kinds)


def _has_numbers(case: Case, read: Letter | None) -> bool:
    texts = [case.subject]
    if read is not None:
        texts += [read.text, read.body, read.signature, read.quoted, *(value for _, value in read.fields)]
    return any(sensitive.find(text) for text in texts)


def _filenames(read: Letter | None) -> list[str]:
    return [safe_filename(attachment, index) for index, attachment in enumerate(read.attachments)] if read else []


def _open(file: CaseFile, visitor: Visitor, *, free: bool) -> Open:
    state = file.case.state
    sorts = visitor.may(Act.SORT) and free
    return Open(
        confirm=sorts and (state, EventKind.CONFIRMED) in CASE_MOVES,
        answer=sorts and state in _AT_DESK,
        set_aside=sorts and state is CaseState.OPEN,
        close=sorts and (state, EventKind.CLOSED) in CASE_MOVES,
        release=sorts and (state, EventKind.RELEASED) in CASE_MOVES,
        reopen=sorts and (state, EventKind.REOPENED) in CASE_MOVES,
        note=sorts and state not in (CaseState.OPEN, CaseState.QUARANTINED) and bool(file.case.attention),
    )


def _delay_notice(file: CaseFile, visitor: Visitor, today: date, weeks: int) -> str:
    """A draft to the citizen when an answer is substantially late (FL 11 §); empty when none is, or nobody to tell."""
    late = [
        part
        for part in file.parts
        if part.state in deadlines.LIVE and part.paused_at is None and today >= part.answer_due + timedelta(weeks=weeks)
    ]
    may = visitor.may(Act.SORT) and file.mails and answers.address_of(file.case, file.mails[0])
    return answers.delay_notice(file.case, late) if late and may else ""


def _part_acts(file: CaseFile, part: Assignment, visitor: Visitor) -> Mapping[str, bool]:
    """What can be done to a förvaltning's part; a registrator settles only her own unit's."""
    mine = visitor.may(Act.SETTLE) and visitor.only_unit in (None, part.unit)
    under_way = file.case.state in (CaseState.ROUTED, CaseState.OPEN)
    back = (file.case.state, EventKind.RETURNED) in CASE_MOVES
    return {
        "answered": mine and under_way and (part.state, AssignmentState.ANSWERED) in ASSIGNMENT_MOVES,
        "give_back": mine and back and (part.state, AssignmentState.RETURNED) in ASSIGNMENT_MOVES,
        "number": mine and part.state in (AssignmentState.DELIVERED, AssignmentState.ANSWERED),
        "pause": mine and under_way and part.state in deadlines.LIVE and part.paused_at is None,
        "resume": mine and under_way and part.state in deadlines.LIVE and part.paused_at is not None,
    }
