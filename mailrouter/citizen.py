"""Who of the citizens is written to, and when: that it has come in, who has it, and what they wrote later.

Every mail here is a row of the outbox; compose/citizen.py writes it. A program must never get one
(RFC 3834 2), nor an address that somebody else could have put there, beyond ``citizen.most_a_day``.
"""

import re
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter import number
from mailrouter.config import Settings
from mailrouter.letter import Letter, Nature
from mailrouter.tables import Assignment, AssignmentState, Case, Dispatch, DispatchKind, Disposition, Mail

AUTOMATIC = frozenset({DispatchKind.ACKNOWLEDGEMENT, DispatchKind.NOTICE})
KINDS = AUTOMATIC | {DispatchKind.ANSWER}
NOT_A_CASE = "ej-arende"  # the area of advertisements and the like, whose senders are told nothing

_ADDRESS = re.compile(r"[\w+=&'~.-]+@[\w-]+(?:\.[\w-]+)+")
_NOBODY = re.compile(  # mailboxes that nobody reads, whatever the mail looks like
    r"(?:.*[._+-])?(?:no-?_?\.?reply|do-?not-?reply|ingen-?svar|svara-?ej|svara-?inte|noreply|mailer-daemon|postmaster"
    r"|bounces?|bounced?|listserv|majordomo|owner|request)(?:[._+-].*)?",
    re.IGNORECASE,
)


def contact_of(letter: Letter, settings: Settings) -> str:
    """The address that the citizen is told at, or empty: a form's is in its text, its robot is never answered.

    A person's Reply-To is used when it names one mailbox alone (RFC 5322 3.6.2).
    """
    if letter.nature is Nature.FORM:
        found = letter.contact.address if letter.contact and letter.contact.wants_answer is not False else ""
    elif letter.nature is Nature.HUMAN:
        found = letter.reply_to[0].address if len(letter.reply_to) == 1 else letter.sender.address
    else:
        found = ""
    return found.lower() if _may_be_told(found, settings) else ""  # one spelling, so that it is counted as one


def _may_be_told(address: str, settings: Settings) -> bool:
    if not _ADDRESS.fullmatch(address) or not address.isascii():
        return False
    local, _, domain = address.lower().rpartition("@")
    plain = f"{local.partition('+')[0]}@{domain}"
    ours = {settings.forward.reply_address, settings.forward.from_address, *settings.smtp.recipients}
    return plain not in {one.lower() for one in ours} and not _NOBODY.fullmatch(local)


def acknowledge(session: Session, case: Case, mail: Mail, settings: Settings, now: datetime) -> bool:
    """Tell the citizen that the matter has come in; False when there is nobody to tell.

    ``case.contact`` is set by then. Nothing goes to whoever sent an advertisement: an answer to a forged
    sender is spam of our own.
    """
    likely = (case.suggestion or {}).get("area", "")
    if not case.wants_answer or likely == NOT_A_CASE:
        return False
    return _queue(session, case, mail, DispatchKind.ACKNOWLEDGEMENT, settings, now)


def tell_who_has_it(session: Session, case: Case, settings: Settings, now: datetime) -> bool:
    """Tell the citizen who has the matter, once nothing of it is on its way any more; False when that is not yet.

    A restricted case says nothing: whoever reads the citizen's mail must not learn it from us.
    """
    if not case.wants_answer or case.restricted or "skyddad" in case.flags:
        return False
    parts = session.exec(select(Assignment).where(Assignment.case_id == case.id)).all()
    have = sorted({part.unit for part in parts if part.state is AssignmentState.DELIVERED})
    if not have or any(part.state is AssignmentState.SENDING for part in parts) or have == _told(session, case):
        return False
    mail = session.exec(select(Mail).where(Mail.case_id == case.id, Mail.disposition == Disposition.CASE)).one()
    names = sorted({part.unit_name for part in parts if part.unit in have})
    return _queue(session, case, mail, DispatchKind.NOTICE, settings, now, {"units": have, "names": names})


def _told(session: Session, case: Case) -> list[str]:
    """The units that the last notice named."""
    statement = (
        select(Dispatch)
        .where(Dispatch.case_id == case.id, Dispatch.kind == DispatchKind.NOTICE)
        .order_by(col(Dispatch.id).desc())
    )
    last = session.exec(statement.limit(1)).first()
    return list(last.detail.get("units", [])) if last else []


def _queue(
    session: Session,
    case: Case,
    mail: Mail,
    kind: DispatchKind,
    settings: Settings,
    now: datetime,
    detail: dict[str, list[str]] | None = None,
) -> bool:
    if not settings.citizen.acknowledge or not case.contact:
        return False
    if _written_lately(session, case.contact, now) >= settings.citizen.most_a_day:
        return False
    session.add(
        Dispatch(
            case_id=case.id,
            mail_id=mail.id,
            kind=kind,
            recipient=case.contact,
            token=number.new_token(),
            created_at=now,
            due_at=now,
            detail=detail or {},
        )
    )
    return True


def _written_lately(session: Session, address: str, now: datetime) -> int:
    statement = select(func.count()).where(
        Dispatch.recipient == address,
        col(Dispatch.created_at) > now - timedelta(days=1),
        col(Dispatch.kind).in_(AUTOMATIC),
    )
    return session.exec(statement).one()


def is_from_citizen(session: Session, mail: Mail) -> bool:
    """True when the mail answers one of ours to the citizen, from an address that the case knows."""
    if mail.dispatch_id is None:
        return False
    answered = session.get_one(Dispatch, mail.dispatch_id)
    case = session.get_one(Case, mail.case_id)
    known = {case.contact.lower(), case.sender.lower(), answered.recipient.lower()} - {""}
    return answered.kind in KINDS and mail.sender.lower() in known


def complete(session: Session, case: Case, mail: Mail, now: datetime) -> list[str]:
    """Send on what the citizen wrote later to all who have the case (komplettering); the names of those units."""
    parts = session.exec(
        select(Assignment).where(
            Assignment.case_id == case.id,
            col(Assignment.state).in_([AssignmentState.SENDING, AssignmentState.DELIVERED]),
        )
    ).all()
    for part in parts:
        session.add(completion(session, part, mail, now))
    return [part.unit_name for part in parts]


def completions_for(session: Session, part: Assignment, now: datetime) -> None:
    """Queue for a new part whatever the citizen wrote before it was decided."""
    later = (
        select(Mail).where(Mail.case_id == part.case_id, Mail.disposition == Disposition.JOINED).order_by(col(Mail.id))
    )
    for mail in session.exec(later).all():
        if mail.nature == Nature.HUMAN and is_from_citizen(session, mail):
            session.add(completion(session, part, mail, now))


def completion(session: Session, part: Assignment, mail: Mail, now: datetime) -> Dispatch:
    """One later mail of the citizen on its way to one förvaltning, to the mailbox that got the forward."""
    forward = session.exec(
        select(Dispatch)
        .where(Dispatch.assignment_id == part.id, Dispatch.kind == DispatchKind.FORWARD)
        .order_by(col(Dispatch.id).desc())
    ).first()
    assert forward is not None, "a part was confirmed with its forward"
    return Dispatch(
        case_id=part.case_id,
        assignment_id=part.id,
        mail_id=mail.id,
        kind=DispatchKind.COMPLETION,
        recipient=forward.recipient,
        token=number.new_token(),
        created_at=now,
        due_at=forward.due_at or now,  # never before what it completes
    )
