"""What can be proved about a case's mails: what left, how, what the servers said, and what came back.

Read from the register alone, for whoever must show later that a mail was sent and taken.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select

from mailrouter import compose, letter
from mailrouter.config import Settings
from mailrouter.letter import Nature
from mailrouter.tables import Assignment, Attempt, Case, Dispatch, Disposition, Mail, RawMail


def of_case(session: Session, case: Case, settings: Settings) -> dict[str, Any]:
    """The evidence of one case, ready for JSON: the mails received, each mail sent, and what is known of it."""
    dispatches = session.exec(select(Dispatch).where(Dispatch.case_id == case.id).order_by(col(Dispatch.id))).all()
    mails = session.exec(select(Mail).where(Mail.case_id == case.id).order_by(col(Mail.id))).all()
    return {
        "number": case.number,
        "received": [_received(session, mail) for mail in mails if mail.disposition is not Disposition.DUPLICATE],
        "sent": [_dispatch(session, dispatch, mails, settings) for dispatch in dispatches],
    }


def _received(session: Session, mail: Mail) -> dict[str, Any]:
    return {
        "mail": mail.id,
        "message_id": mail.message_id,
        "received_at": mail.received_at.isoformat(),
        "source": mail.source,
        "envelope_sender": mail.envelope_sender,
        "envelope_recipients": mail.envelope_recipients,
        "size": mail.size,
        "sha256": _digest(session, mail.id),
        "nature": mail.nature,
        "answers": mail.dispatch_id,
    }


def _dispatch(session: Session, dispatch: Dispatch, mails: Sequence[Mail], settings: Settings) -> dict[str, Any]:
    part = session.get(Assignment, dispatch.assignment_id) if dispatch.assignment_id is not None else None
    attempts = session.exec(select(Attempt).where(Attempt.dispatch_id == dispatch.id).order_by(col(Attempt.id)))
    reports = [mail for mail in mails if mail.dispatch_id == dispatch.id and mail.nature == Nature.DELIVERY_REPORT]
    return {
        "dispatch": dispatch.id,
        "kind": dispatch.kind.value,
        "unit": part.unit if part is not None else None,
        "state": dispatch.state.value,
        "message_id": compose.message_id(dispatch.token, settings),
        "envelope_sender": compose.reply_address(dispatch.token, settings),
        "envelope_id": dispatch.token,
        "recipient": dispatch.recipient,
        "created_at": dispatch.created_at.isoformat(),
        "settled_at": dispatch.settled_at.isoformat() if dispatch.settled_at else None,
        "size": dispatch.detail.get("size"),
        "sha256": dispatch.detail.get("sha256"),
        "carries": dispatch.mail_id,
        "carries_sha256": _digest(session, dispatch.mail_id) if dispatch.mail_id is not None else None,
        "attempts": [
            {
                "started_at": attempt.started_at.isoformat(),
                "finished_at": attempt.finished_at.isoformat() if attempt.finished_at else None,
                "outcome": attempt.outcome or "unknown",
                "reply": attempt.reply,
                "channel": attempt.channel,
            }
            for attempt in attempts
        ],
        "reports": [_report(session, mail) for mail in reports],
    }


def _report(session: Session, mail: Mail) -> dict[str, Any]:
    """A delivery report with what it says of each recipient (RFC 3464 2.3)."""
    octets = session.get_one(RawMail, mail.id).octets
    report = letter.parse(octets).report
    return {
        "mail": mail.id,
        "message_id": mail.message_id,
        "received_at": mail.received_at.isoformat(),
        "sha256": hashlib.sha256(octets).hexdigest(),
        "original_message_id": report.original_message_id if report else "",
        "original_envelope_id": report.envelope_id if report else "",
        "recipients": [
            {
                "final_recipient": told.recipient,
                "action": told.action,
                "status": told.status,
                "diagnostic_code": told.diagnostic,
            }
            for told in (report.failures if report else ())
        ],
    }


def _digest(session: Session, mail_id: int) -> str:
    """sha256 of the octets that are kept, in hexadecimal; empty when there are none."""
    raw = session.get(RawMail, mail_id)
    return hashlib.sha256(raw.octets).hexdigest() if raw is not None else ""
