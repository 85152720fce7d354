"""Answering directly and referring elsewhere: from a template to a closed case and a mail on its way."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from mailrouter import answers
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import AnswerTemplate, Case, CaseState, Dispatch, DispatchKind, DispatchState, Event, Role
from tests.clock import NOW
from tests.desk import Person, hire, letter, open_desk, receive


@pytest.fixture
def eva(db: Store) -> Person:
    """Somebody who sorts, logged in, with two templates to begin from."""
    hire(db, "eva")
    with db.write() as session:
        for title, purpose, target, text in (
            ("Fråga", answers.ANSWER, "", "Hej!\n\n[Skriv svaret här]\n\n{hälsning}"),
            ("Buss", answers.REFER, "vasttrafik", "Hej! Om ärende {nummer}: fråga Västtrafik.\n{hälsning}"),
        ):
            answers.keep_template(
                session, None, title=title, purpose=purpose, target=target, text=text, active=True, actor="x", now=NOW
            )
    return Person(open_desk(db)).enter(db)


def _template(store: Store, title: str) -> str:
    with store.read() as session:
        return str(session.exec(select(col(AnswerTemplate.id)).where(AnswerTemplate.title == title)).one())


def _case(session: Session, number: str) -> Case:
    return session.exec(select(Case).where(Case.number == number)).one()


def test_a_question_is_answered_and_the_case_closed(db: Store, eva: Person) -> None:
    """The template fills the text, the person finishes it; the mail waits for the time it can be undone."""
    number, following = receive(db, letter("När har ni öppet?"), letter("Skolfråga"))
    page = eva.look(number, mall=_template(db, "Fråga"))
    assert "[Skriv svaret här]\n\nMed vänlig hälsning" in page.text
    unfinished = eva.send(page, "/svara", text="Hej!\n\n[Skriv svaret här]")
    assert unfinished.status_code == 422
    assert "skriv färdigt det som står inom hakparentes" in unfinished.text
    after = eva.send(unfinished, "/svara", text="Hej!\r\n\r\nVi har öppet [nästan] alltid.  \r\n")
    assert after.url.path == f"/arende/{following}"
    assert "Ärendet avslutades" in after.text
    with db.read() as session:
        case = _case(session, number)
        event = session.exec(select(Event).where(Event.kind == EventKind.CLOSED)).one()
        mail = session.exec(select(Dispatch).where(Dispatch.kind == DispatchKind.ANSWER)).one()
    assert (case.state, event.detail["reason"], event.detail["recipient"]) == (
        CaseState.CLOSED,
        "besvarat-direkt",
        "anna@post.example",
    )
    assert (mail.recipient, mail.text) == ("anna@post.example", "Hej!\n\nVi har öppet [nästan] alltid.")
    assert mail.due_at == NOW + timedelta(seconds=10)
    again = eva.send(after, f"/{number}/angra")
    assert again.url.path == f"/arende/{number}"
    with db.read() as session:
        assert _case(session, number).state is CaseState.OPEN
        assert session.exec(select(Dispatch.state).where(Dispatch.kind == DispatchKind.ANSWER)).one() is (
            DispatchState.CANCELLED
        )


def test_somebody_is_referred_elsewhere(db: Store, eva: Person) -> None:
    """The number is put in; whereto stands in the register, and an empty one is refused with the text kept."""
    (number,) = receive(db, letter("Bussen är sen"))
    page = eva.look(number, mall=_template(db, "Buss"))
    assert f"Om ärende {number}: fråga Västtrafik." in page.text
    assert 'name="vart" value="Västtrafik AB"' in page.text
    refused = eva.send(page, "/svara", text="Mina egna ord", vart=" ")
    assert "Skriv vart avsändaren hänvisas." in refused.text
    assert "Mina egna ord" in refused.text
    eva.send(refused, "/svara", text="Mina egna ord", vart="Västtrafik AB")
    with db.read() as session:
        event = session.exec(select(Event).where(Event.kind == EventKind.CLOSED)).one()
    assert (event.detail["reason"], event.detail["note"]) == ("hanvisat", "Västtrafik AB")
    shown = eva.look(number).text
    assert "Mejl till avsändaren" in shown
    assert "Mina egna ord" in shown


def test_a_robot_gets_no_answer(db: Store, eva: Person) -> None:
    """There is nobody to write to: the page says so, and a form sent all the same is refused."""
    number, other = receive(db, letter("Autosvar: Semester", sender="noreply@post.example"), letter("Fråga"))
    page = eva.look(number)
    assert "Det finns ingen att svara" in page.text
    form = eva.look(other, mall="tom")
    assert 'name="text"' in form.text
    refused = eva.client.post(
        f"/arende/{number}/svara",
        data={"csrf": form.text.split('name="csrf" value="')[1].split('"')[0], "seen": "99", "text": "Hej"},
    )
    assert refused.status_code == 422
    with db.read() as session:
        assert session.exec(select(Dispatch).where(Dispatch.kind == DispatchKind.ANSWER)).all() == []


def test_administrators_write_the_templates(db: Store, eva: Person) -> None:
    """Everybody reads them; an administrator adds, changes and puts aside; two of a name are refused."""
    (number,) = receive(db, letter("Bussen är sen"))
    hire(db, "ada", Role.ADMIN)
    ada = Person(eva.app, "ada").enter(db)
    assert "/mallar/" not in eva.client.get("/mallar").text
    page = ada.client.get("/mallar")
    saved = ada.send(page, "/mallar", rubrik="Ny", sort="answer", text="Hej {nummer}", anvands="ja")
    assert "Mallen är sparad." in saved.text
    assert "Ny</a>" in eva.look(number).text
    again = ada.send(page, "/mallar", rubrik="Ny", sort="answer", text="Andra ord")
    assert again.status_code == 422
    assert "Andra ord" in again.text
    ada.send(saved, f"/mallar/{_template(db, 'Ny')}", rubrik="Ny", sort="refer", till="vgr", text="Hej")
    assert "Ny</a>" not in eva.look(number).text
    with db.read() as session:
        changed = session.exec(select(AnswerTemplate).where(AnswerTemplate.title == "Ny")).one()
    assert (changed.purpose, changed.target, changed.text, changed.active, changed.changed_by) == (
        "refer",
        "vgr",
        "Hej\n",
        False,
        "ada",
    )
    data = {"csrf": "x", "rubrik": "Y", "sort": "answer", "text": "z"}
    assert eva.client.post("/mallar", data=data).status_code == 403


def test_setting_aside_needs_a_reason(db: Store, eva: Person) -> None:
    """The case leaves the queue and waits in quarantine with who and why; from there it is taken up again."""
    (number,) = receive(db, letter("Trasig lampa"))
    assert eva.send(eva.look(number), "/at-sidan", orsak=" ").status_code == 422
    eva.send(eva.look(number), "/at-sidan", orsak="Fråga chefen först")
    with db.read() as session:
        assert _case(session, number).state is CaseState.QUARANTINED
    page = eva.look(number, lada="karantan")
    assert "Ställt åt sidan av eva: Fråga chefen först" in page.text
    eva.send(page, "/las-igen")
    with db.read() as session:
        assert _case(session, number).state is CaseState.OPEN
