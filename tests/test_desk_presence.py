"""Two people at once: who has a case is shown, the first holds it, and open pages hear of what others do."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from sqlmodel import Session, col, select

from mailrouter import triage
from mailrouter.config import Settings
from mailrouter.desk.auth import Visitor
from mailrouter.desk.live import Group, Watch
from mailrouter.desk.trays import Tray
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Event, Presence, Role, User
from mailrouter.triage import Choice
from tests.browser import served
from tests.clock import NOW
from tests.desk import STREETS, Clock, Person, city, hire, letter, open_desk, receive

LIGHT = f"{STREETS}|gatubelysning"
HOLD = timedelta(minutes=5)
EVERYBODY = Group(None, frozenset())


def _case(session: Session, number: str) -> Case:
    return session.exec(select(Case).where(Case.number == number)).one()


def _visitor(store: Store, name: str) -> Visitor:
    with store.read() as session:
        user = session.exec(select(User).where(User.name == name)).one()
    return Visitor(user.id, user.name, user.role, "", "")


@pytest.fixture
def clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
def people(db: Store, clock: Clock) -> tuple[Person, Person]:
    """Eva and Olle, logged in at the same desk."""
    hire(db, "eva")
    hire(db, "olle")
    app = open_desk(db, clock)
    return Person(app).enter(db), Person(app, "olle").enter(db)


def test_the_first_to_open_a_case_holds_it(db: Store, people: tuple[Person, Person], clock: Clock) -> None:
    """The second reads, is told since when, and cannot decide; after the hold has run out it is free."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva, olle = people
    page = eva.look(number)
    clock.now += timedelta(minutes=1)
    seen = olle.look(number)
    assert "eva har ärendet öppet sedan i dag 10:00." in seen.text
    assert "/bekrafta" not in seen.text
    assert "eva har öppnat" in olle.client.get("/").text
    assert "eva har öppnat" not in eva.client.get("/").text
    assert "/bekrafta" in olle.send(seen, "/ta-over").text
    refused = eva.send(page, "/bekrafta", val=LIGHT)
    assert refused.status_code == 409
    assert "olle har ärendet öppet." in refused.text
    clock.now += timedelta(minutes=6)
    assert "/bekrafta" in eva.look(number).text


def test_a_decision_lets_go_and_leads_past_what_others_have(db: Store, people: tuple[Person, Person]) -> None:
    """The next case is one that nobody has open; a case that is decided is held by nobody."""
    first, second, third = receive(db, letter("Trasig lampa"), letter("Skolfråga"), letter("Skolbuss"))
    eva, olle = people
    olle.look(second)
    page = eva.look(first)
    assert f'href="/arende/{third}" data-key="next"' in page.text
    after = eva.send(page, "/bekrafta", val=LIGHT)
    assert after.url.path == f"/arende/{third}"
    with db.read() as session:
        held = session.exec(select(Presence.case_id).order_by(col(Presence.case_id))).all()
        assert held == [_case(session, second).id, _case(session, third).id]
    assert "/bekrafta" not in olle.look(third).text
    mine = eva.client.get("/", params={"lada": "mina"}).text
    assert first in mine
    assert third in mine
    assert second not in mine


def test_a_closed_page_frees_the_case_but_a_reload_does_not(
    db: Store, people: tuple[Person, Person], clock: Clock
) -> None:
    """A browser says that the old page is gone after the new one has come: within moments that is a reload."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva, olle = people
    page = eva.look(number)
    form = {"csrf": page.text.split('name="csrf" value="')[1].split('"')[0], "seen": "1"}
    eva.client.post(f"/arende/{number}/lamna", data=form)
    assert "/bekrafta" not in olle.look(number).text
    clock.now += timedelta(seconds=20)
    eva.client.post(f"/arende/{number}/lamna", data=form)
    assert "/bekrafta" in olle.look(number).text


def test_those_who_only_look_hold_nothing(db: Store) -> None:
    """A manager who reads a case keeps nobody from deciding it."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "karin", Role.CHEF)
    Person(open_desk(db), "karin").enter(db).look(number)
    with db.read() as session:
        assert session.exec(select(Presence)).all() == []


