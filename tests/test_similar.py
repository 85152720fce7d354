"""Earlier confirmed cases that are named beside a new one: alike, of the newest, and never one that is a secret."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from mailrouter import classify, config, diarium, memory, triage
from mailrouter.classify import Classifier, Query
from mailrouter.classify.similar import Cases, Earlier, Index, Stems
from mailrouter.config import Settings
from mailrouter.memory import Memory
from mailrouter.store import Store
from mailrouter.tables import Case, Mail
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.mails import octets
from tests.register import take_and_read

DAY = date(2026, 3, 2)
LAMP = "Gatlampan utanför huset lyser inte sedan i fredags, det är mörkt på gångvägen där barnen går till skolan."
LAMP_AGAIN = "Hej, det är mörkt på gångvägen för gatlampan lyser inte. Barnen ska ju gå där till skolan."
BOOKS = "Kan jag låna om böckerna på stadsbiblioteket och vad kostar en förseningsavgift på lånekortet?"
STREETS, CULTURE = "stadsmiljoforvaltningen", "kulturforvaltningen"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The shipped model."""
    return classify.load(config.Classify())


def index_of(classifier: Classifier, *texts: str) -> Index:
    """Cases 1, 2, ... with these texts, all about street lighting."""
    cases = Cases(100)
    for number, text in enumerate(texts, start=1):
        case = Earlier(str(number), "gatubelysning", ("Stadsmiljöförvaltningen",), DAY, f"mail {number}")
        cases.add(case, classifier.stems(Query("", "", text)))
    return cases.index()


def numbers(found: Index, classifier: Classifier, text: str, key: str = "new") -> list[str]:
    """The cases that a mail is told of."""
    verdict = classifier.classify([Query(key, "", text)], DAY, found)[0]
    return [number for reason in verdict.reasons if reason.kind == "similar" for number in reason.cases]


def test_the_most_alike_cases_are_named(classifier: Classifier) -> None:
    """A mail in other words about the same is met; one about something else, and the mail itself, are not."""
    found = index_of(classifier, LAMP, BOOKS, LAMP + " Tack!", LAMP_AGAIN, LAMP + " Hälsningar")
    assert set(numbers(found, classifier, LAMP_AGAIN)) <= {"1", "3", "4", "5"}
    assert numbers(found, classifier, LAMP_AGAIN)[0] == "4"
    assert len(numbers(found, classifier, LAMP_AGAIN)) == 3
    assert "4" not in numbers(found, classifier, LAMP_AGAIN, key="mail 4")
    assert numbers(found, classifier, "Hej, vad är klockan?") == []


def test_a_shared_name_is_no_likeness(classifier: Classifier) -> None:
    """Two mails of one person about different matters are not alike for the signature."""
    signature = " Med vänlig hälsning Zebulon Quistgaard, Zymurgigränd 7, Quistgaards Zymurgi"
    assert numbers(index_of(classifier, BOOKS + signature), classifier, LAMP + signature) == []


def test_the_sentence_tells_number_receiver_and_day(classifier: Classifier) -> None:
    """The reason says which case, who got it and when, and carries the number for a link."""
    reason = classifier.classify([Query("new", "", LAMP_AGAIN)], DAY, index_of(classifier, LAMP))[0].reasons[-1]
    assert reason.text == "Liknar ärende 1, som gick till Stadsmiljöförvaltningen 2026-03-02."
    assert (reason.kind, reason.cases) == ("similar", ("1",))


def test_only_the_newest_are_remembered() -> None:
    """The oldest case makes room; one decided anew counts as new."""
    cases = Cases(2)
    stems = Stems(np.zeros(0, np.uint32), np.zeros(0, np.float32))
    for number in ("1", "2", "1", "3"):
        cases.add(Earlier(number, "", ("x",), DAY, ""), stems)
    assert [case.number for case in cases.index().cases] == ["1", "3"]


