"""The clock at the desk: pause and go on, and a notice of delay that a person finishes and sends."""

import re
from datetime import timedelta
from html import unescape

import pytest
from sqlmodel import select

from mailrouter import diarium, triage
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, CaseState, Dispatch, DispatchKind, Event
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.desk import STREETS, Clock, Person, city, hire, letter, open_desk, receive

MONTHS = timedelta(weeks=9)


@pytest.fixture
def clock() -> Clock:
    """The moment at the desk."""
    return Clock()


@pytest.fixture
def eva(db: Store, clock: Clock) -> Person:
    """Somebody who sorts, logged in."""
    hire(db, "eva")
    return Person(open_desk(db, clock)).enter(db)


@pytest.fixture
def part(db: Store) -> Assignment:
    """A part that a förvaltning has."""
    (number,) = receive(db, letter("Trasig lampa"))
    with db.write() as session:
        case = diarium.find(session, number)
        choice = Choice(STREETS)
        triage.confirm(
            session, case.id, [choice], seen=None, actor="eva", now=NOW, organisation=city(), settings=Settings()
        )
        (part,) = triage.assignments(session, case.id)
        part.state = AssignmentState.DELIVERED
    return part


def test_the_clock_is_stopped_and_started(db: Store, eva: Person, part: Assignment, clock: Clock) -> None:
    """With a reason it stands still, which the page says; when it runs on the date has moved; without one it runs."""
    with db.read() as session:
        number = session.get_one(Case, part.case_id).number
    page = eva.look(number)
    assert eva.send(page, f"/del/{part.id}/pausa", orsak=" ").status_code == 422
    page = eva.send(page, f"/del/{part.id}/pausa", orsak="Väntar på tingsrätten.")
    assert "Svarstiden är pausad: Väntar på tingsrätten." in page.text
    assert f"/del/{part.id}/pausa" not in page.text
    clock.now += timedelta(hours=5)
    page = eva.send(page, f"/del/{part.id}/fortsatt")
    assert "Svarstiden löper igen" in page.text
    assert f"/del/{part.id}/pausa" in page.text


def test_a_notice_of_delay_is_sent_by_a_person(db: Store, eva: Person, part: Assignment) -> None:
    """Four weeks late there is a draft; unfinished it goes nowhere, finished it goes, and the case stays as it is."""
    with db.write() as session:
        case = session.get_one(Case, part.case_id)
        session.get_one(Assignment, part.id).answer_due -= MONTHS
        case.attention = "Svaret är försenat."
        number = case.number
    page = eva.look(number)
    draft = unescape(re.findall(r'<textarea id="besked"[^>]*>(.*?)</textarea>', page.text, re.DOTALL)[0])
    assert number in draft
    assert "försenat hos" in draft
    assert eva.send(page, "/besked", text=draft).status_code == 422
    written = re.sub(r"\[.*\]", "Vi väntar på en lampa, som kommer i maj.", draft)
    assert "Svaret är försenat." not in eva.send(page, "/besked", text=written).text.partition("Historik")[0]
    with db.read() as session:
        mail = session.exec(select(Dispatch).where(Dispatch.kind == DispatchKind.ANSWER)).one()
        assert "en lampa, som kommer i maj" in mail.text
        assert session.get_one(Case, part.case_id).state is CaseState.ROUTED
        noted = session.exec(select(Event).where(Event.kind == EventKind.NOTED)).one()
        assert (noted.actor, noted.detail["recipient"]) == ("eva", mail.recipient)


def test_nothing_is_drafted_in_time(db: Store, eva: Person, part: Assignment) -> None:
    """While the answer is in time nobody is shown a notice of delay."""
    with db.read() as session:
        number = session.get_one(Case, part.case_id).number
    assert 'id="besked"' not in eva.look(number).text
