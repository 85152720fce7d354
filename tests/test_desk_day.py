"""The working day at a desk with 300 cases: by keyboard, with a colleague, and without JavaScript."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import col, select

from mailrouter import config, store
from mailrouter.desk import auth
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Assignment, Case, CaseState, Dispatch, DispatchKind, DispatchState, Event, User
from tests.browser import Window, served, window
from tests.clock import NOW
from tests.desk import hire, letter, open_desk, receive
from tests.desk_day import fill


@dataclass(frozen=True)
class Day:
    """The desk that the tests of this module share."""

    store: Store
    address: str
    numbers: list[str]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Two people, 300 cases, and a clock that goes."""
    opened = store.connect(config.Store(url=f"sqlite:///{tmp_path_factory.mktemp('day')}/desk.db"))
    store.migrate(opened)
    hire(opened, "eva")
    hire(opened, "olle")
    numbers = fill(opened)
    began = time.monotonic()
    app = open_desk(opened)
    app.state.desk.clock = lambda: NOW + timedelta(seconds=time.monotonic() - began)
    with served(app) as address:
        yield Day(opened, address, numbers)
    opened.dispose()


def _enter(opened: Window, day: Day, name: str, path: str = "/") -> Page:
    """Be logged in already, and look at a page."""
    with day.store.write() as session:
        user = session.exec(select(User).where(User.name == name)).one()
        token = auth.open_login(session, user, now=NOW, hours=10)
    opened.context.add_cookies([{"name": "mailrouter", "value": token, "url": day.address}])
    opened.page.goto(day.address + path)
    return opened.page


def _state(day: Day, number: str) -> CaseState:
    with day.store.read() as session:
        return session.exec(select(Case).where(Case.number == number)).one().state


def _events(day: Day, number: str) -> list[str]:
    with day.store.read() as session:
        found = select(Event.kind).join(Case).where(Case.number == number, Event.actor != "mailrouter")
        return list(session.exec(found.order_by(col(Event.sequence))))


def _open(page: Page) -> str:
    """The number of the case that is shown."""
    return page.locator(".case-head .number").inner_text()


def _decided(page: Page, number: str) -> None:
    """Wait until the next case says what became of the one before."""
    expect(page.get_by_role("status").filter(has_text=number)).to_be_visible()


def test_the_day_by_keyboard(day: Day, browser: Browser) -> None:
    """Confirm, undo, correct, split, answer, refer, not a case, set aside: no mouse, and all of it stands written."""
    with window(browser, day.address) as eva:
        page = _enter(eva, day, "eva")
        page.locator(".cases a.open").nth(10).press("Enter")
        number = _open(page)
        page.keyboard.press("Enter")
        _decided(page, number)
        page.keyboard.press("z")
        expect(page.get_by_text("Beslutet ångrades innan något skickades").first).to_be_visible()
        assert (_open(page), _state(day, number)) == (number, CaseState.OPEN)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        _decided(page, number)
        assert _events(day, number) == [EventKind.CONFIRMED, EventKind.UNDONE, EventKind.CONFIRMED]

        split = _open(page)
        page.keyboard.press("s")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        _decided(page, split)
        with day.store.read() as session:
            parts = session.exec(select(Assignment).join(Case).where(Case.number == split)).all()
        assert len({part.unit for part in parts}) == 2

        answered = _open(page)
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Svara avsändaren")).to_be_visible()
        expect(page.get_by_label("Svaret")).to_be_focused()
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_contain_text("hakparentes")
        expect(page.get_by_label("Svaret")).to_be_focused()
        page.keyboard.type("Vi har öppet till fem.")
        page.keyboard.press("Control+Enter")
        _decided(page, answered)
        with day.store.read() as session:
            mail = session.exec(select(Dispatch).join(Case).where(Case.number == answered)).one()
        assert (mail.kind, mail.state) == (DispatchKind.ANSWER, DispatchState.QUEUED)
        assert "Tack för din fråga.\n\nVi har öppet till fem.\n\nMed vänlig hälsning" in mail.text

        referred = _open(page)
        page.keyboard.press("h")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Hänvisas till")).to_have_value("Polismyndigheten")
        expect(page.get_by_label("Svaret")).to_be_focused()
        page.keyboard.press("Control+Enter")
        _decided(page, referred)

        nothing = _open(page)
        page.keyboard.press("e")
        page.keyboard.press("Enter")
        _decided(page, nothing)

        aside = _open(page)
        page.keyboard.press("v")
        page.keyboard.type("Väntar på besked")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        _decided(page, aside)
        states = [_state(day, number) for number in (answered, referred, nothing, aside)]
        assert states == [CaseState.CLOSED, CaseState.CLOSED, CaseState.CLOSED, CaseState.QUARANTINED]
        assert eva.alarms == []
        assert eva.strangers == []


