"""One case at the desk: what is shown, what is decided, and what happens when two decide at once."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from mailrouter import diarium, triage
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseLink,
    CaseState,
    Dispatch,
    DispatchState,
    Event,
    Role,
)
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.desk import SCHOOLS, STREETS, WATER, Person, city, form_of, hire, letter, marked, open_desk, receive

LIGHT = f"{STREETS}|gatubelysning"


@pytest.fixture
def eva(db: Store) -> Person:
    """Somebody who sorts, logged in."""
    hire(db, "eva")
    return Person(open_desk(db)).enter(db)


def _case(session: Session, number: str) -> Case:
    return session.exec(select(Case).where(Case.number == number)).one()


def _deliver(store: Store, number: str, *units: str) -> list[Assignment]:
    """Confirm the case for units as if their mail had arrived there."""
    with store.write() as session:
        case = _case(session, number)
        triage.confirm(
            session, case.id, [Choice(unit) for unit in units], seen=None, actor="eva", now=NOW,
            organisation=city(), settings=Settings(),
        )  # fmt: skip
        parts = list(triage.assignments(session, case.id))
        for part in parts:
            part.state = AssignmentState.DELIVERED
    return parts


def test_confirming_sends_the_letter_and_opens_the_next_case(db: Store, eva: Person) -> None:
    """The marked receiver gets a part and a mail; the next case of the tray says what was just done."""
    first, second = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    page = eva.look(first)
    assert marked(page.text) == [LIGHT]
    assert "mycket troligt, 93 %" in page.text
    assert "Mejlet nämner en lampa." in page.text
    after = eva.send(page, "/bekrafta", val=LIGHT)
    assert after.url.path == f"/arende/{second}"
    assert f'<a href="/arende/{first}">{first}</a>: Mottagare bekräftades: Stadsmiljöförvaltningen.' in after.text
    with db.read() as session:
        part = session.exec(select(Assignment)).one()
        assert (part.unit, part.area, part.created_by) == (STREETS, "gatubelysning", "eva")
        assert session.exec(select(Dispatch)).one().recipient == f"{STREETS}@stad.example"
    last = eva.send(after, "/bekrafta", val=f"{SCHOOLS}|grundskola-placering")
    assert last.url.path == "/"
    assert "Här är tomt" in last.text


def test_another_receiver_is_chosen_from_the_list(db: Store, eva: Person) -> None:
    """By unit or by matter; what was suggested stays beside it in the history, for the model to learn from."""
    (number,) = receive(db, letter("Trasig lampa"))
    page = eva.look(number)
    assert '<option value="kretslopp-och-vatten|" data-names="Göteborg Vatten; kretsloppskontoret">' in page.text
    eva.send(page, "/bekrafta", val="annan", annan=f"{WATER}|avlopp-oversvamning")
    with db.read() as session:
        part = session.exec(select(Assignment)).one()
        event = session.exec(select(Event).where(Event.kind == EventKind.CONFIRMED)).one()
    assert (part.unit, part.area) == (WATER, "avlopp-oversvamning")
    assert event.detail["suggested"]["area"] == "gatubelysning"
    assert event.detail["accepted"] is False


def test_several_receivers(db: Store, eva: Person) -> None:
    """Each ticked unit has its own part; one that is named twice gets the letter once."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva.send(eva.look(number), "/bekrafta", val=LIGHT, aven=[f"{WATER}|", f"{SCHOOLS}|", f"{STREETS}|"])
    with db.read() as session:
        assert session.exec(select(col(Assignment.unit)).order_by(col(Assignment.id))).all() == [
            STREETS,
            WATER,
            SCHOOLS,
        ]


def test_an_unsure_suggestion_is_never_marked(db: Store, eva: Person) -> None:
    """The person has to choose: no receiver is marked, and where the place decides, each district's is offered."""
    (number,) = receive(db, letter("Om bidrag"))
    page = eva.look(number)
    assert marked(page.text) == []
    assert "Mailrouter är osäker" in page.text
    for district in ("nordost", "centrum", "sydvast", "hisingen"):
        assert f'name="val" value="social-{district}|forsorjningsstod"' in page.text
    assert "Utanför staden: dit skickas inget." in page.text
    assert 'value="vasttrafik' not in page.text.replace('<option value="vasttrafik">', "")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Välj vem som ska ha mejlet."),
        ({"val": "annan"}, "Välj vilken i listan."),
        ({"val": LIGHT, "annan": f"{WATER}|"}, "Välj en av dem."),
        ({"val": "nobody|"}, "finns inte längre"),
        ({"val": f"{STREETS}|nothing"}, "finns inte längre"),
        ({"val": "annan", "annan": "vasttrafik|"}, "Dit går det inte att skicka: Västtrafik AB."),
    ],
)
def test_an_unclear_choice_sends_nothing(db: Store, eva: Person, fields: dict[str, str], said: str) -> None:
    """Nothing is guessed between two answers: the page says what is missing and keeps what was chosen."""
    (number,) = receive(db, letter("Trasig lampa"))
    refused = eva.send(eva.look(number), "/bekrafta", **fields)
    assert refused.status_code == 422
    assert said in refused.text
    if "annan" in fields and "vasttrafik" not in fields["annan"]:
        assert f'<option value="{WATER}|" data-names="Göteborg Vatten; kretsloppskontoret" selected>' in refused.text
    with db.read() as session:
        assert _case(session, number).state is CaseState.OPEN
        assert session.exec(select(Dispatch)).all() == []


