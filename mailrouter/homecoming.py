"""What came home by a token, applied to the register: a registrator's reply, a robot's receipt, a number in a subject.

replies.py says what a reply means; here it becomes a decision in the registrator's name, by the same
functions that the desk uses. What is not plain, or not allowed, asks for a person, with the words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from mailrouter import diarium, number, repeats, replies, triage
from mailrouter.config import Settings
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.letter import Nature
from mailrouter.organisation import Organisation
from mailrouter.replies import Reply, Understood
from mailrouter.tables import Assignment, AssignmentState, Case, Dispatch, Event, Mail


def take_reply(
    session: Session,
    case: Case,
    mail: Mail,
    reply: Reply,
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
) -> None:
    """Do what a person's reply plainly says, and ask for a person about the rest. ``case`` is locked."""
    dispatch = session.get(Dispatch, mail.dispatch_id) if mail.dispatch_id is not None else None
    several = {line["number"]: line for line in dispatch.detail.get("cases", [])} if dispatch is not None else {}
    if mail.sender.lower() in _citizen(case):
        _ask(case, mail, reply, ["Medborgaren har svarat i förvaltningens tråd."])
    elif mail.sender.rpartition("@")[2].lower() not in {domain.lower() for domain in settings.city.domains}:
        _ask(case, mail, reply, ["Avsändaren är inte i stadens domäner, så inget har gjorts."])
    elif dispatch is None or dispatch.assignment_id is None:
        _ask(case, mail, reply, ["Svaret hör inte till en förvaltnings del av ärendet."])
    elif len(several) > 1:
        _take_several(session, case, mail, reply, several, organisation, now)
    else:
        part = session.get_one(Assignment, dispatch.assignment_id)
        _ask(case, mail, reply, _take(session, case, part, mail, reply, organisation, now))


def _take_several(
    session: Session,
    case: Case,
    mail: Mail,
    reply: Reply,
    several: Mapping[str, Mapping[str, Any]],
    organisation: Organisation | None,
    now: datetime,
) -> None:
    """A reply to a digest: a line that names one of its cases is about that case, and the rest is for a person."""
    about, rest = replies.by_number(reply, several)
    for named, own in sorted(about.items()):
        part = session.get_one(Assignment, several[named]["assignment"])
        other = case if part.case_id == case.id else diarium.lock(session, part.case_id)
        _ask(other, mail, own, _take(session, other, part, mail, own, organisation, now))
    if rest or not about:
        doubts = [f"Det är ett svar på en påminnelse om {len(several)} ärenden, och det framgår inte vilket som menas."]
        _ask(case, mail, replace(reply, words=rest or reply.words), doubts)


def _take(
    session: Session,
    case: Case,
    part: Assignment,
    mail: Mail,
    reply: Reply,
    organisation: Organisation | None,
    now: datetime,
) -> list[str]:
    """Do what the reply says of one part; the sentences about what a person must read."""
    unit = organisation.units.get(part.unit) if organisation else None
    found = replies.understand(reply, unit, organisation, now.date())
    doubts = _number(session, case, part, found, mail, now)
    if _is_to_citizen(reply, case):
        return doubts + _answer_in_copy(session, case, part, reply, found, mail, now)
    return doubts + _decision(session, case, part, reply, found, organisation, mail, now)


def _ask(case: Case, mail: Mail, reply: Reply, doubts: Sequence[str]) -> None:
    """Have a person read the reply, when there are doubts."""
    if doubts:
        said = f" ”{reply.quote}”" if reply.quote else ""
        case.attention = f"Svar från {mail.sender}: läs mejlet i ärendet. {' '.join(doubts)}{said}"


