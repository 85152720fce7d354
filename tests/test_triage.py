"""What people decide: each decision once, by whoever was first, with its reason in the history."""

import threading

import pytest
from sqlmodel import col, select

from mailrouter import config, diarium, organisation, triage
from mailrouter.config import Settings
from mailrouter.diarium import IllegalMoveError, StaleError
from mailrouter.organisation import Organisation
from mailrouter.store import Store
from mailrouter.tables import (
    Assignment,
    AssignmentState,
    Case,
    CaseState,
    Dispatch,
    DispatchState,
    Event,
    Mail,
)
from mailrouter.triage import Choice, CloseReason, TriageError
from tests.clock import NOW
from tests.mails import octets
from tests.register import case_of, read, take, take_and_read

SETTINGS = Settings()
STREETS = Choice("stadsmiljoforvaltningen")
WATER = Choice("kretslopp-och-vatten")


@pytest.fixture(scope="module")
def city() -> Organisation:
    """The city as it comes with the program."""
    return organisation.load(config.Classify().organisation)


def _confirm(
    store: Store, city: Organisation, case_id: int, *choices: Choice, seen: int | None = None, actor: str = "eva"
) -> None:
    with store.write() as session:
        triage.confirm(session, case_id, choices, seen=seen, actor=actor, now=NOW, organisation=city, settings=SETTINGS)


def test_confirming_routes_the_case(db: Store, city: Organisation) -> None:
    """One part and one mail on its way, a neutral subject, and what was suggested beside what was chosen."""
    (taken,) = take_and_read(db, octets(subject="Kalle Svensson är sjuk"))
    _confirm(db, city, taken.case_id, STREETS)
    with db.read() as session:
        case = case_of(session, taken)
        part = session.exec(select(Assignment)).one()
        dispatch = session.exec(select(Dispatch)).one()
        event = session.exec(select(Event).where(Event.kind == "confirmed")).one()
    assert case.state is CaseState.ROUTED
    assert case.subject_public == "Felanmälan – Trasig eller saknad gatubelysning"
    assert (part.unit, part.area, part.answer_due) == ("stadsmiljoforvaltningen", "gatubelysning", case.answer_due)
    assert dispatch.recipient == "stadsmiljoforvaltningen@stad.example"
    assert (event.actor, event.detail["accepted"]) == ("eva", True)
    assert event.detail["suggested"]["area"] == "gatubelysning"


def test_two_at_once_and_one_is_told(db: Store, city: Organisation) -> None:
    """Of two who confirm the same case at the same moment one wins; the other learns who it was."""
    (taken,) = take_and_read(db, octets())
    with db.read() as session:
        seen = case_of(session, taken).last_event
    outcomes: list[str] = []

    def decide(actor: str, choice: Choice) -> None:
        try:
            _confirm(db, city, taken.case_id, choice, seen=seen, actor=actor)
        except StaleError as stale:
            outcomes.append(f"told of {stale.event.actor}")
        else:
            outcomes.append(f"{actor} won")

    people = [threading.Thread(target=decide, args=each) for each in (("eva", STREETS), ("ali", WATER))]
    for person in people:
        person.start()
    for person in people:
        person.join()
    winner = next(outcome.removesuffix(" won") for outcome in outcomes if outcome.endswith("won"))
    assert sorted(outcomes) == sorted([f"{winner} won", f"told of {winner}"])
    with db.read() as session:
        assert len(session.exec(select(Dispatch)).all()) == 1


def test_a_page_that_only_missed_the_suggestion_is_not_stale(db: Store, city: Organisation) -> None:
    """What changes no decision does not refuse one."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS, seen=1)


def test_a_case_may_concern_several(db: Store, city: Organisation) -> None:
    """Each förvaltning has its own part and its own mail."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS, WATER)
    with db.read() as session:
        assert {part.unit for part in session.exec(select(Assignment))} == {STREETS.unit, WATER.unit}
        assert len({dispatch.token for dispatch in session.exec(select(Dispatch))}) == 2


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ((), "choose at least one"),
        ((STREETS, STREETS), "chosen twice"),
        ((Choice("finns-inte"),), "there is no förvaltning"),
        ((Choice("vasttrafik"),), "has no mailbox"),
        ((Choice("stadsmiljoforvaltningen", "finns-inte"),), "there is no area"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    db: Store, city: Organisation, choices: tuple[Choice, ...], sentence: str
) -> None:
    """With a sentence, and nothing is written."""
    (taken,) = take_and_read(db, octets())
    with pytest.raises(TriageError, match=sentence):
        _confirm(db, city, taken.case_id, *choices)
    with db.read() as session:
        assert session.exec(select(Assignment)).all() == []