def test_the_second_of_two_people_is_told_who_was_faster(db: Store, eva: Person) -> None:
    """Nothing of the slower one's choice is done; the page shows who, when and what, and the case as it is now."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "olle")
    olle = Person(eva.app, "olle").enter(db)
    page_of_eva, page_of_olle = eva.look(number), olle.look(number)
    assert "eva har ärendet öppet sedan i dag 10:00." in page_of_olle.text
    assert "/bekrafta" not in page_of_olle.text
    page_of_olle = olle.send(page_of_olle, "/ta-over")
    olle.send(page_of_olle, "/bekrafta", val="annan", annan=f"{WATER}|")
    late = eva.send(page_of_eva, "/bekrafta", val=LIGHT)
    assert late.status_code == 409
    assert "olle hann före" in late.text
    assert "I dag 10:00: Mottagare bekräftades (Förvaltningen kretslopp och vatten)." in late.text
    assert "Det du valde är inte sparat" in late.text
    assert "Vidarebefordrat" in late.text
    with db.read() as session:
        assert session.exec(select(col(Assignment.unit))).all() == [WATER]
    twice = olle.send(page_of_olle, "/bekrafta", val="annan", annan=f"{WATER}|")
    assert "Du har redan gjort det här" in twice.text


def test_a_new_mail_makes_an_open_page_stale(db: Store, eva: Person) -> None:
    """What came meanwhile is read before the case is decided."""
    (number,) = receive(db, letter("Trasig lampa"))
    page = eva.look(number)
    with db.write() as session:
        case = diarium.lock(session, _case(session, number).id)
        diarium.record(session, case, EventKind.JOINED, actor="mailrouter", now=NOW, detail={})
    late = eva.send(page, "/bekrafta", val=LIGHT)
    assert late.status_code == 409
    assert "Något nytt har hänt i ärendet" in late.text


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"skal": "besvarat-direkt", "anteckning": " Svarade i telefon. "}, "Svarade i telefon."),
        ({"skal": "hanvisat", "hanvisad": "vasttrafik"}, "Västtrafik AB"),
        ({"skal": "hanvisat", "anteckning": "Hyresvärden"}, "Hyresvärden"),
        ({"skal": "ej-arende", "hanvisad": "vasttrafik"}, ""),
    ],
)
def test_closing_with_a_reason(db: Store, eva: Person, fields: dict[str, str], note: str) -> None:
    """The reason and the note stand in the register; nothing is sent."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva.send(eva.look(number), "/avsluta", **fields)
    with db.read() as session:
        event = session.exec(select(Event).where(Event.kind == EventKind.CLOSED)).one()
        assert session.exec(select(Dispatch)).all() == []
        assert _case(session, number).state is CaseState.CLOSED
    assert (event.detail["reason"], event.detail["note"], event.actor) == (fields["skal"], note, "eva")


@pytest.mark.parametrize("fields", [{}, {"skal": "x"}, {"skal": "hanvisat", "anteckning": " "}])
def test_closing_without_a_reason_is_refused(db: Store, eva: Person, fields: dict[str, str]) -> None:
    """A case never ends without somebody saying why."""
    (number,) = receive(db, letter("Trasig lampa"))
    assert eva.send(eva.look(number), "/avsluta", **fields).status_code == 422
    with db.read() as session:
        assert _case(session, number).state is CaseState.OPEN