def test_a_watch_tells_what_is_new_and_to_whom(db: Store, people: tuple[Person, Person]) -> None:
    """Counters at once, then only what happened: what came, who holds what, who decided; nothing restricted."""
    first, _ = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    eva, _ = people
    groups = {EVERYBODY: _visitor(db, "olle")}
    watch = Watch(db, HOLD)
    assert watch.look(groups, [EVERYBODY], [], NOW)[EVERYBODY].counts[Tray.SORT] == 2
    assert watch.look(groups, [], [], NOW) == {}
    assert watch.look(groups, [EVERYBODY], [], NOW)[EVERYBODY].counts[Tray.SORT] == 2
    page = eva.look(first)
    news = watch.look(groups, [], [], NOW)[EVERYBODY]
    assert [(news.numbers[key], holder.name) for key, holder in news.holders.items()] == [(first, "eva")]
    eva.send(page, "/bekrafta", val=LIGHT)
    news = watch.look(groups, [], [], NOW)[EVERYBODY]
    assert [(news.numbers[key], event.kind, event.actor) for key, event in news.decided.items()] == [
        (first, EventKind.CONFIRMED, "eva")
    ]
    assert (news.counts[Tray.SORT], news.counts[Tray.ROUTED], news.arrived) == (1, 1, frozenset())
    came, secret = receive(db, letter("Ny lampa"), letter("Hemlig lampa"))
    with db.write() as session:
        _case(session, secret).restricted = "skyddad"
    news = watch.look(groups, [], [], NOW)[EVERYBODY]
    with db.read() as session:
        assert news.arrived == {_case(session, came).id}
    assert secret not in news.numbers.values()
    assert news.counts[Tray.SORT] == 2


def test_an_open_page_goes_on_holding(db: Store, people: tuple[Person, Person]) -> None:
    """While the page listens its hold is renewed, once a minute."""
    (number,) = receive(db, letter("Trasig lampa"))
    people[0].look(number)
    with db.read() as session:
        held = session.exec(select(Presence)).one()
    watch = Watch(db, HOLD)
    for minutes in (0, 4, 8):
        watch.look(
            {EVERYBODY: _visitor(db, "eva")}, [], [(held.case_id, held.user_id)], NOW + timedelta(minutes=minutes)
        )
    with db.read() as session:
        assert session.exec(select(Presence.seen_at)).one() == NOW + timedelta(minutes=8)


def _lines(response: httpx.Response) -> Iterator[dict[str, object]]:
    """The news of a stream."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_the_stream_tells_an_open_page_and_ends_with_the_server(db: Store) -> None:
    """Counters first, then who decided the case that the page shows; when the server ends, so does the stream."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    app = open_desk(db)
    eva = Person(app).enter(db)
    cookies = {"mailrouter": eva.client.cookies["mailrouter"]}
    with served(app) as address:
        assert httpx.get(f"{address}/handelser", follow_redirects=False).status_code == 303
        with httpx.stream("GET", f"{address}/handelser?arende={number}", cookies=cookies, timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["x-accel-buffering"] == "no"
            news = _lines(stream)
            first = next(news)
            assert (first["counts"]["att-sortera"], first["decided"]) == ("1", "")  # type: ignore[index]  # JSON
            with db.write() as session:
                triage.confirm(
                    session, _case(session, number).id, [Choice(STREETS)], seen=None, actor="olle", now=NOW,
                    organisation=city(), settings=Settings(),
                )  # fmt: skip
            decided = next(one["decided"] for one in news if one["decided"])
            assert decided == "Mottagare bekräftades (olle, i dag 10:00)."
            threading.Thread(target=app.state.desk.live.close).start()
            assert list(news) == []
    with db.read() as session:
        assert _case(session, number).state is CaseState.ROUTED
        assert session.exec(select(Event.kind).order_by(col(Event.id).desc())).first() == EventKind.CONFIRMED
