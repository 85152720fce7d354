"""Webhooks over real HTTP: in order, at least once, signed, and never what a mail says."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from mailrouter import diarium, triage, webhooks
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Case, Event, Webhook
from mailrouter.triage import Choice
from mailrouter.webhooks import WebhookError
from tests.clock import NOW
from tests.desk import STREETS, city, letter, receive

SETTINGS = Settings()


@dataclass
class Receiver:
    """A receiver on a port of its own; ``answers`` are the statuses of the next requests, then 204."""

    answers: list[int] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    def kinds(self) -> list[str]:
        """What was taken, in the order of arrival."""
        return [body["kind"] for body in self.taken]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """It listens while the test runs."""
    known = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = known.answers.pop(0) if known.answers else 204
            if status == 204:
                known.taken.append(json.loads(body))
                known.heads.append({key.lower(): value for key, value in self.headers.items()})
                known.bodies.append(body)
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the signature is the library's)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


def _add(store: Store, url: str, *kinds: str) -> str:
    with store.write() as session:
        return webhooks.add(session, "platina", url, kinds, NOW)


def _tell(store: Store, after: timedelta = timedelta()) -> int:
    rounds = 0
    while webhooks.has_news(store, NOW + after) and webhooks.deliver_due(store, SETTINGS, NOW + after):
        rounds += 1
    return rounds


def _confirm(session: Session, number: str) -> None:
    case = diarium.find(session, number)
    triage.confirm(
        session,
        case.id,
        [Choice(STREETS)],
        seen=None,
        actor="eva",
        now=NOW,
        organisation=city(),
        settings=SETTINGS,
    )


def _note(session: Session, number: str, kind: EventKind, **detail: Any) -> Event:
    case = diarium.lock(session, diarium.find(session, number).id)
    return diarium.record(session, case, kind, actor="eva", now=NOW, detail=detail)


def test_events_are_told_in_order_and_signed(db: Store, receiver: Receiver) -> None:
    """From now on, with case, kind, units and diarienummer; the receiver can prove who sent it."""
    (number,) = receive(db, letter("Trasig lampa hos Anna"))
    secret = _add(db, receiver.url)
    with db.write() as session:
        _confirm(session, number)
        part = triage.assignments(session, diarium.find(session, number).id)[0]
        triage.set_diarienummer(session, part.case_id, part.id, "SMF 2026-17", seen=None, actor="rut", now=NOW)
    _tell(db)
    assert receiver.kinds() == ["confirmed", "diarienummer"]
    assert [body["case"] for body in receiver.taken] == [number, number]
    assert [body["units"] for body in receiver.taken] == [[STREETS], [STREETS]]
    assert receiver.taken[1]["diarienummer"] == "SMF 2026-17"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    for head, body in zip(receiver.heads, receiver.bodies, strict=True):
        said = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        proof = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert head["webhook-signature"] == f"v1,{proof}"
        assert b"anna" not in body.lower()
        assert "eva" not in body.decode()
    assert _tell(db) == 0


def test_what_is_not_taken_is_tried_again_before_the_next(db: Store, receiver: Receiver) -> None:
    """Errors and redirects hold up what is behind, each time longer; then everything comes, in order."""
    (number,) = receive(db, letter("Trasig lampa"))
    _add(db, receiver.url)
    with db.write() as session:
        for word in ("a", "b", "c"):
            _note(session, number, EventKind.NOTED, attention=word)
    receiver.answers = [204, 500, 302, 204]
    _tell(db)
    assert len(receiver.taken) == 1
    assert _tell(db) == 0
    with db.read() as session:
        row = session.exec(select(Webhook)).one()
        assert row.last_status.endswith("HTTP 500, try 1")
        assert row.due_at == NOW + timedelta(seconds=10)
    _tell(db, timedelta(seconds=10))
    assert _tell(db, timedelta(seconds=29)) == 0
    _tell(db, timedelta(seconds=30))
    assert [body["sequence"] for body in receiver.taken] == [3, 4, 5]
    with db.read() as session:
        assert webhooks.listed(session)[0]["last_status"].endswith(f"taken up to event {row.last_event_id + 2}")


def test_a_receiver_that_is_away_loses_nothing(db: Store, receiver: Receiver) -> None:
    """However long it is away; after some tries it counts as failing."""
    (number,) = receive(db, letter("Trasig lampa"))
    _add(db, "http://127.0.0.1:1/")
    with db.write() as session:
        _note(session, number, EventKind.NOTED)
    for day in range(webhooks.FAILING):
        _tell(db, timedelta(days=day))
    with db.write() as session:
        assert list(webhooks.failing(session)) == ["platina"]
        session.exec(select(Webhook)).one().url = receiver.url
    _tell(db, timedelta(days=30))
    assert receiver.kinds() == ["noted"]
    with db.read() as session:
        assert webhooks.failing(session) == {}


def test_only_the_kinds_that_were_asked_for(db: Store, receiver: Receiver) -> None:
    """Others are passed over, and who reads a restricted case is told nobody."""
    (number,) = receive(db, letter("Trasig lampa"))
    _add(db, receiver.url, "confirmed", "closed")
    with db.write() as session:
        _note(session, number, EventKind.READ)
        _note(session, number, EventKind.NOTED)
        _confirm(session, number)
    _tell(db)
    assert receiver.kinds() == ["confirmed"]
    with db.read() as session:
        newest = session.exec(select(Event.id).order_by(col(Event.id).desc()).limit(1)).one()
        assert session.exec(select(Webhook)).one().last_event_id == newest


def test_of_a_restricted_case_only_number_and_kind(db: Store, receiver: Receiver) -> None:
    """Neither units nor diarienummer."""
    (number,) = receive(db, letter("Trasig lampa"))
    _add(db, receiver.url)
    with db.write() as session:
        _confirm(session, number)
        session.exec(select(Case)).one().restricted = "skyddad"
    _tell(db)
    assert receiver.taken[0].keys() == {"id", "case", "kind", "at"}


def test_an_event_that_commits_late_is_not_left_out(db: Store, receiver: Receiver) -> None:
    """PostgreSQL shows a lower number after a higher one: nothing is told until no lower one can come."""
    first, second = receive(db, letter("Trasig lampa"), letter("En annan lampa"))
    _add(db, receiver.url)
    if db.sqlite:
        with db.write() as session:
            _note(session, first, EventKind.NOTED)
        _tell(db)
        assert [body["case"] for body in receiver.taken] == [first]
        return
    with db.write() as slow:
        early = _note(slow, first, EventKind.NOTED).id
        with db.write() as quick:
            late = _note(quick, second, EventKind.NOTED).id
        assert early < late
        assert _tell(db) == 0
    _tell(db)
    assert [body["case"] for body in receiver.taken] == [first, second]


@pytest.mark.parametrize(
    "url",
    [
        "http://platina.example/",
        "ftp://platina.example/",
        "https:///path",
        "https://user:word@platina.example/",
        "http://10.0.0.1/",
        "https://platina.example:port/",
        "https://plåtina.example/",
        "",
    ],
)
def test_addresses_that_are_not_safe_are_refused(db: Store, url: str) -> None:
    """Only https, or this machine; no password in an address."""
    with db.write() as session, pytest.raises(WebhookError):
        webhooks.add(session, "platina", url, (), NOW)


def test_a_webhook_is_added_once_and_removed(db: Store) -> None:
    """A taken name, an unknown kind and a missing one are told; the secret is not listed."""
    secret = _add(db, "https://platina.example/")
    with db.write() as session:
        with pytest.raises(WebhookError, match="already"):
            webhooks.add(session, "platina", "https://platina.example/", (), NOW)
        with pytest.raises(WebhookError, match="told of read"):
            webhooks.add(session, "andra", "https://platina.example/", ("read",), NOW)
        assert secret not in str(webhooks.listed(session))
        webhooks.remove(session, "platina")
        with pytest.raises(WebhookError, match="no webhook"):
            webhooks.remove(session, "platina")


def test_the_manual_verifies_what_is_sent(db: Store, receiver: Receiver) -> None:
    """The receiver's code in docs/api.md knows our message, and no message that was changed or is old."""
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    told: dict[str, Any] = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], told)
    is_ours = told["is_ours"]
    (number,) = receive(db, letter("Trasig lampa"))
    secret = _add(db, receiver.url)
    with db.write() as session:
        _note(session, number, EventKind.NOTED)
    _tell(db)
    head, body, now = receiver.heads[0], receiver.bodies[0], NOW.timestamp()
    assert is_ours(secret, head, body, now + 200)
    assert not is_ours(secret, head, body + b" ", now)
    assert not is_ours(secret, head, body, now + 400)
    assert not is_ours(secret, head | {"webhook-id": "evt_1"}, body, now)