def test_nothing_goes_outside_the_configured_domains(db: Store, city: Organisation) -> None:
    """A mailbox outside city.domains is refused before anything is queued."""
    (taken,) = take_and_read(db, octets())
    elsewhere = Settings(city=config.City(domains=["annan.example"]))
    with pytest.raises(TriageError, match=r"outside city\.domains"), db.write() as session:
        triage.confirm(
            session, taken.case_id, [STREETS], seen=None, actor="eva", now=NOW, organisation=city, settings=elsewhere
        )


def test_closing_withdraws_what_is_still_here(db: Store, city: Organisation) -> None:
    """A forward that has not left is cancelled, and its part withdrawn."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS)
    with db.write() as session:
        triage.close(
            session, taken.case_id, CloseReason.BESVARAT_DIREKT, note="ringde", seen=None, actor="eva", now=NOW
        )
    with db.read() as session:
        assert session.exec(select(col(Case.state))).one() is CaseState.CLOSED
        assert session.exec(select(col(Dispatch.state))).one() is DispatchState.CANCELLED
        assert session.exec(select(col(Assignment.state))).one() is AssignmentState.WITHDRAWN


def _deliver(store: Store) -> int:
    """As forward.py does when the smarthost has taken the mail."""
    with store.write() as session:
        part = session.exec(select(Assignment)).one()
        diarium.move_assignment(part, AssignmentState.DELIVERED)
        return part.id


def test_the_wrong_forvaltning_sends_it_back(db: Store, city: Organisation) -> None:
    """The case is open again, says why, and can be sent to another."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS)
    part = _deliver(db)
    with db.write() as session:
        triage.give_back(session, taken.case_id, part, reason="gäller vatten", seen=None, actor="reg", now=NOW)
        case = case_of(session, taken)
        assert (case.state, "gäller vatten" in case.attention) == (CaseState.OPEN, True)
    _confirm(db, city, taken.case_id, WATER)


def test_a_diarienummer_is_kept_and_the_answer_ends_the_case(db: Store, city: Organisation) -> None:
    """The förvaltning's number stands on its part; answered when the last part is."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS)
    part = _deliver(db)
    with db.write() as session:
        triage.set_diarienummer(session, taken.case_id, part, " SMF-2026-1 ", seen=None, actor="reg", now=NOW)
        triage.answered(session, taken.case_id, part, seen=None, actor="reg", now=NOW)
        assert session.get_one(Assignment, part).external_number == "SMF-2026-1"
        assert case_of(session, taken).state is CaseState.ANSWERED


def test_an_answered_case_can_be_reopened_but_not_confirmed(db: Store, city: Organisation) -> None:
    """The state table decides what is possible."""
    (taken,) = take_and_read(db, octets())
    _confirm(db, city, taken.case_id, STREETS)
    part = _deliver(db)
    with db.write() as session:
        triage.answered(session, taken.case_id, part, seen=None, actor="reg", now=NOW)
    with pytest.raises(IllegalMoveError):
        _confirm(db, city, taken.case_id, WATER)
    with db.write() as session:
        triage.reopen(session, taken.case_id, reason="nytt", seen=None, actor="eva", now=NOW)
        assert case_of(session, taken).state is CaseState.OPEN


def test_a_mail_that_kills_its_reader_is_quarantined_and_can_be_released(db: Store) -> None:
    """After three readers that died over it nobody reads it unasked; a person may ask."""
    (taken,) = take(db, octets())
    with db.write() as session:
        session.exec(select(Mail)).one().attempts = 3
    read(db)
    with db.write() as session:
        assert case_of(session, taken).state is CaseState.QUARANTINED
        triage.release(session, taken.case_id, seen=None, actor="eva", now=NOW)
    read(db)
    with db.read() as session:
        case = case_of(session, taken)
        assert (case.state, (case.suggestion or {})["area"]) == (CaseState.OPEN, "gatubelysning")
