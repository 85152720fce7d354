"""The links in a cover note: what they open, what they do, and what they refuse; on both databases."""

import re
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from httpx import Client, Response
from sqlmodel import col, select

from mailrouter import config, forward, triage
from mailrouter.config import Settings
from mailrouter.smarthost import MaildirSmarthost
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, Event
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.desk import STREETS, Direct, city, letter, open_desk, receive


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A desk with a public address, and mailboxes in the test's folder."""
    return Settings(
        smarthost=config.Smarthost(maildir=tmp_path / "mailboxes"),
        desk=config.Desk(public_url="https://arende.stad.example/"),
    )


@pytest.fixture
def links(db: Store, settings: Settings) -> dict[str, str]:
    """A forward that has arrived: the links of its note, by their act."""
    receive(db, letter("Trasig lampa", "Anna Berg har ont i benet."))
    with db.write() as session:
        triage.confirm(
            session, 1, [Choice(STREETS)], seen=None, actor="maria", now=NOW, organisation=city(), settings=settings
        )
    while forward.send_due(db, MaildirSmarthost(settings.smarthost.maildir, settings.city.domains), settings, NOW):
        pass
    (file,) = (settings.smarthost.maildir / f"{STREETS}@stad.example" / "new").iterdir()
    note = next(message_from_bytes(file.read_bytes(), policy=policy.default).iter_parts()).get_content()
    found = re.findall(r"^(https://arende\.stad\.example/svar/([a-z-]+)/\S+)\s*$", note, re.MULTILINE)
    return {act: link for link, act in found}


@pytest.fixture
def client(db: Store, settings: Settings) -> Client:
    """A browser without a login."""
    return Client(transport=Direct(open_desk(db, settings=settings)))


def part_of(db: Store) -> tuple[Case, Assignment, list[tuple[str, str]]]:
    """The case, its part, and kind and actor of its latest events."""
    with db.read() as session:
        part = session.exec(select(Assignment)).one()
        events = session.exec(select(Event).where(Event.case_id == part.case_id).order_by(col(Event.sequence))).all()
        return session.get_one(Case, part.case_id), part, [(event.kind, event.actor) for event in events[-1:]]


def test_opening_a_link_changes_nothing(db: Store, links: dict[str, str], client: Client) -> None:
    """A scanner that opens every link, even with HEAD, finds pages and leaves the register as it was."""
    before = part_of(db)
    assert set(links) == {"diarienummer", "fel-forvaltning", "besvarat"}
    for link in links.values():
        page = client.get(link)
        assert page.status_code == 200
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert client.head(link).status_code in {200, 405}
    assert part_of(db) == before


def test_a_page_tells_nothing_of_the_citizen(db: Store, links: dict[str, str], client: Client) -> None:
    """The case's number and its neutral subject; and not even that when the case is restricted."""
    pages = [client.get(link).text for link in links.values()]
    assert all("gatubelysning" in page and "Stadsmiljöförvaltningen" in page for page in pages)
    with db.write() as session:
        session.exec(select(Case)).one().restricted = "skyddad"
    pages += [client.get(link).text for link in links.values()]
    assert not any(word in page for page in pages for word in ("Anna", "anna@", "benet", "Trasig lampa"))
    assert "gatubelysning" not in pages[-1]


def test_a_diarienummer_by_link(db: Store, links: dict[str, str], client: Client) -> None:
    """It is kept in the mailbox's name, and may be mended by the same link."""
    assert client.post(links["diarienummer"], data={"nummer": " "}).status_code == 400
    assert "Tack!" in client.post(links["diarienummer"], data={"nummer": "0263/26"}).text
    assert "Tack!" in client.post(links["diarienummer"], data={"nummer": "0264/26"}).text
    _, part, events = part_of(db)
    assert part.external_number == "0264/26"
    assert events == [("diarienummer", f"länk: {STREETS}@stad.example")]


def test_answered_by_link_once(db: Store, links: dict[str, str], client: Client) -> None:
    """The case is answered; the link, and the one for fel förvaltning, then say that they have lost their use."""
    assert "Tack!" in client.post(links["besvarat"]).text
    case, part, events = part_of(db)
    assert (case.state, part.state, events[0][0]) == ("answered", "answered", "answered")
    again: list[Response] = [client.get(links["besvarat"]), client.post(links["besvarat"])]
    again += [client.post(links["fel-forvaltning"], data={"skal": "fel"})]
    assert all("redan besvarat" in page.text and "<form method" not in page.text for page in again)
    assert part_of(db)[1].state is AssignmentState.ANSWERED


def test_wrong_unit_by_link_needs_a_reason(db: Store, links: dict[str, str], client: Client) -> None:
    """The case comes back to the desk with the words."""
    assert client.post(links["fel-forvaltning"]).status_code == 400
    assert "Tack!" in client.post(links["fel-forvaltning"], data={"skal": "Ska till <Kretslopp>"}).text
    case, _, _ = part_of(db)
    assert case.state == "open"
    assert "”Ska till <Kretslopp>”" in case.attention
    assert "redan tillbaka" in client.get(links["diarienummer"]).text


def test_a_changed_link_opens_nothing(db: Store, links: dict[str, str], client: Client) -> None:
    """Another act, another token, a cut signature: all are unknown; after many of them the client must wait."""
    link = links["diarienummer"]
    for wrong in (link.replace("diarienummer", "besvarat"), link[:-1], link.replace("/mr", "/ms"), f"{link[:-2]}åä"):
        assert client.get(wrong).status_code == 404
    head, secret = link.split("/mr")
    assert client.get(f"{head}/MR{secret.upper()}").status_code == 200
    waits = [client.get(link[:-1]).status_code for _ in range(60)]
    assert set(waits) == {404, 429}


def test_links_can_be_left_out(db: Store, tmp_path: Path) -> None:
    """Where registrators do not reach the desk, the note has only its three lines."""
    settings = Settings(smarthost=config.Smarthost(maildir=tmp_path / "mailboxes"), forward=config.Forward(links=False))
    receive(db, letter("Trasig lampa"))
    with db.write() as session:
        triage.confirm(
            session, 1, [Choice(STREETS)], seen=None, actor="maria", now=NOW, organisation=city(), settings=settings
        )
    while forward.send_due(db, MaildirSmarthost(settings.smarthost.maildir, settings.city.domains), settings, NOW):
        pass
    (file,) = (settings.smarthost.maildir / f"{STREETS}@stad.example" / "new").iterdir()
    assert b"/svar/" not in file.read_bytes()
