"""Webhooks: other systems are told of events, in their order, at least once, and never what a mail says.

A webhook is a row that is claimed: every event after ``last_event_id`` is posted to it one by one, signed as
Standard Webhooks 1.0.0 says (HMAC-SHA256 over id, time and body). What is not taken is tried again, later
each time, and nothing behind it is sent before it.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlmodel import Session, col, exists, func, select

from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store, postpone
from mailrouter.tables import Assignment, Case, Event, Webhook

log = logging.getLogger(__name__)

KINDS = tuple(kind for kind in EventKind if kind is not EventKind.READ)  # who reads a restricted case is told nobody
BATCH = 50  # events of a webhook between two notes of how far it has come
TIMEOUT_SECONDS = 10.0
FIRST_WAIT = timedelta(seconds=10)  # after the first failure; each one after it waits twice as long
LONGEST_WAIT = timedelta(hours=1)
FAILING = 8  # tries after which an operator is told
_SECRET = "whsec_"  # noqa: S105 (how Standard Webhooks marks one)


class WebhookError(Exception):
    """The webhook cannot be kept like that; the message says why."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one round: the last event that was taken, and the trouble that ended it, or empty."""

    reached: int
    trouble: str


def add(session: Session, name: str, url: str, kinds: Collection[str], now: datetime) -> str:
    """Keep a webhook for events from now on, of ``kinds`` or of all; gives its secret. Raises WebhookError."""
    if not name.strip() or len(name) > 40 or not name.isprintable():
        raise WebhookError("a webhook's name is 1 to 40 printable characters")
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise WebhookError(f"no webhook is told of {', '.join(sorted(unknown))}; choose among {', '.join(KINDS)}")
    if session.exec(select(Webhook).where(Webhook.name == name)).first() is not None:
        raise WebhookError(f"there is a webhook {name} already")
    _refuse_unsafe(url)
    secret = _SECRET + base64.b64encode(secrets.token_bytes(32)).decode()
    last = session.exec(select(func.max(Event.id))).one() or 0
    row = Webhook(
        name=name, url=url, secret=secret, kinds=sorted(kinds), created_at=now, due_at=now, last_event_id=last
    )
    session.add(row)
    session.flush()
    return secret