def test_reopening(db: Store, eva: Person) -> None:
    """A closed case comes back to the tray with the reason; the same page stays open."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva.send(eva.look(number), "/avsluta", skal="ej-arende")
    closed = eva.look(number)
    assert "/bekrafta" not in closed.text
    again = eva.send(closed, "/oppna-igen", orsak="Det var visst ett ärende")
    assert again.url.path == f"/arende/{number}"
    assert "Återöppnat: Det var visst ett ärende" in again.text
    assert "/bekrafta" in again.text


def test_what_asked_for_attention_can_be_put_aside(db: Store, eva: Person) -> None:
    """A forwarded case with something to read says so until somebody has read it; the history keeps it."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva.send(eva.look(number), "/bekrafta", val=LIGHT)
    with db.write() as session:
        _case(session, number).attention = "Svar från registrator@stad.example: läs mejlet i ärendet."
    page = eva.look(number)
    assert "Svar från registrator@stad.example" in page.text
    assert "Svar från registrator@stad.example" not in eva.send(page, "/last").text
    with db.read() as session:
        assert session.exec(select(Event).where(Event.kind == EventKind.NOTED)).one().actor == "eva"


def test_quarantine_is_repaired_from(db: Store, eva: Person) -> None:
    """A letter that could not be read shows its reason and original, can be read again, or routed by hand."""
    (number,) = receive(db, letter("Trasig lampa"))
    with db.write() as session:
        case = diarium.lock(session, _case(session, number).id)
        case.attention, case.suggestion, case.suggested_at = "Mejlet gick inte att läsa.", None, None
        diarium.record(session, case, EventKind.QUARANTINED, actor="mailrouter", now=NOW, detail={})
    page = eva.look(number, lada="karantan")
    assert "Mejlet gick inte att läsa." in page.text
    assert "Hämta originalet" in page.text
    assert "Det finns inget förslag" in page.text
    assert marked(page.text) == []
    eva.send(page, "/las-igen")
    with db.read() as session:
        assert _case(session, number).state is CaseState.OPEN
        assert session.exec(select(Event).where(Event.kind == EventKind.RELEASED)).one().actor == "eva"


def test_a_registrator_settles_her_part(db: Store) -> None:
    """Diarienummer and answered are kept; she sees no button for what is not hers to decide."""
    (number,) = receive(db, letter("Trasig lampa"))
    ours, theirs = _deliver(db, number, STREETS, WATER)
    hire(db, "rut", Role.REGISTRATOR, STREETS)
    rut = Person(open_desk(db), "rut").enter(db)
    page = rut.look(number, lada="vidarebefordrade")
    assert "/avsluta" not in page.text
    assert f"/del/{theirs.id}/" not in page.text
    page = rut.send(page, f"/del/{ours.id}/diarienummer", diarienummer=" SMF-2026-00317 ")
    assert "Diarienummer SMF-2026-00317" in page.text
    page = rut.send(page, f"/del/{ours.id}/besvarad")
    assert "En av mottagarna har svarat" in page.text
    form = form_of(page.text, f"/del/{ours.id}/diarienummer")
    others = rut.client.post(
        form.action.replace(f"/{ours.id}/", f"/{theirs.id}/"), data=form.hidden | {"diarienummer": "1"}
    )
    assert others.status_code == 403
    assert rut.client.post(f"/arende/{number}/avsluta", data=form.hidden | {"skal": "ej-arende"}).status_code == 403
    with db.read() as session:
        states = session.exec(select(Assignment.state, Assignment.external_number).order_by(col(Assignment.id))).all()
    assert states == [(AssignmentState.ANSWERED, "SMF-2026-00317"), (AssignmentState.DELIVERED, "")]


def test_wrong_forvaltning_comes_back_with_the_reason(db: Store, eva: Person) -> None:
    """The case stands on the desk again and says who returned it and why; without a reason nothing happens."""
    (number,) = receive(db, letter("Trasig lampa"))
    (part,) = _deliver(db, number, STREETS)
    page = eva.look(number)
    assert eva.send(page, f"/del/{part.id}/aterlamna", orsak=" ").status_code == 422
    back = eva.send(page, f"/del/{part.id}/aterlamna", orsak="Enskild väg")
    assert "Stadsmiljöförvaltningen skickade tillbaka ärendet: Enskild väg" in back.text
    assert "Har redan skickat tillbaka" in back.text
    assert marked(back.text) == []
    assert "/bekrafta" in back.text


