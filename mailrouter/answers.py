"""Answers that end a case at the contact centre: written from a template, sent to the citizen, kept in the register.

A simple question is answered, and a matter that is somebody else's (Västtrafik, regionen, a neighbouring
municipality) is referred there. Either way the case is closed with its reason, and a person has written the answer.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from mailrouter import diarium, number, triage
from mailrouter.compose.common import day
from mailrouter.diarium import EventKind
from mailrouter.letter import Nature
from mailrouter.tables import AnswerTemplate, Assignment, Case, Dispatch, DispatchKind, Mail
from mailrouter.triage import CloseReason, TriageError

ANSWER, REFER = "answer", "refer"  # AnswerTemplate.purpose
LONGEST_TEXT = 20_000
LONGEST_TITLE = 80
GREETING = "Med vänlig hälsning\nDin servicevägledare"
DELAY = """Hej!

Ditt ärende {nummer} skulle ha varit besvarat {dag}. Det är försenat hos {förvaltning}.

[Skriv varför det dröjer, och när svaret väntas komma.]

{hälsning}
"""  # a notice of substantial delay, for a person to finish (FL 11 §)
EMPTY = "Hej!\n\n\n\n{hälsning}\n"

_BLANK = re.compile(r"\[[^\[\]\n]{1,200}\]")  # what a template leaves for a person to fill in
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class NobodyToAnswerError(TriageError):
    """The mail has no address to answer to, or a program wrote it."""


class UnfinishedError(TriageError):
    """The text is empty, too long, or still has something in square brackets to fill in."""


def templates(session: Session, *, all_of_them: bool = False) -> Sequence[AnswerTemplate]:
    """The templates by purpose and title; those put aside only when asked for."""
    statement = select(AnswerTemplate).order_by(col(AnswerTemplate.purpose), col(AnswerTemplate.title))
    if not all_of_them:
        statement = statement.where(col(AnswerTemplate.active).is_(True))
    return session.exec(statement).all()


def filled(text: str, case: Case) -> str:
    """A template's text for a case: ``{nummer}`` and ``{hälsning}`` are put in, all else stays as it is."""
    return text.replace("{nummer}", case.number).replace("{hälsning}", GREETING)


def delay_notice(case: Case, parts: Sequence[Assignment]) -> str:
    """The beginning of a notice that the answer of those who have ``parts`` is late."""
    units = ", ".join(part.unit_name for part in parts)
    due = day(min((part.answer_due for part in parts), default=case.answer_due))
    return filled(DELAY, case).replace("{dag}", due).replace("{förvaltning}", units)


def tell(
    session: Session,
    case_id: int,
    text: str,
    *,
    seen: int | None,
    actor: str,
    now: datetime,
    delay: timedelta = timedelta(),
) -> Case:
    """Send ``text`` to the citizen and leave the case as it is, as for a notice of delay; why it asked is noted.

    Raises NobodyToAnswerError, UnfinishedError or StaleError.
    """
    words = "\n".join(line.rstrip() for line in text.strip().splitlines())
    _refuse_unfinished(session, words)
    case = diarium.lock(session, case_id)
    if seen is not None:
        diarium.refuse_stale(session, case, seen)
    opening = triage.opening_mail(session, case_id)
    recipient = address_of(case, opening)
    if not recipient:
        raise NobodyToAnswerError("there is nobody to tell: the mail has no address, or a program wrote it")
    detail = {"attention": case.attention, "recipient": recipient, "note": "Medborgaren underrättas."}
    case.attention = ""
    diarium.record(session, case, EventKind.NOTED, actor=actor, now=now, detail=detail)
    session.add(_mail_of(case, opening, recipient, words, now, delay))
    session.flush()
    return case


def address_of(case: Case, opening: Mail) -> str:
    """Where an answer goes; empty when there is nobody: no address, or a program wrote the mail.

    ``contact`` is what reading found. A case from before it was kept has its sender, if that was a person.
    """
    if case.contact:
        return case.contact
    person = opening.nature == Nature.HUMAN
    return case.sender if person and _ADDRESS.fullmatch(case.sender) else ""


def answer(
    session: Session,
    case_id: int,
    text: str,
    *,
    reason: CloseReason,
    note: str,
    seen: int | None,
    actor: str,
    now: datetime,
    delay: timedelta = timedelta(),
) -> Case:
    """Send ``text`` to the citizen and close the case; ``delay`` is how long it can be undone (undo.py).

    Raises NobodyToAnswerError, UnfinishedError, or what ``triage.close`` raises.
    """
    words = "\n".join(line.rstrip() for line in text.strip().splitlines())
    _refuse_unfinished(session, words)
    opening = triage.opening_mail(session, case_id)
    recipient = address_of(session.get_one(Case, case_id), opening)
    if not recipient:
        raise NobodyToAnswerError("there is nobody to answer: the mail has no address, or a program wrote it")
    case = triage.close(session, case_id, reason, note=note, seen=seen, actor=actor, now=now, recipient=recipient)
    session.add(_mail_of(case, opening, recipient, words, now, delay))
    session.flush()
    return case


def _mail_of(case: Case, opening: Mail, recipient: str, text: str, now: datetime, delay: timedelta) -> Dispatch:
    return Dispatch(
        case_id=case.id,
        mail_id=opening.id,
        kind=DispatchKind.ANSWER,
        recipient=recipient,
        token=number.new_token(),
        created_at=now,
        due_at=now + delay,
        text=text,
    )


def _refuse_unfinished(session: Session, text: str) -> None:
    if not text or len(text) > LONGEST_TEXT:
        raise UnfinishedError(f"an answer has between 1 and {LONGEST_TEXT} characters")
    texts = [DELAY, *(template.text for template in templates(session, all_of_them=True))]
    known = {blank for one in texts for blank in _BLANK.findall(one)}
    left = [blank for blank in _BLANK.findall(text) if blank in known]
    if left:
        raise UnfinishedError(f"still to be filled in: {', '.join(left)}")


def keep_template(
    session: Session,
    template_id: int | None,
    *,
    title: str,
    purpose: str,
    target: str,
    text: str,
    active: bool,
    actor: str,
    now: datetime,
) -> AnswerTemplate:
    """Write a template, a new one when ``template_id`` is None. Raises TriageError.

    Cases that were answered keep the words they were answered with.
    """
    title, text = " ".join(title.split()), text.strip()
    if not title or len(title) > LONGEST_TITLE or not text or len(text) > LONGEST_TEXT:
        raise TriageError("a template has a title and a text")
    if purpose not in (ANSWER, REFER):
        raise TriageError(f"a template is to {ANSWER} or to {REFER}")
    namesake = session.exec(select(AnswerTemplate).where(AnswerTemplate.title == title)).first()
    if namesake is not None and namesake.id != template_id:
        raise TriageError(f"there is a template {title!r} already")
    if template_id is not None and session.get(AnswerTemplate, template_id, with_for_update=True) is None:
        raise diarium.NoSuchCaseError("there is no such template")
    template = AnswerTemplate(
        title=title, purpose=purpose, target=target, text=f"{text}\n", active=active, changed_at=now, changed_by=actor
    )
    if template_id is not None:
        template.id = template_id
    template = session.merge(template)
    session.flush()
    return template
