"""The JSON API: what a diarium system reads and does, and what it may not."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select

from mailrouter import diarium, seal
from mailrouter.config import Desk, Settings
from mailrouter.desk.api import clients, problems
from mailrouter.desk.api.models import LARGEST_ID
from mailrouter.desk.auth import AccountError
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import ApiClient, Assignment, AssignmentState, Event
from tests.clock import NOW
from tests.desk import STREETS, WATER, Clock, Direct, letter, open_desk, receive

SECRET = "Trasig lampa hos visselblåsaren"
LAMP = {"receivers": [{"unit": STREETS, "area": "gatubelysning"}]}


def token_for(store: Store, name: str, *scopes: str, unit: str = "", clearances: tuple[str, ...] = ()) -> str:
    """A client's token."""
    with store.write() as session:
        return clients.create(session, name, scopes, NOW, unit=unit, clearances=clearances)


@dataclass
class Program:
    """A program that talks to the API."""

    app: FastAPI
    token: str = ""
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.http = httpx.Client(transport=Direct(self.app), base_url="http://desk.example/api/v1", headers=headers)

    def get(self, path: str, **query: Any) -> Any:
        """What is answered, when all is well."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Send a decision."""
        return self.http.post(path, json=body)


def _deliver(store: Store, number: str) -> int:
    """The case's one part arrives at the förvaltning; its id."""
    with store.write() as session:
        part = session.exec(select(Assignment).where(Assignment.case_id == diarium.find(session, number).id)).one()
        diarium.move_assignment(part, AssignmentState.DELIVERED)
        return part.id


def _actors(store: Store, number: str, kind: EventKind) -> list[str]:
    with store.read() as session:
        case = diarium.find(session, number)
        return [
            event.actor for event in session.exec(select(Event).where(Event.case_id == case.id, Event.kind == kind))
        ]


def test_a_diarium_system_follows_a_case(db: Store) -> None:
    """Confirm, diarienummer, answered, closed and reopened: each an event by the client, and the chain holds."""
    (number,) = receive(db, letter("Trasig lampa", "Lampan är trasig.\n"))
    program = Program(open_desk(db), token_for(db, "sorterare", "read", "sort", "settle"))
    case = program.get(f"/cases/{number}")
    assert (case["state"], case["sender"], case["text"]) == ("open", "anna@post.example", "Lampan är trasig.")
    assert case["suggestion"]["candidates"][0]["unit"] == STREETS
    confirmed = program.post(f"/cases/{number}/confirm", seen=case["last_event"], **LAMP)
    assert (confirmed.status_code, confirmed.json()["state"]) == (200, "routed")
    part = _deliver(db, number)
    seen = confirmed.json()["last_event"]
    path = f"/cases/{number}/parts/{part}"
    numbered = program.http.put(f"{path}/diarienummer", json={"seen": seen, "diarienummer": "SMF 2026-17"})
    assert numbered.json()["parts"][0]["diarienummer"] == "SMF 2026-17"
    answered = program.post(f"{path}/answered", seen=seen)
    assert answered.json()["state"] == "answered"
    closed = program.post(f"/cases/{number}/close", seen=answered.json()["last_event"], reason="besvarat-direkt")
    assert closed.json()["state"] == "closed"
    again = program.post(f"/cases/{number}/reopen", seen=closed.json()["last_event"], reason="Hen skrev igen")
    assert (again.json()["state"], again.json()["attention"]) == ("open", "Återöppnat: Hen skrev igen")
    noted = program.post(f"/cases/{number}/noted", seen=again.json()["last_event"])
    assert noted.json()["attention"] == ""
    events = program.get(f"/cases/{number}/events")["events"]
    kinds = [event["kind"] for event in events if event["actor"] == "api:sorterare"]
    assert kinds == ["confirmed", "diarienummer", "answered", "closed", "reopened", "noted"]
    assert seal.verify(db).faults == []