def test_two_people_at_one_case(day: Day, browser: Browser) -> None:
    """Who has it is shown, taking over is told at once, and the slower decision is refused with what happened."""
    number = day.numbers[200]
    with window(browser, day.address) as eva, window(browser, day.address) as olle:
        _enter(eva, day, "eva", f"/arende/{number}")
        _enter(olle, day, "olle", f"/arende/{number}")
        expect(olle.page.get_by_text("eva har ärendet öppet sedan")).to_be_visible()
        expect(olle.page.get_by_role("button", name="Bekräfta och skicka")).to_have_count(0)
        olle.page.get_by_role("button", name="Ta över ärendet").press("Enter")
        expect(eva.page.get_by_role("status")).to_contain_text("olle har tagit över ärendet.")
        olle.page.keyboard.press("Enter")
        expect(eva.page.get_by_role("status")).to_contain_text("Mottagare bekräftades (olle")
        eva.page.keyboard.press("Enter")
        expect(eva.page.get_by_role("alert")).to_contain_text("olle hann före")
        assert _events(day, number) == [EventKind.CONFIRMED]


def test_the_queue_hears_of_new_mail_without_jumping(day: Day, browser: Browser) -> None:
    """The counter grows, a line tells of it, the rows stay until somebody asks; who has a case stands in its row."""
    with window(browser, day.address) as eva, window(browser, day.address) as olle:
        rows = _enter(eva, day, "eva").locator(".cases a.open")
        before = rows.all_inner_texts()
        first = eva.page.locator(".case-row").first
        _enter(olle, day, "olle", rows.first.get_attribute("href") or "")
        expect(first.get_by_text("olle har öppnat")).to_be_visible()
        receive(day.store, letter("Halt på trottoaren, ny anmälan"))
        expect(eva.page.get_by_role("status").filter(has_text="ärende har kommit till")).to_be_visible()
        assert rows.all_inner_texts() == before


def test_the_same_day_without_javascript(day: Day, browser: Browser) -> None:
    """Confirm, undo, split, answer from a template and show a hidden number: plain forms and links do it all."""
    with window(browser, day.address, javascript=False, width=390, height=844) as olle:
        page = _enter(olle, day, "olle", f"/arende/{day.numbers[245]}")
        expect(page.get_by_text("19121212-1212")).to_have_count(0)
        page.get_by_role("button", name="Visa", exact=True).click()
        expect(page.get_by_text("19121212-1212")).to_be_visible()
        page.locator("summary", has_text="Fler ska ha mejlet").click()
        page.get_by_role("checkbox").first.check()
        page.get_by_role("button", name="Bekräfta och skicka").click()
        page.get_by_role("button", name="Ångra").click()
        expect(page.get_by_text("Beslutet ångrades innan något skickades").first).to_be_visible()
        assert _state(day, day.numbers[245]) is CaseState.OPEN
        page.locator("summary", has_text="Hänvisa till någon annan").click()
        page.get_by_role("link", name="Västtrafik").click()
        page.get_by_role("button", name="Skicka svaret och avsluta").click()
        expect(page.get_by_role("status").first).to_contain_text("Ärendet avslutades")
        assert _events(day, day.numbers[245]) == [
            EventKind.READ,
            EventKind.CONFIRMED,
            EventKind.UNDONE,
            EventKind.CLOSED,
        ]


def test_help_names_every_key_that_does_something() -> None:
    """The keys of desk.js stand in the help, with the mouse's way beside them on the pages."""
    script = (Path(config.__file__).parent / "desk" / "static" / "desk.js").read_text(encoding="utf-8")
    shown = (Path(config.__file__).parent / "templates" / "desk" / "keys.html").read_text(encoding="utf-8")
    acts = script.partition("const acts = {")[2].partition("};")[0]
    keys = [
        line.strip().split(":")[0].strip('"') for line in acts.splitlines() if line.startswith("    ") and ":" in line
    ]
    drawn = {"ArrowRight": "→", "ArrowLeft": "←"}
    missing = [
        key
        for key in keys
        if len(key) <= 10 and f"<kbd>{drawn.get(key, key.upper() if len(key) == 1 else key)}</kbd>" not in shown
    ]
    assert missing == []
    assert len(keys) >= 15