def take_robot(session: Session, case: Case, mail: Mail, nature: Nature, now: datetime) -> None:
    """An automatic answer is a receipt: it is kept, meets no deadline and asks for nobody (RFC 3834 2).

    Our own mail that comes back is one, too, and ends there; whoever set up that loop must be told.
    """
    told = session.exec(select(Event).where(Event.case_id == case.id, Event.kind == EventKind.RECEIPT))
    if all(event.detail.get("mail") != mail.id for event in told):  # else the door has said so already
        detail = {"mail": mail.id, "nature": nature.value, "sender": mail.sender, "answers": mail.dispatch_id}
        diarium.record(session, case, EventKind.RECEIPT, actor="mailrouter", now=now, detail=detail)
    if nature is Nature.OWN:
        case.attention = "Vårt eget mejl kom tillbaka: mottagarens brevlåda skickar det vidare hit. Be dem ändra det."


def link_named(session: Session, case: Case, subject: str, now: datetime) -> list[str]:
    """Link a new case to those whose numbers its subject names; their numbers.

    A number is short, public and spoken on the telephone: it suggests, and never joins.
    """
    linked = []
    for named in number.find_numbers(subject):
        earlier = session.exec(select(Case).where(Case.number == named)).first()
        if earlier is not None and repeats.link(session, case, earlier, f"Ämnesraden nämner {named}.", now):
            linked.append(named)
    return linked


def _actor(mail: Mail) -> str:
    return f"e-post: {mail.sender}"


def _number(session: Session, case: Case, part: Assignment, found: Understood, mail: Mail, now: datetime) -> list[str]:
    before = part.external_number
    if not found.diarienummer or found.diarienummer == before:
        return []
    triage.set_diarienummer(session, case.id, part.id, found.diarienummer, seen=None, actor=_actor(mail), now=now)
    return [f"Diarienumret ändrades från {before} till {found.diarienummer}."] if before else []


def _decision(
    session: Session,
    case: Case,
    part: Assignment,
    reply: Reply,
    found: Understood,
    organisation: Organisation | None,
    mail: Mail,
    now: datetime,
) -> list[str]:
    """Give back or answered; the sentences about what was not done."""
    doubts = list(found.doubts)
    if found.returned:
        doubts += _give_back(session, case, part, reply, found, organisation, mail, now)
    elif found.answered and part.state is not AssignmentState.ANSWERED:
        doubts += _answered(session, case, part, mail, now)
    elif not found.answered and not found.diarienummer and not doubts:
        doubts.append("Det gick inte att se vad svaret betyder.")
    return doubts


def _give_back(
    session: Session,
    case: Case,
    part: Assignment,
    reply: Reply,
    found: Understood,
    organisation: Organisation | None,
    mail: Mail,
    now: datetime,
) -> list[str]:
    if part.state is AssignmentState.RETURNED:
        return []
    right = organisation.units[found.right_unit].name if organisation and found.right_unit else ""
    reason = f"”{reply.quote}”" + (f" Rätt förvaltning enligt dem: {right}." if right else "")
    try:
        triage.give_back(
            session,
            case.id,
            part.id,
            reason=reason,
            hint=found.right_unit,
            seen=None,
            actor=_actor(mail),
            now=now,
        )
    except DiariumError:
        return ["De skriver att det är fel förvaltning, men ärendet kunde inte tas tillbaka."]
    return []


def _answered(session: Session, case: Case, part: Assignment, mail: Mail, now: datetime) -> list[str]:
    try:
        triage.answered(session, case.id, part.id, seen=None, actor=_actor(mail), now=now)
    except DiariumError:
        return ["De skriver att det är besvarat, men det kunde inte föras in."]
    return []


def _is_to_citizen(reply: Reply, case: Case) -> bool:
    return bool(reply.recipients & _citizen(case))


def _citizen(case: Case) -> set[str]:
    return {case.contact.lower(), case.sender.lower()} - {""}


def _answer_in_copy(
    session: Session, case: Case, part: Assignment, reply: Reply, found: Understood, mail: Mail, now: datetime
) -> list[str]:
    """The answer itself, with us in copy; it answers the citizen, so its questions are not for us."""
    if found.returned or replies.is_holding(reply):
        return ["De har skrivit till medborgaren, men det är oklart om det är svaret."]
    if part.state is AssignmentState.ANSWERED:
        return []
    return _answered(session, case, part, mail, now)