def test_wrong_unit_comes_back(db: Store) -> None:
    """A unit's own client returns its part with a reason, and no client of another unit can touch or see it."""
    (number,) = receive(db, letter("Trasig lampa"))
    app = open_desk(db)
    Program(app, token_for(db, "sorterare", "sort")).post(f"/cases/{number}/confirm", seen=2, **LAMP)
    part = _deliver(db, number)
    streets = Program(app, token_for(db, "gatan", "read", "settle", unit=STREETS))
    water = Program(app, token_for(db, "vattnet", "read", "settle", unit=WATER))
    assert [case["number"] for case in streets.get("/cases")["cases"]] == [number]
    assert water.get("/cases")["cases"] == []
    path, body = f"/cases/{number}/parts/{part}/return", {"seen": 3, "reason": "Vattenverkets lampa"}
    assert water.post(path, **body).status_code == 404
    assert streets.post(f"/cases/{number}/parts/{part + 1}/return", **body).status_code == 404
    assert streets.post(f"/cases/{number}/close", seen=3, reason="ej-arende").status_code == 403
    returned = streets.post(path, **body).json()
    assert (returned["state"], returned["parts"][0]["state"]) == ("open", "returned")
    assert "Vattenverkets lampa" in returned["attention"]


def test_a_stale_decision_is_refused_with_what_happened(db: Store) -> None:
    """409 holds the event that was first; nothing is changed, and neither is it by a version from the future."""
    (number,) = receive(db, letter("Trasig lampa"))
    app = open_desk(db)
    first, second = (Program(app, token_for(db, name, "read", "sort")) for name in ("ett", "tva"))
    assert first.post(f"/cases/{number}/confirm", seen=2, **LAMP).status_code == 200
    late = second.post(f"/cases/{number}/close", seen=2, reason="ej-arende")
    assert (late.status_code, late.headers["content-type"]) == (409, "application/problem+json")
    assert (late.json()["code"], late.json()["event"]["actor"]) == ("stale", "api:ett")
    ahead = second.post(f"/cases/{number}/close", seen=LARGEST_ID, reason="ej-arende")
    assert (ahead.status_code, ahead.json()["code"]) == (422, "refused")
    assert second.get(f"/cases/{number}")["state"] == "routed"


def test_the_same_request_twice_is_carried_out_once(db: Store) -> None:
    """A client that did not hear the answer asks again and gets it; another choice is a new decision, and stale."""
    (number,) = receive(db, letter("Trasig lampa"))
    program = Program(open_desk(db), token_for(db, "p", "read", "sort", "settle"))
    for _ in range(2):
        assert program.post(f"/cases/{number}/confirm", seen=2, **LAMP).status_code == 200
    other = program.post(f"/cases/{number}/confirm", seen=2, receivers=[{"unit": WATER}])
    assert (other.status_code, other.json()["code"]) == (409, "stale")
    path = f"/cases/{number}/parts/{_deliver(db, number)}"
    for _ in range(2):
        assert program.http.put(f"{path}/diarienummer", json={"seen": 3, "diarienummer": "D 1"}).status_code == 200
        assert program.post(f"{path}/answered", seen=3).status_code == 200
    kinds = [event["kind"] for event in program.get(f"/cases/{number}/events")["events"]]
    assert kinds == ["received", "suggested", "confirmed", "diarienummer", "answered"]


def test_a_list_is_paged_and_filtered(db: Store) -> None:
    """The cursor leads through all cases, newest or oldest first, with every filter."""
    numbers = receive(db, *(letter(f"Trasig lampa {index}") for index in range(3)), letter("Om bidrag"))
    program = Program(open_desk(db), token_for(db, "p", "read", "sort"))
    for order, expected in (("newest", numbers[::-1]), ("oldest", numbers)):
        found, cursor = [], ""
        while cursor is not None:
            page = program.get("/cases", limit=3, order=order, **({"cursor": cursor} if cursor else {}))
            found += [case["number"] for case in page["cases"]]
            cursor = page["next"]
        assert found == expected
    program.post(f"/cases/{numbers[0]}/confirm", seen=2, **LAMP)

    def listed(**query: Any) -> list[str]:
        return [case["number"] for case in program.get("/cases", order="oldest", **query)["cases"]]

    assert listed(state="routed") == listed(unit=STREETS) == numbers[:1]
    assert listed(kind="fraga") == numbers[3:]
    assert listed(flag="bradskande") == numbers[:3]
    assert listed(arrived_from="2026-03-02", arrived_to="2026-03-02") == numbers
    assert listed(arrived_from="2026-03-03") == listed(due_to="2026-03-29") == []


