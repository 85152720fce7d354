"""What comes home by a token becomes a decision, a receipt or a question; on both databases."""

from email.message import EmailMessage
from functools import cache

import pytest
from sqlmodel import Session, col, select

from mailrouter import config, organisation, reading, triage
from mailrouter.config import Settings
from mailrouter.number import format_number
from mailrouter.organisation import Organisation
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, CaseLink, CaseState, Dispatch, Event
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.mails import octets
from tests.register import LampClassifier, take, take_and_read

SETTINGS = Settings()
EVA = "Eva Ek <eva.ek@stad.example>"


@cache
def city() -> Organisation:
    """The city as it comes with the program."""
    return organisation.load(config.Classify().organisation)


@pytest.fixture
def token(db: Store) -> str:
    """The token of a forward that has arrived at Stadsmiljöförvaltningen."""
    (taken,) = take_and_read(db, octets())
    with db.write() as session:
        triage.confirm(
            session, taken.case_id, [Choice("stadsmiljoforvaltningen")], seen=None, actor="maria", now=NOW,
            organisation=city(), settings=SETTINGS,
        )  # fmt: skip
        session.exec(select(Assignment)).one().state = AssignmentState.DELIVERED
        return session.exec(select(Dispatch.token).where(Dispatch.kind == "forward")).one()


def reply(token: str, text: str, subject: str = "SV: Felanmälan", sender: str = EVA, **fields: str) -> bytes:
    """A mail to the reply address of ``token``."""
    mail = EmailMessage()
    for name, value in {"To": f"svar+{token}@stad.example", "From": sender, "Subject": subject, **fields}.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes().replace(b"\n", b"\r\n")


def home(db: Store, *mails: bytes) -> tuple[Case, Assignment, list[Event]]:
    """Take the mails in and read them; the case, its part, and its events after the confirmation."""
    take(db, *mails)
    while reading.read_due(db, LampClassifier(), SETTINGS, NOW, organisation=city()):
        pass
    with db.read() as session:
        part = session.exec(select(Assignment)).one()
        return session.get_one(Case, part.case_id), part, _events(session, part.case_id)


def _events(session: Session, case_id: int) -> list[Event]:
    statement = select(Event).where(Event.case_id == case_id).order_by(col(Event.sequence))
    kinds = list(session.exec(statement))
    return kinds[[event.kind for event in kinds].index("confirmed") + 1 :]


def test_a_number_and_an_answer_in_one_reply(db: Store, token: str) -> None:
    """Both are kept in the registrator's name, the case is answered, and nobody is disturbed."""
    case, part, events = home(db, reply(token, "Dnr SMF-2026-01234. Medborgaren har fått svar."))
    assert [(event.kind, event.actor) for event in events[1:]] == [
        ("diarienummer", "e-post: eva.ek@stad.example"),
        ("answered", "e-post: eva.ek@stad.example"),
    ]
    assert (case.state, part.state, part.external_number) == (CaseState.ANSWERED, "answered", "SMF-2026-01234")
    assert case.attention == ""


def test_wrong_unit_brings_the_case_back(db: Store, token: str) -> None:
    """The case is at the desk again, with the words and the unit that they name."""
    case, part, events = home(db, reply(token, "Fel förvaltning, ska till Kretslopp och vatten."))
    assert (case.state, part.state) == (CaseState.OPEN, AssignmentState.RETURNED)
    assert "”Fel förvaltning, ska till Kretslopp och vatten.”" in case.attention
    assert events[-1].detail["hint"] == "kretslopp-och-vatten"


def test_what_is_not_plain_asks_for_a_person(db: Store, token: str) -> None:
    """A question changes nothing but that somebody reads it; a later plain word is still done."""
    case, part, events = home(db, reply(token, "Är det här besvarat?"))
    assert [event.kind for event in events] == ["joined"]
    assert part.state is AssignmentState.DELIVERED
    assert "Är det här besvarat?" in case.attention
    _, part, _ = home(db, reply(token, "Besvarat."))
    assert part.state is AssignmentState.ANSWERED


def test_a_stranger_with_the_token_decides_nothing(db: Store, token: str) -> None:
    """Somebody outside the city's domains got hold of the address: a person reads what they wrote."""
    case, part, events = home(db, reply(token, "Besvarat. Dnr 0263/26", sender="x@post.example"))
    assert [event.kind for event in events] == ["joined"]
    assert (part.state, part.external_number) == ("delivered", "")
    assert "inte i stadens domäner" in case.attention


