"""The queue: what stands in which tray, in which order, and how it is found."""

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from mailrouter import triage
from mailrouter.config import Settings
from mailrouter.desk import queries
from mailrouter.desk.auth import Visitor
from mailrouter.desk.queries import Filter
from mailrouter.desk.trays import Tray, place_of, rank_of, read_place, write_place
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Role
from mailrouter.triage import Choice, CloseReason
from tests.clock import NOW
from tests.desk import STREETS, Person, city, hire, letter, open_desk, receive
from tests.register import take

EVA = Visitor(1, "eva", Role.SERVICEVAGLEDARE, "", "")
RUT = Visitor(2, "rut", Role.REGISTRATOR, STREETS, "")


def _numbers(session: Session, wanted: Filter, visitor: Visitor = EVA) -> list[str]:
    return [case.number for case in queries.page(session, visitor, wanted, None).cases]


def _case(session: Session, number: str) -> Case:
    return session.exec(select(Case).where(Case.number == number)).one()


def _confirm(session: Session, number: str, unit: str = STREETS) -> None:
    triage.confirm(
        session,
        _case(session, number).id,
        [Choice(unit)],
        seen=None,
        actor="eva",
        now=NOW,
        organisation=city(),
        settings=Settings(),
    )


def test_each_case_stands_in_its_trays(db: Store) -> None:
    """Sure, unsure, unread, unreadable, forwarded, returned and closed cases, with counters that agree."""
    sure, unsure, broken, sent, back, closed = receive(
        db, *(letter(subject) for subject in ("Trasig lampa", "Om bidrag", "Trasigt", "Skickat", "Tillbaka", "Klart"))
    )
    (unread,) = [taken.number for taken in take(db, letter("Nyss kommet"))]
    with db.write() as session:
        case = _case(session, broken)
        case.state, case.attention = CaseState.QUARANTINED, "Gick inte att läsa"
        _case(session, unsure).language = "en"
        _confirm(session, sent)
        _confirm(session, back)
        part = triage.assignments(session, _case(session, back).id)[0]
        part.state = part.state.DELIVERED
        triage.give_back(session, part.case_id, part.id, reason="Inte vår gata", seen=None, actor="rut", now=NOW)
        triage.close(
            session, _case(session, closed).id, CloseReason.EJ_ARENDE, note="", seen=None, actor="eva", now=NOW
        )
    expected = {
        Tray.SORT: [sure, unsure, back, unread],
        Tray.UNSURE: [unsure, unread],
        Tray.FOREIGN: [unsure],
        Tray.BACK: [back],
        Tray.FAILED: [],
        Tray.RETURNED: [back],
        Tray.MINE: [closed, back, sent],
        Tray.QUARANTINE: [broken],
        Tray.ROUTED: [sent],
        Tray.ANSWERED: [],
        Tray.CLOSED: [closed],
        Tray.NOT_A_CASE: [closed],
        Tray.RESTRICTED: [],
        Tray.ALL: [unread, closed, back, sent, broken, unsure, sure],
    }
    with db.read() as session:
        assert {tray: _numbers(session, Filter(tray)) for tray in Tray} == expected
        counts = queries.counts(session, EVA)
    assert counts == {tray: len(numbers) for tray, numbers in expected.items() if tray in counts}


def test_danger_comes_first_then_the_answer_date(db: Store) -> None:
    """Threats before urgent before sensitive before plain; among equals the nearest answer date, then the oldest."""
    numbers = receive(db, *(letter(f"Mejl {index}") for index in range(6)))
    flags = [[], ["kanslig"], ["barn", "kanslig"], ["hot"], [], ["okänd"]]
    days = [20, 20, 20, 20, 10, 15]
    with db.write() as session:
        for number, its, due in zip(numbers, flags, days, strict=True):
            case = _case(session, number)
            case.flags, case.answer_due = its, NOW.date() + timedelta(days=due)
    with db.read() as session:
        shown = _numbers(session, Filter())
    assert shown == [numbers[index] for index in (3, 2, 1, 4, 5, 0)]


def test_pages_follow_each_other_without_gap_or_repeat(db: Store) -> None:
    """Forwards and backwards through a tray by keys, whatever the order, each case is seen exactly once."""
    receive(db, *(letter(f"{'Lampa' if index % 3 else 'Fråga'} {index}") for index in range(23)))
    with db.write() as session:
        for case in session.exec(select(Case)).all():
            case.answer_due = NOW.date() + timedelta(days=case.id % 4)
    for tray in (Tray.SORT, Tray.ALL):
        with db.read() as session:
            wanted = Filter(tray)
            pages = [queries.page(session, EVA, wanted, None, size=5)]
            while pages[-1].more:
                place = read_place(write_place(place_of(pages[-1].cases[-1], tray)), tray)
                pages.append(queries.page(session, EVA, wanted, place, size=5))
            seen = [case.id for page in pages for case in page.cases]
            assert sorted(seen) == list(range(1, 24))
            back = queries.page(session, EVA, wanted, place_of(pages[2].cases[0], tray), backwards=True, size=5)
            assert [case.id for case in back.cases] == [case.id for case in pages[1].cases]
            first = queries.page(session, EVA, wanted, place_of(pages[1].cases[0], tray), backwards=True, size=5)
            assert not first.more