def confirmed(db: Store, text: str, unit: str, area: str, key: str) -> str:
    """A case that was decided; its number."""
    (taken,) = take_and_read(db, octets("Fråga", text, key=key))
    with db.write() as session:
        city = classify.load(config.Classify()).organisation
        choices = [Choice(unit, area)]
        case = triage.confirm(
            session, taken.case_id, choices, seen=None, actor="eva", now=NOW, organisation=city, settings=Settings()
        )
        return case.number


def told(remembered: Memory, text: str) -> list[str]:
    """The cases that a new mail is told of."""
    verdict = remembered.classify([Query("new", "", text)], DAY)[0]
    return [number for reason in verdict.reasons for number in reason.cases]


def test_decisions_are_remembered_as_they_stand(db: Store, classifier: Classifier) -> None:
    """A confirmed case is named from the next look on; once it came back it is not, and it teaches nothing."""
    remembered = Memory(db, classifier, 100)
    number = confirmed(db, LAMP, STREETS, "gatubelysning", "1")
    confirmed(db, BOOKS, CULTURE, "bibliotek", "2")
    assert told(remembered, LAMP_AGAIN) == []
    assert remembered.refresh() == 2
    assert remembered.refresh() == 0
    assert told(remembered, LAMP_AGAIN) == [number]
    with db.read() as session:
        first = next(memory.examples(session))
        assert (first.query.id, first.area, first.day) == (number, "gatubelysning", "2026-03-02")
        assert memory.confirmed_since(session, datetime(2026, 3, 1, tzinfo=UTC)) == 2
        assert memory.confirmed_since(session, NOW) == 0
    with db.write() as session:
        case = diarium.find(session, number)
        part = triage.assignments(session, case.id)[0]
        part.state = type(part.state).DELIVERED
        triage.give_back(session, case.id, part.id, reason="fel", seen=None, actor="eva", now=NOW)
    assert remembered.refresh() == 1
    assert told(remembered, LAMP_AGAIN) == []
    with db.read() as session:
        assert [row.area for row in memory.examples(session)] == ["bibliotek"]


def test_a_secret_case_is_never_named(db: Store, classifier: Classifier) -> None:
    """Neither one that was restricted before it was remembered, nor one that was restricted since."""
    first = confirmed(db, LAMP, STREETS, "gatubelysning", "1")
    second = confirmed(db, LAMP + " Tack.", STREETS, "gatubelysning", "2")
    with db.write() as session:
        diarium.find(session, first).flags = ["skyddad"]
    remembered = Memory(db, classifier, 100)
    remembered.refresh()
    assert told(remembered, LAMP_AGAIN) == [second]
    with db.write() as session:
        diarium.find(session, second).restricted = "orosanmalan"
    assert told(remembered, LAMP_AGAIN) == []
    assert remembered.status() == 0


def test_a_start_remembers_the_newest_only(db: Store, classifier: Classifier) -> None:
    """Memory is bounded from the start, also when the register has more decisions."""
    kept = [confirmed(db, f"{LAMP} Nummer {key}.", STREETS, "gatubelysning", key) for key in "1234"][-2:]
    remembered = Memory(db, classifier, 2)
    while remembered.refresh():
        pass
    assert sorted(told(remembered, LAMP_AGAIN)) == sorted(kept)
    assert Memory(db, classifier, 0).refresh() == 0


def test_what_is_remembered_holds_no_text(db: Store, classifier: Classifier) -> None:
    """The suggestion of a case names others by number alone: the register's words stay where they are."""
    number = confirmed(db, LAMP, STREETS, "gatubelysning", "1")
    remembered = Memory(db, classifier, 100)
    remembered.refresh()
    with db.read() as session:
        case, mail = diarium.find(session, number), triage.opening_mail(session, 1)
        assert isinstance(case, Case)
        assert isinstance(mail, Mail)
        reason = remembered.classify([Query("new", "", LAMP_AGAIN)], DAY)[0].reasons[-1]
        assert not {mail.sender, case.subject, "Anna"} & set(reason.text.split())
