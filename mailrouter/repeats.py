"""The same matter again from the same citizen: linked to the earlier case, never merged, since each counts.

A link is a row, an event in the later case, and nothing else: both go on as they are.
"""

import re
from datetime import datetime, timedelta

from rapidfuzz import fuzz
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from mailrouter import diarium
from mailrouter.diarium import EventKind
from mailrouter.tables import Case, CaseLink, Disposition, Mail

ALIKE = 70  # rapidfuzz's token_sort_ratio of subject and text; two mails about different things stay below 60
LOOKED_AT = 10  # the newest cases of the sender; who writes more often is not compared further
COMPARED = 2_000  # characters of each

_PREFIX = re.compile(r"^\s*(?:(?:re|sv|fw|fwd|vb|vs|aw)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_WORD = re.compile(r"\w{2,}")
_TELLING = 2  # words of a subject that is the same; "Hej" and "Klagomål" say nothing


def link(session: Session, case: Case, earlier: Case, why: str, now: datetime) -> bool:
    """Link a locked case to an earlier one; False when it is so already, or when only some may know of either."""
    if earlier.id == case.id or case.restricted or earlier.restricted:
        return False
    if session.get(CaseLink, (case.id, earlier.id)) is not None:
        return False
    session.add(CaseLink(case_id=case.id, earlier_id=earlier.id, why=why, at=now))
    detail = {"earlier": earlier.number, "why": why}
    diarium.record(session, case, EventKind.LINKED, actor="mailrouter", now=now, detail=detail)
    return True


def link_like(session: Session, case: Case, mail: Mail, days: int, now: datetime) -> str:
    """Link a new case to the newest like one from the same citizen within ``days``; its number, or empty.

    The citizen is known by the address they are told at (``Case.contact``): a program has none.
    """
    if not case.contact or not days or case.restricted:
        return ""
    for earlier, subject, text in session.exec(earlier_cases(case, days)):
        why = f"Liknar {earlier.number} från samma avsändare."
        if is_like(mail.subject, mail.text, subject, text) and link(session, case, earlier, why, now):
            return earlier.number
    return ""


def earlier_cases(case: Case, days: int) -> Select[Case, str, str]:
    """The newest earlier cases of the same citizen, with subject and text; one index leads there."""
    return (
        select(Case, Mail.subject, Mail.text)
        .join(Mail, col(Mail.case_id) == Case.id)
        .where(
            Case.contact == case.contact,
            col(Case.id) < case.id,
            col(Case.opened_at) > case.opened_at - timedelta(days=days),
            Mail.disposition == Disposition.CASE,
        )
        .order_by(col(Case.id).desc())
        .limit(LOOKED_AT)
    )


def is_like(subject: str, text: str, other_subject: str, other_text: str) -> bool:
    """True for two mails about the same: the same telling subject, or much the same words."""
    one, other = _words(_PREFIX.sub("", subject)), _words(_PREFIX.sub("", other_subject))
    if one == other and len(one.split()) >= _TELLING:
        return True
    return fuzz.token_sort_ratio(_words(f"{one} {text}"), _words(f"{other} {other_text}")) >= ALIKE


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text[:COMPARED].casefold()))
