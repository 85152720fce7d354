"""The deep read: claimed mails are parsed, judged in one batch, and the verdicts stored (T2).

Runs in the work role only. A mail that cannot be read, or that killed the process more than once,
goes to quarantine, where a person sees it; nothing here ever loses or blocks another mail.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.exc import OperationalError, StatementError
from sqlmodel import Session, col, select

from mailrouter import bounces, citizen, diarium, homecoming, letter, repeats, replies, restrictions, search
from mailrouter.classify import Query, query_of
from mailrouter.classify.values import Verdict
from mailrouter.config import Settings
from mailrouter.diarium import DiariumError, EventKind
from mailrouter.letter import Address, Nature, Report
from mailrouter.organisation import Organisation
from mailrouter.replies import Reply
from mailrouter.store import Store, settle
from mailrouter.tables import Case, CaseState, Disposition, Mail, RawMail

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # a mail whose reading ended the process this often is not read again unasked
UNREADABLE = "unreadable"

# A person may write through a list; every other nature is a program's.
_PERSON = frozenset({Nature.HUMAN, Nature.FORM, Nature.MAILING_LIST})


class Judge(Protocol):
    """Whatever suggests: ``classify.Classifier``, or another one."""

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query, in their order."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What is kept of a parsed mail until its verdict is stored; attachments are let go of at once."""

    mail_id: int
    text: str
    nature: Nature
    report: Report | None
    contact: Address  # the citizen, as far as a mail or a form tells; the address is where they may be told
    defects: tuple[str, ...]
    query: Query | None  # None when the mail opens no case or could not be read
    reply: Reply | None  # what it says to us, when it came home by a token

    @property
    def readable(self) -> bool:
        return UNREADABLE not in self.defects


def read_due(
    store: Store, judge: Judge, settings: Settings, now: datetime, *, organisation: Organisation | None = None
) -> int:
    """Read and judge up to ``settings.work.batch`` mails; how many were claimed.

    ``organisation`` tells which förvaltning a registrator's reply names, and how its numbers look.
    """
    lease = timedelta(seconds=settings.work.lease_seconds)
    with store.write() as session:
        claimed = store.claim(session, Mail, now, limit=settings.work.batch, lease=lease)
        mails = [(mail.id, mail.disposition, mail.attempts) for mail in claimed]
    log.debug("reading-claimed mails=%d", len(mails))
    reads = [_read(store, settings, *mail) for mail in mails]
    verdicts = _verdicts(judge, [read.query for read in reads if read.query is not None], now)
    log.debug("reading-judged mails=%d", len(reads))
    if reads:
        with store.write() as session:
            for read in reads:
                _keep_alone(session, read, verdicts.get(str(read.mail_id)), settings, organisation, now)
        log.debug("reading-stored mails=%d", len(reads))
    return len(reads)


def _read(store: Store, settings: Settings, mail_id: int, disposition: Disposition, attempts: int) -> _Read:
    if attempts > MAX_ATTEMPTS:
        return _unreadable(mail_id)
    with store.read() as session:
        octets = session.exec(select(col(RawMail.octets)).where(RawMail.mail_id == mail_id)).first()
    if octets is None:
        return _unreadable(mail_id)
    parsed = letter.parse(octets)
    readable = UNREADABLE not in parsed.defects
    judged = readable and disposition is Disposition.CASE
    query = query_of(parsed, str(mail_id)) if judged else None
    contact = Address(parsed.contact.name if parsed.contact else "", citizen.contact_of(parsed, settings))
    reply = replies.of(parsed) if readable and disposition is Disposition.JOINED else None
    return _Read(mail_id, parsed.text, parsed.nature, parsed.report, contact, parsed.defects, query, reply)


def _unreadable(mail_id: int) -> _Read:
    return _Read(mail_id, "", Nature.HUMAN, None, Address("", ""), (UNREADABLE,), None, None)


def _verdicts(judge: Judge, queries: Sequence[Query], now: datetime) -> dict[str, Verdict]:
    """Verdicts by mail id; when the batch fails, one by one, so that only the culprit stays unsorted."""
    try:
        return {query.id: verdict for query, verdict in zip(queries, judge.classify(queries, now.date()), strict=True)}
    except Exception:
        log.exception("classify-failed mails=%d", len(queries))
        if len(queries) <= 1:
            return {}
        return {key: verdict for query in queries for key, verdict in _verdicts(judge, [query], now).items()}


