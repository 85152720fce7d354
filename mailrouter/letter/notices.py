"""Delivery failures that a sending service tells in JSON by mail (Amazon SES through SNS)."""

import json
from typing import Any

from mailrouter.letter.values import Failure, Report

RECIPIENTS = 100


def read(said: str) -> Report | None:
    """The report in a text that begins with a JSON object of the kind Bounce, or None."""
    text = said.lstrip()
    if not text.startswith("{") or "ounce" not in text:
        return None
    try:
        told, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # cut or hostile JSON: a plain text then
        return None
    kind = told.get("notificationType", told.get("eventType"))
    bounce = told.get("bounce")
    if kind != "Bounce" or not isinstance(bounce, dict):
        return None
    permanent = bounce.get("bounceType") == "Permanent"
    listed = bounce.get("bouncedRecipients")
    recipients = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    failures = tuple(_failure(item, permanent=permanent) for item in recipients[:RECIPIENTS])
    return Report(failures, _message_id(told.get("mail")))


def _failure(item: dict[str, Any], *, permanent: bool) -> Failure:
    diagnostic = str(item.get("diagnosticCode", ""))
    status = str(item.get("status", "")) or ("5.0.0" if permanent else "4.0.0")
    return Failure(str(item.get("emailAddress", ""))[:320], "failed", status[:20], diagnostic[:1_000])


def _message_id(mail: object) -> str:
    """The Message-ID that the sender gave (RFC 5322 3.6.4), not the service's own."""
    common = mail.get("commonHeaders") if isinstance(mail, dict) else None
    return str(common.get("messageId", "")).strip("<> ")[:998] if isinstance(common, dict) else ""
