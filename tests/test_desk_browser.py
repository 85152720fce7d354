"""A day at the desk in a real browser: by keyboard, without JavaScript, two at once, and with hostile mail."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect
from sqlmodel import col, select

from mailrouter.store import Store
from mailrouter.tables import Assignment, Case, Dispatch
from tests.browser import served, window
from tests.desk import SCHOOLS, STREETS, WATER, hire, letter, open_desk, receive


@pytest.fixture
def address(db: Store) -> Iterator[str]:
    """A desk with two people who sort."""
    hire(db, "eva")
    hire(db, "olle")
    with served(open_desk(db)) as url:
        yield url


def _units(store: Store) -> list[str]:
    with store.read() as session:
        return list(session.exec(select(col(Assignment.unit)).order_by(col(Assignment.id))).all())


def test_a_working_day_by_keyboard(db: Store, address: str, browser: Browser) -> None:
    """Enter confirms the mark, digits choose, 0 searches by an old name, j and k walk, ? helps: no mouse needed."""
    first, second, third, fourth = receive(
        db, letter("Trasig lampa"), letter("Skolfråga"), letter("Skolbuss"), letter("Om bidrag")
    )
    with window(browser, address) as eva:
        page = eva.page
        eva.log_in("eva")
        page.get_by_role("link", name="Trasig lampa").press("Enter")
        page.wait_for_url(f"**/arende/{first}*")
        page.keyboard.press("j")
        page.wait_for_url(f"**/arende/{second}*")
        page.keyboard.press("k")
        page.wait_for_url(f"**/arende/{first}*")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Kortkommandon")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Kortkommandon")).to_be_hidden()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/arende/{second}*")
        expect(page.get_by_role("status").first).to_contain_text(f"{first}: Mottagare bekräftades")
        page.keyboard.press("2")
        expect(page.get_by_role("radio", name="Stadsmiljöförvaltningen Trasig")).to_be_checked()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/arende/{third}*")
        page.keyboard.press("0")
        page.keyboard.type("göteborg vatten")
        expect(page.get_by_label("Annan mottagare", exact=True)).to_be_checked()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/arende/{fourth}*")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Om bidrag", level=1)).to_be_visible()
        page.keyboard.press("u")
        page.wait_for_url(f"{address}/")
        assert eva.alarms == []
    assert _units(db) == [STREETS, STREETS, WATER]


def test_a_key_held_down_confirms_once(db: Store, address: str, browser: Browser) -> None:
    """The next case is never confirmed unread by the Enter of the one before."""
    first, second = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    with window(browser, address) as eva:
        eva.log_in("eva")
        eva.page.goto(f"{address}/arende/{first}")
        eva.page.keyboard.down("Enter")
        eva.page.wait_for_url(f"**/arende/{second}*")
        for _ in range(5):
            eva.page.keyboard.down("Enter")
        eva.page.keyboard.up("Enter")
        eva.page.reload()
        expect(eva.page.get_by_role("button", name="Bekräfta och skicka")).to_be_visible()
        assert second in eva.page.url
    assert _units(db) == [STREETS]


def test_shortcuts_can_be_turned_off(db: Store, address: str, browser: Browser) -> None:
    """Who speaks to the computer turns single keys off, and they stay off (WCAG 2.1.4)."""
    first, _ = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    with window(browser, address) as eva:
        eva.log_in("eva")
        eva.page.goto(f"{address}/hjalp")
        eva.page.get_by_role("button", name="Stäng av kortkommandon").click()
        eva.page.goto(f"{address}/arende/{first}")
        eva.page.keyboard.press("2")
        eva.page.keyboard.press("j")
        eva.page.keyboard.press("Enter")
        expect(eva.page.get_by_role("radio", name="Stadsmiljöförvaltningen Trasig")).to_be_checked()
        assert first in eva.page.url
    assert _units(db) == []


def test_everything_without_javascript(db: Store, address: str, browser: Browser) -> None:
    """Log in, search, choose another receiver and one more, close, open again: plain forms do it all."""
    _, other = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    with window(browser, address, javascript=False) as eva:
        page = eva.page
        eva.log_in("eva")
        page.get_by_label("Sök ärende").fill("lampa")
        page.get_by_label("Sök ärende").press("Enter")
        page.get_by_role("link", name="Trasig lampa").click()
        page.get_by_label("Annan mottagare", exact=True).check()
        page.get_by_label("Annan mottagare, välj i listan").select_option(f"{WATER}|")
        page.get_by_text("Fler ska ha mejlet").click()
        page.get_by_role("checkbox", name="Grundskoleförvaltningen").check()
        page.get_by_role("button", name="Bekräfta och skicka").click()
        expect(page.get_by_role("status").first).to_contain_text(
            "Förvaltningen kretslopp och vatten, Grundskoleförvaltn"
        )
        page.goto(f"{address}/arende/{other}")
        page.get_by_text("Avsluta utan att skicka").click()
        page.get_by_label("Inte ett ärende").check()
        page.get_by_role("button", name="Avsluta ärendet").click()
        page.goto(f"{address}/arende/{other}")
        page.locator("summary", has_text="Öppna igen").click()
        page.get_by_label("Varför öppnas ärendet igen?").fill("Fel av mig")
        page.get_by_role("button", name="Öppna igen").click()
        expect(page.get_by_text("Återöppnat: Fel av mig")).to_be_visible()
    assert _units(db) == [WATER, SCHOOLS]


def test_two_people_open_the_same_case(db: Store, address: str, browser: Browser) -> None:
    """The first decision holds; the second person is told who was faster, and what the case is now."""
    (number,) = receive(db, letter("Trasig lampa"))
    with window(browser, address) as eva, window(browser, address) as olle:
        for person, name in ((eva, "eva"), (olle, "olle")):
            person.log_in(name)
            person.page.goto(f"{address}/arende/{number}")
        olle.page.get_by_role("button", name="Ta över ärendet").click()
        expect(olle.page.get_by_role("button", name="Bekräfta och skicka")).to_be_visible()
        olle.page.keyboard.press("Enter")
        expect(olle.page.get_by_text("Här är tomt")).to_be_visible()
        eva.page.keyboard.press("Enter")
        alert = eva.page.get_by_role("alert")
        expect(alert).to_contain_text("olle hann före")
        expect(alert).to_contain_text("Mottagare bekräftades (Stadsmiljöförvaltningen)")
        expect(eva.page.get_by_role("heading", name="Vem har mejlet")).to_be_visible()
        expect(eva.page.get_by_role("button", name="Bekräfta och skicka")).to_have_count(0)
    with db.read() as session:
        assert len(session.exec(select(Dispatch)).all()) == 1


def test_hostile_mail_does_nothing(db: Store, address: str, browser: Browser, tmp_path: Path) -> None:
    """Scripts in every corner of a mail never run, its HTML asks the net for nothing, its files are only saved."""
    script = "<script>document.title='owned';alert(1)</script><img src=https://spy.example/a.gif onerror=alert(2)>"
    html = (
        f"<html><head><link rel=stylesheet href='https://spy.example/s.css'><meta http-equiv=refresh content='0;"
        f"url=https://spy.example/r'><style>@import 'https://spy.example/i.css';</style></head><body "
        f"background='https://spy.example/b.gif' onload=alert(3)>{script}<p style=\"background:url('https://spy.example"
        f"/c.gif')\">Synlig text</p><iframe src='https://spy.example/f'></iframe><a href='https://spy.example/l'>länk</a>"
        f"<form action='https://spy.example/x'><button>Skicka</button></form><svg onload=alert(4)></svg></body></html>"
    )
    evil = letter(
        f"Lampa {script}",
        f"Hej {script}",
        sender=f'"{script}" <anna@post.example>',
        html=html,
        attachments=[(f"{script}.html", "text/html", script.encode()), ("x.svg", "image/svg+xml", script.encode())],
    )
    (number,) = receive(db, evil)
    with window(browser, address) as eva:
        page = eva.page
        eva.log_in("eva")
        page.goto(f"{address}/arende/{number}")
        page.get_by_role("link", name="Visa med formatering").click()
        frame = page.frame_locator("iframe")
        expect(frame.get_by_text("Synlig text")).to_be_visible()
        expect(frame.locator("a, img, form, svg, iframe, script")).to_have_count(0)
        with page.expect_download() as download:
            page.get_by_role("link", name=".html").click()
        download.value.save_as(tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes().strip() == script.encode()
        for path in (f"/arende/{number}/mejl/1/bilaga/1", f"/arende/{number}/mejl/1/original"):
            with pytest.raises(Error, match="Download is starting"):
                page.goto(address + path)
        page.goto(f"{address}/arende/{number}/mejl/1/html")
        page.goto(f"{address}/?sok={script}")
        assert "owned" not in page.title()
        assert eva.alarms == []
        assert eva.strangers == []


@pytest.mark.parametrize("width", [320, 1440])
def test_pages_fit_and_speak(db: Store, address: str, browser: Browser, width: int) -> None:
    """No page scrolls sideways; each has one heading, a main landmark, a title, and a name for every control."""
    (number, quarantined) = receive(db, letter("Trasig lampa " + "x" * 80, html="<p>Hej</p>"), letter("Om bidrag"))
    with db.write() as session:
        session.exec(select(Case).where(Case.number == quarantined)).one().attention = "Återlämnat: " + "y" * 90
    nameless = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, iframe')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.title || e.innerText?.trim() || e.textContent.trim()))
        .map(e => e.outerHTML)"""
    with window(browser, address, width=width) as eva:
        pages = ["/", "/?lada=alla&sok=lampa", f"/arende/{number}", f"/arende/{number}?visning=html", "/hjalp", "/x"]
        eva.page.goto(f"{address}/logga-in")
        looked = ["/logga-in"]
        while True:
            page = eva.page
            assert page.evaluate("document.documentElement.scrollWidth") <= width, looked[-1]
            assert page.locator("h1").count() == 1, looked[-1]
            assert page.locator("main").count() == 1
            assert page.title()
            assert page.locator("html").get_attribute("lang") == "sv"
            assert page.evaluate(nameless) == [], looked[-1]
            if len(looked) == 1:
                eva.log_in("eva")
            if not pages:
                break
            looked.append(pages.pop(0))
            page.goto(address + looked[-1])