def test_the_rank_is_the_same_in_the_database_and_in_python(db: Store) -> None:
    """The next case after a decision is found from Python's rank; the queue is ordered by the database's."""
    numbers = receive(db, *(letter(f"Mejl {index}") for index in range(4)))
    flags = [["hot", "kanslig"], ["skyddad"], [], ["barn"]]
    with db.write() as session:
        for number, its in zip(numbers, flags, strict=True):
            _case(session, number).flags = its
    with db.read() as session:
        cases = queries.page(session, EVA, Filter(), None).cases
        by_python = sorted(cases, key=lambda case: place_of(case, Tray.SORT))
        assert [case.id for case in cases] == [case.id for case in by_python]
        assert [rank_of(case.flags) for case in cases] == [0, 1, 2, 3]
        following = [queries.neighbour(session, EVA, Filter(), case) for case in cases]
        before = [queries.neighbour(session, EVA, Filter(), case, back=True) for case in cases]
    order = [case.number for case in cases]
    assert following == [*order[1:], None]
    assert before == [None, *order[:-1]]


@pytest.mark.parametrize(
    "words",
    [
        "anna@post",
        "ANNA BERG",
        "lampa",
        "mariagatan",
        "ÅTERVINNING",
        "100 % tack",
        "gbg-2026/17",
        "GBG202617",
        "_x_",
        "atervinn",
        "trasig återvinning",
        "mariag tras",
    ],
)
def test_search_finds_by_sender_subject_text_and_diarienummer(db: Store, words: str) -> None:
    """Small and capital letters are the same, å ä ö too, with dots or without; every word is a beginning."""
    wanted, _ = receive(
        db,
        letter("Trasig lampa", "Vid Mariagatan. Återvinning till 100 % med _x_ tack."),
        letter("Annat", "Ingenting av det: 100 kr, ax.", sender="Bo <bo@mejl.example>"),
    )
    with db.write() as session:
        _confirm(session, wanted)
        part = triage.assignments(session, _case(session, wanted).id)[0]
        triage.set_diarienummer(session, part.case_id, part.id, "GBG-2026/17", seen=None, actor="rut", now=NOW)
    with db.read() as session:
        assert _numbers(session, Filter(Tray.ALL, words)) == [wanted]


def test_a_number_in_the_search_field_opens_the_case(db: Store) -> None:
    """However it is written, the case's page comes at once; a number that is none is searched for as text."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    assert eva.client.get("/", params={"sok": number.lower().replace("-", " ")}).url.path == f"/arende/{number}"
    missed = eva.client.get("/", params={"sok": f"{number[:2]}-ZZZZ-?"})
    assert missed.url.path == "/"
    assert "Inget ärende stämmer" in missed.text


def test_filters_stand_in_the_address_line(db: Store) -> None:
    """By unit (suggested, then assigned) and by flag; a bent address shows the usual page instead of an error."""
    lamp, school = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    assert "Skolfråga" not in eva.client.get("/", params={"enhet": STREETS}).text
    assert "Skolfråga" not in eva.client.get("/", params={"flagga": "bradskande"}).text
    with db.write() as session:
        _confirm(session, school)
    sent = eva.client.get("/", params={"lada": "vidarebefordrade", "enhet": STREETS})
    assert school in sent.text
    assert lamp not in sent.text
    bent = {"lada": "x", "flagga": "'", "efter": "1_2_3_4", "fore": "\0", "klart": "x", "enhet": "x' or '1'='1"}
    for key, value in bent.items():
        assert eva.client.get("/", params={key: value}).status_code == 200


def test_a_registrator_sees_only_her_units_cases(db: Store) -> None:
    """Each nämnd is its own authority: lists, counters, search, pages and files of others' cases are closed."""
    ours, theirs = receive(db, letter("Trasig lampa"), letter("Skolfråga"))
    hire(db, "rut", Role.REGISTRATOR, STREETS)
    with db.write() as session:
        _confirm(session, ours)
        _confirm(session, theirs, "grundskoleforvaltningen")
        mail = session.exec(select(Case.id).where(col(Case.number) == theirs)).one()
    with db.read() as session:
        assert _numbers(session, Filter(Tray.ALL), RUT) == [ours]
        assert queries.counts(session, RUT)[Tray.ROUTED] == 1
    rut = Person(open_desk(db), "rut").enter(db)
    first = rut.client.get("/").text
    assert '<h1 id="rubrik">Vidarebefordrade</h1>' in first
    assert "Osäkra förslag" not in first
    assert rut.look(ours).status_code == 200
    assert rut.look(theirs).status_code == 404
    assert rut.client.get(f"/arende/{theirs}/mejl/{mail}/original").status_code == 404
    assert rut.client.get(f"/arende/{ours}/mejl/{mail}/original").status_code == 404
    assert "Skolfråga" not in rut.client.get("/", params={"sok": "Skol"}).text