def test_a_chef_looks_and_decides_nothing(db: Store) -> None:
    """A manager sees the case without forms, and a form sent all the same is refused."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "karin", Role.CHEF)
    karin = Person(open_desk(db), "karin").enter(db)
    page = karin.look(number)
    assert form_of(page.text, "/logga-ut").hidden["csrf"]
    assert page.text.count('method="post"') == 1
    data = form_of(page.text, "/logga-ut").hidden | {"seen": "9", "val": LIGHT}
    refused = karin.client.post(f"/arende/{number}/bekrafta", data=data)
    assert refused.status_code == 403
    assert "Det får du inte göra" in refused.text


def test_the_history_tells_everything_in_words(db: Store, eva: Person) -> None:
    """Every event of a case stands in the list, with who and what."""
    (number,) = receive(db, letter("Trasig lampa"))
    eva.send(eva.look(number), "/avsluta", skal="hanvisat", hanvisad="vasttrafik")
    history = eva.look(number).text.partition("Det här har hänt")[2]
    for said in (
        "Ärendet avslutades",
        "av eva",
        "Hänvisat till någon utanför staden · Västtrafik AB",
        "Ett förslag gjordes",
        "Mejlet kom in och ärendet öppnades",
    ):
        assert said in history


def test_what_is_not_there_says_so(db: Store, eva: Person) -> None:
    """Unknown numbers, mails, attachments and addresses get the page for 404; other methods 405; bad forms 400."""
    (number,) = receive(db, letter("Trasig lampa"))
    for path in ("26-AAAA-A", "x", f"{number}/mejl/99/original", f"{number}/mejl/1/bilaga/0", f"{number}/mejl/x/html"):
        missing = eva.client.get(f"/arende/{path}")
        assert missing.status_code == 404
        assert "Sidan finns inte" in missing.text
    assert eva.client.get("/nowhere").status_code == 404
    assert eva.client.get(f"/arende/{number}/bekrafta").status_code == 405
    form = form_of(eva.look(number).text, "/bekrafta")
    bad = eva.client.post(form.action, data=form.hidden | {"seen": "x"})
    assert bad.status_code == 400
    assert "Formuläret gick inte att läsa" in bad.text


def test_a_huge_form_is_refused(db: Store, eva: Person) -> None:
    """More than any form of ours holds is not even read."""
    refused = eva.client.post("/logga-in", data={"namn": "x" * 300_000})
    assert refused.status_code == 413
    assert "Det var för mycket text" in refused.text


def test_what_was_just_done_can_be_undone(db: Store, eva: Person) -> None:
    """The next page offers it for as long as nothing has left; the case opens again and says so."""
    first, second = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    after = eva.send(eva.look(first), "/bekrafta", val=LIGHT)
    assert after.url.path == f"/arende/{second}"
    assert "Går att ångra i <span data-left>10</span> sekunder." in after.text
    again = eva.send(after, f"/{first}/angra")
    assert again.url.path == f"/arende/{first}"
    assert "Beslutet ångrades innan något skickades" in again.text
    assert "/bekrafta" in again.text
    with db.read() as session:
        assert session.exec(select(Dispatch.state)).one() is DispatchState.CANCELLED
    twice = eva.send(after, f"/{first}/angra")
    assert twice.status_code == 409
    sent = eva.send(eva.look(second), "/avsluta", skal="ej-arende")
    with db.write() as session:
        diarium.lock(session, _case(session, second).id)
        triage.reopen(session, _case(session, second).id, reason="x", seen=None, actor="olle", now=NOW)
    assert "olle hann före" in eva.send(sent, f"/{second}/angra").text


def test_what_has_left_is_not_undone(db: Store, eva: Person) -> None:
    """The refusal says so plainly, and the mail goes its way."""
    (number,) = receive(db, letter("Trasig lampa"))
    after = eva.send(eva.look(number), "/bekrafta", val=LIGHT)
    with db.write() as session:
        db.claim(session, Dispatch, NOW + timedelta(minutes=1), limit=1, lease=timedelta(minutes=5))
    refused = eva.send(after, "/angra")
    assert refused.status_code == 422
    assert "Det är för sent att ångra" in refused.text
    assert "/angra" not in eva.look(number).text


def test_cases_about_the_same_are_linked(db: Store, eva: Person) -> None:
    """Linked cases with why, and the earlier ones a reason names; none that the visitor may not see."""
    first, secret, number = receive(
        db,
        letter("Trasig lampa", "Det är mörkt vid skolan.", sender="Bo <bo@post.example>"),
        letter("Hemlig lampa", "En helt annan sak.", sender="Eva <eva@post.example>"),
        letter("Samma lampa", "Ingen har lagat lyset än."),
    )
    with db.write() as session:
        case = _case(session, number)
        for earlier in (first, secret):
            session.add(CaseLink(case_id=case.id, earlier_id=_case(session, earlier).id, why="Samma plats", at=NOW))
        _case(session, secret).restricted = "skyddad"
        reason = {"kind": "similar", "text": "Liknar tidigare ärenden.", "cases": [first, secret]}
        case.suggestion = (case.suggestion or {}) | {"reasons": [reason]}
    page = eva.look(number).text
    assert f'Liknar tidigare ärenden. <a class="number" href="/arende/{first}">{first}</a>' in page
    assert "Samma plats" in page
    assert secret not in page
    assert number in eva.look(first).text