def test_the_answer_to_the_citizen_with_us_in_copy(db: Store, token: str) -> None:
    """It answers the part; a note that the answer is still to come asks for a person."""
    to_anna = {"To": "anna@post.example", "Cc": f"svar+{token}@stad.example"}
    holding = reply(token, "Vi har tagit emot ditt ärende och återkommer.", **to_anna)
    case, part, _ = home(db, holding)
    assert part.state is AssignmentState.DELIVERED
    assert "oklart om det är svaret" in case.attention
    _, part, events = home(db, reply(token, "Lampan är lagad. Undrar du något mer?", **to_anna))
    assert (part.state, events[-1].kind) == ("answered", "answered")


@pytest.mark.parametrize(
    "fields",
    [{"Subject": "Autosvar: Felanmälan"}, {"Auto_Submitted": "auto-replied"}, {"Subject": "Automatic reply: x"}],
)
def test_a_robots_reply_is_a_receipt(db: Store, token: str, fields: dict[str, str]) -> None:
    """It is filed, meets no deadline and asks for nobody, even when it has the magic word in it."""
    case, part, events = home(db, reply(token, "Besvarat. Jag är på semester.", **fields))
    assert [event.kind for event in events] == ["joined", "receipt"]
    assert (part.state, case.attention) == ("delivered", "")
    assert part.due_at is not None


def test_a_number_alone_links_and_never_joins(db: Store, token: str) -> None:
    """Who knows a case number gets a case of his own, with the other one as a suggestion."""
    number = format_number(2026, 1)
    case, _, events = home(db, octets(subject=f"Angående [{number}]", body="Mer om lampan.", key="2"))
    assert events == []
    with db.read() as session:
        link = session.exec(select(CaseLink)).one()
        newer = session.exec(select(Case).where(Case.id == link.case_id)).one()
        linked = session.exec(select(Event).where(Event.kind == "linked")).one()
    assert (link.earlier_id, newer.number, linked.case_id) == (case.id, format_number(2026, 2), newer.id)
    assert linked.detail["earlier"] == number


def test_a_reply_that_comes_too_late(db: Store, token: str) -> None:
    """What the state does not allow is told to a person; the same word again disturbs nobody."""
    home(db, reply(token, "Besvarat."))
    case, _, events = home(db, reply(token, "Besvarat!"))
    assert (case.attention, events[-1].kind) == ("", "joined")
    case, _, _ = home(db, reply(token, "Fel förvaltning."))
    assert "kunde inte tas tillbaka" in case.attention


def test_our_own_mail_that_comes_back_ends_there(db: Store, token: str) -> None:
    """A mailbox that sends everything on to us makes no case and no mail, only a word at the desk."""
    ours = reply(
        token, "Till Stadsmiljöförvaltningen", sender="kontaktcenter@stad.example", X_Mailrouter_Case="26-2222-Q"
    )
    case, part, events = home(db, ours, ours.replace(b"Subject: ", b"Subject: Fwd: "))
    assert sorted(event.kind for event in events) == ["joined", "joined", "receipt", "receipt"]
    assert "kom tillbaka" in case.attention
    assert part.state is AssignmentState.DELIVERED
    with db.read() as session:
        assert [mail.kind for mail in session.exec(select(Dispatch)) if mail.assignment_id] == ["forward"]


def test_a_reply_to_a_digest_names_its_cases(db: Store, token: str) -> None:
    """A line with a number is about that case; what names none, or more than the digest told of, is for a person."""
    (other,) = take_and_read(db, octets(subject="Två lampor", key="2"))
    with db.write() as session:
        triage.confirm(
            session, other.case_id, [Choice("stadsmiljoforvaltningen")], seen=None, actor="maria", now=NOW,
            organisation=city(), settings=SETTINGS,
        )  # fmt: skip
        parts = session.exec(select(Assignment).order_by(col(Assignment.id))).all()
        parts[1].state = AssignmentState.DELIVERED
        numbers = [session.get_one(Case, part.case_id).number for part in parts]
        digest = session.exec(select(Dispatch).where(Dispatch.token == token)).one()
        digest.detail = {
            "cases": [{"number": named, "assignment": part.id} for named, part in zip(numbers, parts, strict=True)]
        }
    take(db, reply(token, f"Hej!\n{numbers[0]}: besvarat\n[{numbers[1]}] Dnr 0264/26, fel förvaltning\n\nMvh Eva"))
    while reading.read_due(db, LampClassifier(), SETTINGS, NOW, organisation=city()):
        pass
    with db.read() as session:
        parts = session.exec(select(Assignment).order_by(col(Assignment.id))).all()
        cases = session.exec(select(Case).order_by(col(Case.id))).all()
    assert [(part.state, part.external_number) for part in parts] == [("answered", ""), ("returned", "0264/26")]
    assert cases[0].attention == ""
    assert "fel förvaltning" in cases[1].attention
    take(db, reply(token, "Besvarat"))
    while reading.read_due(db, LampClassifier(), SETTINGS, NOW, organisation=city()):
        pass
    with db.read() as session:
        assert "påminnelse om 2 ärenden" in session.get_one(Case, cases[0].id).attention
