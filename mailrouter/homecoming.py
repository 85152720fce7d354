"""What came home by a token, applied to the register: a registrator's reply, a robot's receipt, a number in a subject.

replies.py says what a reply means; here it becomes a decision in the registrator's name, by the same
functions that the desk uses. What is not plain, or not allowed, asks for a person, with the words.
"""

from datetime import datetime

from sqlmodel import Session, select

from mailrouter import diarium, number, repeats, replies, triage
from mailrouter.config import Settings
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.letter import Nature
from mailrouter.organisation import Organisation
from mailrouter.replies import Reply, Understood
from mailrouter.tables import Assignment, AssignmentState, Case, Dispatch, Mail


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
    part = _part(session, mail)
    doubts: list[str] = []
    if mail.sender.lower() in _citizen(case):
        doubts.append("Medborgaren har svarat i förvaltningens tråd.")
    elif mail.sender.rpartition("@")[2].lower() not in {domain.lower() for domain in settings.city.domains}:
        doubts.append("Avsändaren är inte i stadens domäner, så inget har gjorts.")
    elif part is None:
        doubts.append("Svaret hör inte till en förvaltnings del av ärendet.")
    else:
        unit = organisation.units.get(part.unit) if organisation else None
        found = replies.understand(reply, unit, organisation, now.date())
        doubts += _number(session, case, part, found, mail, now)
        if _is_to_citizen(reply, case):
            doubts += _answer_in_copy(session, case, part, reply, found, mail, now)
        else:
            doubts += _decision(session, case, part, reply, found, organisation, mail, now)
    if doubts:
        said = f" ”{reply.quote}”" if reply.quote else ""
        case.attention = f"Svar från {mail.sender}: läs mejlet i ärendet. {' '.join(doubts)}{said}"


def take_robot(session: Session, case: Case, mail: Mail, nature: Nature, now: datetime) -> None:
    """An automatic answer is a receipt: it is kept, meets no deadline and asks for nobody (RFC 3834 2).

    Our own mail that comes back is one, too, and ends there; whoever set up that loop must be told.
    """
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


def _part(session: Session, mail: Mail) -> Assignment | None:
    dispatch = session.get(Dispatch, mail.dispatch_id) if mail.dispatch_id is not None else None
    if dispatch is None or dispatch.assignment_id is None or len(dispatch.detail.get("cases", [])) > 1:
        return None  # who answers a digest of several cases must say which one; a person reads it
    return session.get(Assignment, dispatch.assignment_id)


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