def test_the_original_comes_byte_for_byte(db: Store) -> None:
    """As message/rfc822 that no browser runs; another case's mail is not found under this one's number."""
    mail = letter("Trasig lampa", html="<script>alert(1)</script>")
    first, second = receive(db, mail, letter("En annan lampa"))
    program = Program(open_desk(db), token_for(db, "p", "read"))
    path = program.get(f"/cases/{first}")["mails"][0]["original"]
    answer = program.http.get(f"http://desk.example{path}")
    assert answer.content == mail
    assert answer.headers["content-type"] == "message/rfc822"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert program.http.get(f"/cases/{second}/mails/1/original").status_code == 404


def test_units_and_areas_are_those_of_the_city(db: Store) -> None:
    """With the unit that answers for an area, unless the place decides."""
    program = Program(open_desk(db), token_for(db, "p", "read"))
    units = {unit["id"]: unit for unit in program.get("/units")["units"]}
    areas = {area["id"]: area for area in program.get("/areas")["areas"]}
    assert units[STREETS]["answers_today"]
    assert areas["gatubelysning"]["unit"] == STREETS
    assert areas["forsorjningsstod"]["unit"] is None


@pytest.mark.parametrize(
    ("token", "path", "status", "code"),
    [
        ("", "/cases", 401, "unauthorized"),
        ("mr_guess", "/units", 401, "unauthorized"),
        ("read", "/cases/99-1-X", 404, "not-found"),
        ("read", "/no-such-thing", 404, "not-found"),
        ("settle", "/cases", 403, "forbidden"),
        ("read", "/cases?limit=0", 422, "invalid"),
        ("read", "/cases?unit=a%00b", 422, "invalid"),
        ("disabled", "/cases", 401, "unauthorized"),
    ],
)
def test_errors_are_problems(db: Store, token: str, path: str, status: int, code: str) -> None:
    """With a stable code, the strict policy, and nothing of our inside."""
    app = open_desk(db)
    if token in ("read", "settle"):
        token = token_for(db, "p", token)
    elif token == "disabled":
        token = token_for(db, "p", "read")
        with db.write() as session:
            clients.disable(session, "p")
    answer = Program(app, token).http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (answer.json()["code"], answer.json()["status"]) == (code, status)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_bad_bodies_are_refused_in_words(db: Store) -> None:
    """What is not JSON, not known, too long or impossible to store is told, and nothing happens."""
    (number,) = receive(db, letter("Trasig lampa"))
    program = Program(open_desk(db), token_for(db, "p", "sort"))
    path = f"/cases/{number}/close"
    for content in (b"", b"{", b"\xff", b"[]", b'{"seen": 2, "reason": "ej-arende", "extra": 1}'):
        answer = program.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), content
        assert answer.json()["code"] in ("unreadable", "invalid")
    for note in (r"a\u0000b", "x" * 2001, r"\ud800"):
        content = b'{"seen": 2, "reason": "ej-arende", "note": "%s"}' % note.encode()
        answer = program.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), note[:8]
    assert program.http.post(path, content=b"x" * 300_000).json()["code"] == "too-large"
    outside = program.post(f"/cases/{number}/confirm", seen=2, receivers=[{"unit": "vasttrafik"}])
    assert (outside.status_code, outside.json()["code"]) == (422, "refused")
    assert _actors(db, number, EventKind.CLOSED) == []


