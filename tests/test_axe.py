"""Every page of ours in every state before axe-core, in Chromium: light and dark, wide and as narrow as a telephone.

One browser and one desk serve them all. Wide and light, all rules of WCAG 2.2 AA are asked; narrow and dark,
those that the width or the colours can change, and that nothing is wider than the window (1.4.10 Reflow).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page
from sqlmodel import Session, col, select

from mailrouter import config, restrictions, signing, triage
from mailrouter import store as stores
from mailrouter.compose import links
from mailrouter.compose.citizen import status_address
from mailrouter.compose.links import LinkAct
from mailrouter.config import Settings
from mailrouter.desk import auth
from mailrouter.store import Store
from mailrouter.tables import (
    AnswerTemplate,
    Assignment,
    AssignmentState,
    Case,
    Dispatch,
    DispatchKind,
    Restriction,
    Role,
)
from mailrouter.triage import Choice, CloseReason
from tests.browser import Window, served, window
from tests.clock import NOW
from tests.desk import STREETS, city, hire, letter, open_desk, receive
from tests.pictures import furnish

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NARROW = ["color-contrast", "target-size", "link-in-text-block", "scrollable-region-focusable", "meta-viewport"]

PAGES = {
    "queue": "/",
    "a tray that is empty": "/?lada=begransade",
    "quarantine": "/?lada=karantan",
    "what came back": "/?lada=tillbaka",
    "forwarded": "/?lada=vidarebefordrade",
    "closed": "/?lada=avslutade",
    "filtered": "/?flagga=bradskande",
    "search": "/?sok=trottoaren",
    "search without a hit": "/?sok=finnsinte",
    "an open case": "/arende/{open}",
    "a case nobody can be sure of": "/arende/{unsure}",
    "a case that came back": "/arende/{returned}",
    "a case in quarantine": "/arende/{quarantined}",
    "a routed case": "/arende/{routed}",
    "an answered case": "/arende/{answered}",
    "a closed case": "/arende/{closed}",
    "a restricted case": "/arende/{restricted}",
    "an answer being written": "/arende/{open}?mall={template}",
    "no such case": "/arende/26-0000-0",
    "no such page": "/finns-inte",
    "help": "/hjalp",
    "templates": "/mallar",
    "overview": "/oversikt",
    "state of the installation": "/admin",
    "accounts": "/admin/anvandare",
    "units": "/admin/forvaltningar",
    "rules and models": "/admin/regler",
}
OPEN_TO_ALL = {
    "login": "/logga-in",
    "a citizen's case": "{status}",
    "a citizen's case in English": "{status}?sprak=en",
    "a bent link": "{status}x",
    "diarienummer": "{diarienummer}",
    "fel förvaltning": "{fel-forvaltning}",
    "answered, by link": "{besvarat}",
}


@dataclass
class Ward:
    """A desk in use, and whoever looks at it."""

    store: Store
    window: Window
    names: dict[str, str] = field(default_factory=dict)

    @property
    def page(self) -> Page:
        """The one page that all tests use, one after the other."""
        return self.window.page

    def open(self, path: str) -> None:
        """Look at a page, wide and light."""
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        self.page.goto(self.window.address + path.format(**self.names))

    def faults(self) -> list[str]:
        """What axe-core and the narrow window find on the page as it is."""
        self.page.evaluate(AXE)
        found = self._axe({"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]})
        self.page.set_viewport_size({"width": 320, "height": 640})
        self.page.emulate_media(color_scheme="dark")
        found += self._axe({"runOnly": {"type": "rule", "values": NARROW}, "resultTypes": ["violations"]})
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return found + ([f"{wide} pixels wider than the window"] if wide > 0 else [])

    def _axe(self, options: dict[str, Any]) -> list[str]:
        result = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{violation['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]


@pytest.fixture(scope="module")
def ward(browser: Browser, migrated_sqlite: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """One case in each state; the administrator who looks is cleared for what is restricted."""
    file = tmp_path_factory.mktemp("axe") / "mailrouter.db"
    file.write_bytes(migrated_sqlite)
    opened = stores.connect(config.Store(url=f"sqlite:///{file}"))
    hire(opened, "ada", Role.ADMIN)
    names = _fill(opened)
    with served(open_desk(opened)) as address, window(browser, address) as seen:
        seen.log_in("ada")
        yield Ward(opened, seen, names)
    opened.dispose()


def _fill(opened: Store) -> dict[str, str]:
    samples = furnish(opened)
    answered, closed, restricted = receive(
        opened, letter("lampa på torget"), letter("lampa vid skolan"), letter("lampa hemma")
    )
    settings = Settings()
    with opened.write() as session:
        ada = auth.find_user(session, "ada")
        auth.allow(ada, role=Role.ADMIN, unit="", clearances=list(Restriction))
        case = _case(session, answered)
        triage.confirm(
            session, case.id, [Choice(STREETS)], seen=None, actor="eva", now=NOW, organisation=city(), settings=settings
        )
        part = session.exec(select(Assignment).where(Assignment.case_id == case.id)).one()
        part.state = AssignmentState.DELIVERED
        triage.answered(session, case.id, part.id, seen=None, actor="rut", now=NOW)
        triage.close(
            session, _case(session, closed).id, CloseReason.BESVARAT_DIREKT, note="", seen=None, actor="eva", now=NOW
        )
        restrictions.change(
            session, _case(session, restricted).id, Restriction.ORO, reason="barn", seen=None, actor="eva", now=NOW
        )
        names = {
            "open": samples[0], "unsure": samples[3], "quarantined": samples[6], "routed": samples[7],
            "returned": samples[8], "answered": answered, "closed": closed, "restricted": restricted,
            "template": str(session.exec(select(col(AnswerTemplate.id))).first()),
        }  # fmt: skip
        keys = signing.make_key(session, settings.city, NOW)
        routed = _case(session, samples[7])
        sent = select(Dispatch).where(Dispatch.case_id == routed.id, Dispatch.kind == DispatchKind.FORWARD)
        token = session.exec(sent).one().token
        base = settings.desk.public_url or settings.desk.base_url
        names["status"] = status_address(routed, keys, settings).removeprefix(base.rstrip("/"))
        for act in LinkAct:
            names[act] = links.address(act, token, settings, keys).removeprefix(base.rstrip("/"))
    return names


def _case(session: Session, number: str) -> Case:
    return session.exec(select(Case).where(Case.number == number)).one()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(ward: Ward, name: str) -> None:
    """Nobody is kept out of a page of the desk."""
    ward.open(PAGES[name])
    assert ward.faults() == []


@pytest.mark.parametrize("name", OPEN_TO_ALL)
def test_axe_finds_nothing_where_nobody_logs_in(ward: Ward, name: str) -> None:
    """Nor of those that citizens, registrators and whoever comes first see."""
    cookies = ward.window.context.cookies()
    ward.window.context.clear_cookies()
    try:
        ward.open(OPEN_TO_ALL[name])
        assert ward.faults() == []
    finally:
        ward.window.context.add_cookies(cookies)  # type: ignore[arg-type]  # what cookies() gave


def test_a_stale_decision_is_told_to_everybody(ward: Ward) -> None:
    """The page that says that somebody was faster is as fit as the others."""
    (number,) = receive(ward.store, letter("lampa i parken"))
    ward.open(f"/arende/{number}")
    with ward.store.write() as session:
        triage.set_aside(session, _case(session, number).id, reason="väntar", seen=None, actor="olle", now=NOW)
    ward.page.get_by_role("button", name="Bekräfta").first.click()
    ward.page.get_by_role("heading", name="olle hann före").wait_for()
    assert ward.faults() == []


def test_a_page_at_200_percent_fits(ward: Ward) -> None:
    """At 1280 pixels and 200 % zoom there are 640 left, and nothing is wider (1.4.4, 1.4.10)."""
    for path in ("/", "/arende/{open}", "/oversikt", "/admin/anvandare"):
        ward.open(path)
        ward.page.set_viewport_size({"width": 640, "height": 450})
        assert ward.page.evaluate("document.documentElement.scrollWidth") <= 640, path


def test_whoever_tabs_sees_where_they_are(ward: Ward) -> None:
    """Each stop of the tab key on the case page has an outline and lies in the window (2.4.7)."""
    ward.open("/arende/{open}")
    stops = []
    for _ in range(40):
        ward.page.keyboard.press("Tab")
        stop = ward.page.evaluate(
            """() => {
                const at = document.activeElement;
                if (!at || at === document.body) return null;
                const place = at.getBoundingClientRect(), look = getComputedStyle(at);
                const seen = place.bottom > 0 && place.top < innerHeight && place.right > 0 && place.left < innerWidth;
                const outlined = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
                return [at.outerHTML.slice(0, 120), outlined, seen];
            }"""
        )
        if stop is None:
            break
        stops.append(stop)
    assert len(stops) > 15
    assert [stop[0] for stop in stops if not (stop[1] and stop[2])] == []


def test_nothing_moves_for_those_who_asked_for_calm(ward: Ward) -> None:
    """With reduced motion no element has an animation or a transition."""
    ward.open("/arende/{open}")
    moving = ward.page.evaluate(
        """() => [...document.querySelectorAll("*")].filter(one => {
            const look = getComputedStyle(one);
            const moves = look.transitionDuration.split(",").some(time => parseFloat(time) > 0);
            return look.animationName !== "none" || moves;
        }).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert moving == []
