"""Delivery reports that came home by a token: what became of a mail after the smarthost had taken it."""

import re
from datetime import datetime, timedelta

from sqlmodel import Session

from mailrouter import diarium
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.letter.values import Failure, Report
from mailrouter.organisation import Organisation
from mailrouter.settlement import ACTOR, RESENT, describe, fail, resend
from mailrouter.store import settle
from mailrouter.tables import Case, Dispatch, DispatchState, Mail

# A failure that time mends: the mailbox is full (RFC 3463 3.3), or the servers tried as long as they may.
_FULL = re.compile(
    r"\b[45]\.2\.2\b|\b(?:mailbox|inbox|brevlådan?)\s+(?:is\s+|är\s+)?full\b|\bover\s?quota\b|\bquota\s+exceeded", re.I
)


def take_report(
    session: Session,
    mail: Mail,
    report: Report,
    settings: Settings,
    now: datetime,
    organisation: Organisation | None = None,
) -> None:
    """A failure takes the case back to the desk, a full mailbox is tried again for days, the rest is noted.

    A second report about a mail that failed already changes nothing: its case may have a new förvaltning.
    """
    if mail.dispatch_id is None:
        return
    case = diarium.lock(session, mail.case_id)
    dispatch = session.get_one(Dispatch, mail.dispatch_id, with_for_update=True, populate_existing=True)
    if dispatch.state not in {DispatchState.QUEUED, DispatchState.SENT}:
        return
    failed = next((told for told in report.failures if told.action == "failed"), None)
    if failed is not None:
        if not (_passes(failed) and _again(session, case, dispatch, mail, failed, settings, now)):
            fail(session, case, dispatch, said(failed), now, organisation)
        return
    for told in report.failures:
        arrived = told.action in {"delivered", "relayed", "expanded"}
        kind = EventKind.SENT if arrived else EventKind.SEND_DELAYED
        detail = describe(dispatch, said(told)) | {"report": mail.id, "action": told.action}
        diarium.record(session, case, kind, actor=ACTOR, now=now, detail=detail)
    if not report.failures:
        case.attention = f"Ett leveransbesked om mejlet till {dispatch.recipient} gick inte att tyda. Läs det."


def _passes(failure: Failure) -> bool:
    """True when trying again makes sense although the servers have given up."""
    return not failure.permanent or _FULL.search(said(failure)) is not None


def _again(
    session: Session, case: Case, dispatch: Dispatch, mail: Mail, failure: Failure, settings: Settings, now: datetime
) -> bool:
    """Queue the mail once more; False when it is none that must arrive, or was tried for long enough."""
    first = datetime.fromisoformat(dispatch.detail.get("first_created_at", dispatch.created_at.isoformat()))
    if dispatch.kind not in RESENT or now - first >= timedelta(days=settings.forward.give_up_days):
        return False
    diarium.move_dispatch(dispatch, DispatchState.FAILED)
    dispatch.settled_at = now
    settle(dispatch)
    session.add(resend(dispatch, dispatch.recipient, now + timedelta(minutes=settings.forward.retry_minutes[-1])))
    detail = describe(dispatch, said(failure)) | {"report": mail.id, "action": "failed", "again": True}
    diarium.record(session, case, EventKind.SEND_DELAYED, actor=ACTOR, now=now, detail=detail)
    return True


def said(failure: Failure) -> str:
    """What a report says of one recipient, on one line."""
    return " ".join(filter(None, [failure.recipient, failure.action, failure.status, failure.diagnostic]))