def test_restricted_cases_are_for_cleared_clients(db: Store) -> None:
    """Without clearance there is no such case; with it lists hold sender and subject back."""
    (number,) = receive(db, letter(SECRET))
    app = open_desk(db)
    plain = Program(app, token_for(db, "plain", "read", "sort"))
    cleared = Program(app, token_for(db, "cleared", "read", clearances=("visselblasning",)))
    assert plain.get("/cases")["cases"] == []
    for path in (f"/cases/{number}", f"/cases/{number}/events", f"/cases/{number}/mails/1/original"):
        assert plain.http.get(path).status_code == 404
    assert plain.post(f"/cases/{number}/close", seen=3, reason="ej-arende").status_code == 404
    (listed,) = cleared.get("/cases")["cases"]
    assert (listed["sender"], listed["sender_name"], listed["subject"]) == ("", "", diarium.PUBLIC_SUBJECT)
    assert listed["restricted"] == "visselblasning"
    assert _actors(db, number, EventKind.READ) == []
    assert cleared.get(f"/cases/{number}")["subject"] == SECRET
    assert _actors(db, number, EventKind.READ) == ["api:cleared"]


def test_a_busy_client_is_slowed_down(db: Store) -> None:
    """429 says when to come back; other clients are not held up."""
    clock = Clock()
    app = open_desk(db, clock, Settings(desk=Desk(api_per_minute=2)))
    busy, calm = (Program(app, token_for(db, name, "read")) for name in ("busy", "calm"))
    assert [busy.http.get("/units").status_code for _ in range(3)] == [200, 200, 429]
    assert busy.http.get("/units").headers["retry-after"] == "60"
    assert calm.http.get("/units").status_code == 200
    clock.now += timedelta(minutes=1)
    assert busy.http.get("/units").status_code == 200


def test_only_the_hash_of_a_token_is_kept(db: Store) -> None:
    """And when it was used last; names, scopes and units that cannot be are refused."""
    token = token_for(db, "p", "read")
    Program(open_desk(db), token).get("/units")
    with db.write() as session:
        row = session.exec(select(ApiClient)).one()
        assert token not in (row.token_hash, row.name)
        assert row.last_used_at == NOW
        for name, scopes, unit in (("p", ["read"], ""), ("P p", ["read"], ""), ("q", [], ""), ("q", ["sort"], WATER)):
            with pytest.raises(AccountError):
                clients.create(session, name, scopes, NOW, unit=unit)


def test_the_manual_names_everything(db: Store) -> None:
    """docs/api.md has every path with its scope's table row, every scope and every code of a problem."""
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    described = Program(open_desk(db)).get("/openapi.json")
    rows = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert set(re.findall(r"^\| (GET|POST|PUT) \| `([^`]+)` \|", page, re.MULTILINE)) == rows
    codes = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", page, re.MULTILINE)
    assert {(int(status), code) for code, status in codes} == {
        *problems.CODES.items(),
        (409, "illegal-move"),
        (422, "refused"),
    }
    assert re.findall(r"^\| `([a-z]+)` \| [a-z]", page, re.MULTILINE) == ["read", "settle", "sort"]


def test_what_breaks_inside_is_told_as_nothing_but_broken(db: Store) -> None:
    """500 is a problem too, under the strict policy, and says nothing of the place or the data."""
    program = Program(open_desk(db), token_for(db, "p", "read"))
    program.app.state.desk.organisation = None
    answer = program.http.get("/units")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json() == {
        "type": "urn:mailrouter:problem:internal",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal",
        "detail": "",
        "errors": [],
        "event": None,
    }
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_description_is_ours_alone(db: Store) -> None:
    """It needs no token, names only problems as errors, and asks for a token everywhere."""
    described = Program(open_desk(db)).get("/openapi.json")
    assert described["servers"] == [{"url": "/api/v1"}]
    assert not {"HTTPValidationError", "ValidationError"} & described["components"]["schemas"].keys()
    for path in described["paths"].values():
        for operation in path.values():
            assert operation["security"] == [{"token": []}]
            errors = [answer for status, answer in operation["responses"].items() if status != "200"]
            assert all(list(answer["content"]) == ["application/problem+json"] for answer in errors)