def _keep_alone(
    session: Session,
    read: _Read,
    verdict: Verdict | None,
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
) -> None:
    """Keep one mail of a batch; what the database refuses of it goes to quarantine and holds up no other."""
    try:
        with session.begin_nested():
            _keep(session, read, verdict, settings, organisation, now)
    except (StatementError, DiariumError) as error:
        if isinstance(error, OperationalError):
            raise
        log.warning("reading-refused mail=%d error=%s", read.mail_id, type(error).__name__)
        with session.begin_nested():
            _keep(session, _unreadable(read.mail_id), None, settings, organisation, now)


def _keep(
    session: Session,
    read: _Read,
    verdict: Verdict | None,
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
) -> None:
    """T2 for one mail: what it says, what is suggested, and the event that tells so."""
    mail = session.get_one(Mail, read.mail_id, with_for_update=True)
    case = diarium.lock(session, mail.case_id)
    mail.text, mail.nature = read.text, read.nature.value
    mail.defects = [*mail.defects, *(defect for defect in read.defects if defect not in mail.defects)]
    settle(mail)
    if mail.disposition is Disposition.JOINED:
        _follow_up(session, case, mail, read, settings, organisation, now)
    elif not read.readable:
        _quarantine(session, case, now)
    elif verdict is not None:
        _suggest(session, case, verdict, now)
    else:
        case.attention = "Inget förslag kunde göras. Läs mejlet och välj förvaltning själv."
    if mail.disposition is not Disposition.JOINED:  # first: what follows depends on who may see it
        restrictions.restrict_if_needed(session, case, verdict, f"{case.subject}\n{read.text}", now)
    if mail.disposition is Disposition.CASE and read.readable:
        _meet_citizen(session, case, mail, read, settings, now)
        homecoming.link_named(session, case, mail.subject, now)
        repeats.link_like(session, case, mail, settings.deadline.repeat_days, now)
    search.index(session, case)


def _meet_citizen(session: Session, case: Case, mail: Mail, read: _Read, settings: Settings, now: datetime) -> None:
    """Who is behind the mail, and the acknowledgement. The sender of a web form is a robot and never the citizen."""
    case.contact = read.contact.address
    if read.nature is Nature.FORM:
        case.sender, case.sender_name = read.contact.address, read.contact.name
        case.wants_answer = bool(read.contact.address)
    else:
        case.wants_answer = case.wants_answer and read.nature is Nature.HUMAN
    citizen.acknowledge(session, case, mail, settings, now)


def _quarantine(session: Session, case: Case, now: datetime) -> None:
    if case.state is CaseState.OPEN:
        case.attention = "Mejlet gick inte att läsa. Titta på originalet och fördela för hand."
        diarium.record(session, case, EventKind.QUARANTINED, actor="mailrouter", now=now, detail={})


def _suggest(session: Session, case: Case, verdict: Verdict, now: datetime) -> None:
    case.suggestion, case.suggested_at = verdict.as_json(), now
    case.kind, case.language = verdict.kind, verdict.language
    case.district, case.flags = verdict.district or "", list(verdict.flags)
    detail: dict[str, Any] = {
        "area": verdict.area,
        "unit": verdict.unit,
        "probability": round(verdict.probability, 4),
        "abstain": verdict.abstain,
        "flags": list(verdict.flags),
        "by": verdict.by,
    }
    diarium.record(session, case, EventKind.SUGGESTED, actor="mailrouter", now=now, detail=detail)


def _follow_up(
    session: Session,
    case: Case,
    mail: Mail,
    read: _Read,
    settings: Settings,
    organisation: Organisation | None,
    now: datetime,
) -> None:
    """A mail that came home by a token: a delivery report, a robot's receipt, the citizen's words, a registrator's."""
    if read.report is not None:
        bounces.take_report(session, mail, read.report, settings, now, organisation)
    elif read.reply is None:
        case.attention = f"Ett svar från {mail.sender} gick inte att läsa. Titta på originalet."
    elif read.nature not in _PERSON:
        homecoming.take_robot(session, case, mail, read.nature, now)
    elif citizen.is_from_citizen(session, mail):
        if not citizen.complete(session, case, mail, now):
            case.attention = "Medborgaren har skrivit igen: läs mejlet i ärendet."
    else:
        homecoming.take_reply(session, case, mail, read.reply, settings, organisation, now)