def _refuse_unsafe(url: str) -> None:
    """Only https, or this machine: what is sent must not be read under way."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise WebhookError(f"{url!r} is not an address") from error
    if not host or parts.username or parts.fragment or not url.isascii() or not url.isprintable():
        raise WebhookError(f"{url!r} is not an address of the form https://HOST/PATH")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise WebhookError("a webhook's address begins with https://, or is on this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def remove(session: Session, name: str) -> None:
    """Tell a webhook nothing more. Raises WebhookError."""
    found = session.exec(select(Webhook).where(Webhook.name == name).with_for_update()).first()
    if found is None:
        raise WebhookError(f"there is no webhook {name}")
    session.delete(found)


def listed(session: Session) -> list[dict[str, Any]]:
    """Every webhook without its secret, by name."""
    columns = {"name", "url", "kinds", "active", "last_event_id", "last_status", "attempts", "due_at"}
    return [row.model_dump(include=columns) for row in session.exec(select(Webhook).order_by(col(Webhook.name)))]


def failing(session: Session) -> dict[str, str]:
    """The webhooks that have refused what they are told many times in a row, with what they said last."""
    rows = session.exec(select(Webhook).where(col(Webhook.active).is_(True), col(Webhook.attempts) >= FAILING))
    return {row.name: row.last_status for row in rows}


def has_news(store: Store, now: datetime) -> bool:
    """True when ``deliver_due`` may find something to tell."""
    newer = exists().where(col(Event.id) > Webhook.last_event_id)
    due = select(Webhook.id).where(col(Webhook.active).is_(True), col(Webhook.due_at) <= now, newer)
    with store.read() as session:
        return session.exec(due.limit(1)).first() is not None


def deliver_due(store: Store, settings: Settings, now: datetime) -> int:
    """Tell due webhooks what happened; how many were claimed.

    An event is told of once no event with a lower number can appear any more, so that none is left out.
    """
    horizon = store.horizon(Event)
    if horizon is None:
        return 0
    lease = timedelta(seconds=settings.work.lease_seconds)
    with store.write() as session:
        behind = col(Webhook.last_event_id) < horizon
        active = col(Webhook.active).is_(True)
        claimed = store.claim(session, Webhook, now, active, behind, limit=settings.work.batch, lease=lease)
    until = time.monotonic() + lease.total_seconds() / 2
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as http:
        for hook in claimed:
            told = _tell(store, http, hook, horizon, now, until)
            with store.write() as session:
                _note(session, store, hook, told, now)
    return len(claimed)


def _tell(store: Store, http: httpx.Client, hook: Webhook, horizon: int, now: datetime, until: float) -> _Told:
    """Post the next events until one is not taken, or the time is up."""
    events = _next(store, hook, horizon)
    reached = hook.last_event_id
    for key, payload in events:
        if time.monotonic() > until:
            return _Told(reached, "")
        trouble = _post(http, hook, key, payload, now)
        if trouble:
            return _Told(reached, f"event {key}: {trouble}")
        reached = key
    return _Told(reached if len(events) == BATCH else horizon, "")


def _next(store: Store, hook: Webhook, horizon: int) -> Sequence[tuple[int, dict[str, Any]]]:
    statement = (
        select(Event, Case)
        .join(Case, col(Case.id) == Event.case_id)
        .where(
            col(Event.id) > hook.last_event_id,
            col(Event.id) <= horizon,
            col(Event.kind).in_(hook.kinds or list(KINDS)),
        )
        .order_by(col(Event.id))
        .limit(BATCH)
    )
    with store.read() as session:
        return [(event.id, _payload(session, event, case)) for event, case in session.exec(statement)]


def _payload(session: Session, event: Event, case: Case) -> dict[str, Any]:
    """What is told of an event: never a word of a mail, a name or an address; of a restricted case the kind alone."""
    told: dict[str, Any] = {"case": case.number, "kind": event.kind, "at": event.at.isoformat()}
    if case.restricted:
        return told
    told |= {"sequence": event.sequence, "units": list(_units(session, event))}
    if event.kind == EventKind.DIARIENUMMER:
        told["diarienummer"] = event.detail["value"]
    return told


def _units(session: Session, event: Event) -> Iterator[str]:
    """The units that an event concerns."""
    if chosen := event.detail.get("chosen"):
        yield from (one["unit"] for one in chosen)
    elif "assignment" in event.detail and event.detail["assignment"] is not None:
        part = session.get(Assignment, event.detail["assignment"])
        yield from (part.unit for part in (part,) if part is not None)


def _post(http: httpx.Client, hook: Webhook, key: int, payload: dict[str, Any], now: datetime) -> str:
    """Send one event; what was wrong, or nothing."""
    message = f"evt_{key}"
    body = json.dumps({"id": message} | payload, ensure_ascii=False).encode()
    stamp = int(now.timestamp())
    headers = {
        "content-type": "application/json",
        "user-agent": "mailrouter",
        "webhook-id": message,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(hook.secret, message, stamp, body),
    }
    try:
        answer = http.post(hook.url, content=body, headers=headers)
    except httpx.HTTPError as error:
        return type(error).__name__
    return "" if answer.is_success else f"HTTP {answer.status_code}"


def sign(secret: str, message: str, stamp: int, body: bytes) -> str:
    """The signature of a message (Standard Webhooks 1.0.0): what a receiver computes to see that it is ours.

    Raises WebhookError when the secret is not one of ours.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except binascii.Error as error:
        raise WebhookError("the secret is not base64") from error
    signed = hmac.new(key, f"{message}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _note(session: Session, store: Store, hook: Webhook, told: _Told, now: datetime) -> None:
    """Write down how far a webhook has come, unless somebody else has taken it over or removed it."""
    row = session.get(Webhook, hook.id, with_for_update=True, populate_existing=True)
    if row is None or row.leased_by != store.node:
        return
    row.last_event_id = told.reached
    if not told.trouble:
        row.attempts = 0
        row.last_status = f"{now:%Y-%m-%d %H:%M} UTC: taken up to event {told.reached}"
        postpone(row, now)
        return
    if told.reached > hook.last_event_id:
        row.attempts = 1
    wait = min(FIRST_WAIT * 2 ** min(row.attempts - 1, 20), LONGEST_WAIT)
    row.last_status = f"{now:%Y-%m-%d %H:%M} UTC: {told.trouble}, try {row.attempts}"
    postpone(row, now + wait)
    log.warning("webhook-refused webhook=%d attempts=%d", row.id, row.attempts)
