"""Restricted cases: seen only by those who are cleared, everywhere; and reading one is an event."""

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from sqlmodel import select

from mailrouter import check, compose, diarium, restrictions, triage, webhooks
from mailrouter.classify.values import Candidate, Verdict
from mailrouter.config import Settings
from mailrouter.config import Store as StoreSettings
from mailrouter.desk import auth, queries
from mailrouter.desk.auth import AccountError, Visitor
from mailrouter.desk.trays import Tray
from mailrouter.diarium import EventKind
from mailrouter.restrictions import needed
from mailrouter.store import Store
from mailrouter.tables import Dispatch, Event, Login, LoginTry, RawMail, Restriction, Role, User, Webhook
from mailrouter.triage import Choice
from tests.clock import NOW
from tests.desk import STREETS, Person, WordClassifier, city, hire, letter, open_desk, receive

SECRET = "Trasig lampa hos visselblåsaren"
ALL = [restriction.value for restriction in Restriction]


def _clear(store: Store, name: str, *clearances: str) -> None:
    with store.write() as session:
        user = auth.find_user(session, name)
        auth.allow(user, role=user.role, unit=user.unit, clearances=clearances)


def _events(store: Store, number: str, kind: EventKind) -> list[Event]:
    with store.read() as session:
        case = diarium.find(session, number)
        return list(session.exec(select(Event).where(Event.case_id == case.id, Event.kind == kind)))


@pytest.mark.parametrize(
    ("changes", "words", "expected"),
    [
        ({}, "Trasig lampa", None),
        ({"flags": ("barn", "skyddad")}, "", Restriction.SKYDDAD),
        ({"kind": "orosanmalan"}, "", Restriction.ORO),
        ({"candidates": (Candidate("orosanmalan-barn", None, 0.6),)}, "", Restriction.ORO),
        ({"candidates": (Candidate("orosanmalan-barn", None, 0.4),)}, "", None),
        ({"flags": ("skyddad",)}, "Jag vill VISSELBLÅSA om min chef", Restriction.VISSELBLASNING),
        ({"flags": ("skyddad",), "kind": "orosanmalan"}, "", Restriction.SKYDDAD),
    ],
)
def test_what_restricts_a_mail(changes: dict[str, object], words: str, expected: Restriction | None) -> None:
    """Flags, kind, a likely area and words do; of several the narrowest holds."""
    verdict: Verdict = replace(WordClassifier.plain, **changes)  # type: ignore[arg-type]  # what a test changes
    assert needed(verdict, words) is expected


def test_nobody_without_clearance_learns_of_a_restricted_case(db: Store) -> None:
    """No list, counter, search, page, file or neighbour shows it; it answers as a case that does not exist."""
    open_case, secret = receive(db, letter("Trasig lampa vid parken"), letter(SECRET))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    for path in (
        f"/arende/{secret}",
        f"/arende/{secret}/mejl/2/original",
        f"/arende/{secret}/mejl/2/html",
        f"/arende/{open_case}/mejl/2/original",
    ):
        assert eva.client.get(path).status_code == 404, path
    queue = eva.client.get("/").text
    assert open_case in queue
    for shown in (
        queue,
        eva.client.get("/", params={"sok": "visselblåsaren"}).text,
        eva.client.get("/", params={"sok": secret}).text,
        eva.client.get("/", params={"lada": "alla"}).text,
        eva.client.get("/", params={"lada": "begransade"}).text,
        eva.look(open_case, klart=secret).text,
    ):
        assert f'href="/arende/{secret}' not in shown
        assert SECRET not in shown
    with db.read() as session:
        counts = queries.counts(session, Visitor(1, "eva", Role.SERVICEVAGLEDARE, "", ""))
    assert (counts[Tray.SORT], Tray.RESTRICTED in counts) == (1, False)
    assert eva.client.post(f"/arende/{secret}/avsluta", data={"seen": "2", "csrf": "x"}).status_code == 403


def test_whoever_is_cleared_works_with_it(db: Store) -> None:
    """The case stands in a tray of its own, without sender and subject; the page shows both; reading is an event."""
    (secret,) = receive(db, letter(SECRET))
    hire(db, "eva")
    _clear(db, "eva", "visselblasning")
    eva = Person(open_desk(db)).enter(db)
    tray = eva.client.get("/", params={"lada": "begransade"}).text
    assert f"/arende/{secret}" in tray
    assert "Anna Berg" not in tray
    assert SECRET not in tray
    assert _events(db, secret, EventKind.READ) == []
    page = eva.look(secret)
    assert SECRET in page.text
    assert "Begränsat: visselblåsning" in page.text
    eva.look(secret)
    eva.client.get(f"/arende/{secret}/mejl/1/original")
    assert [event.actor for event in _events(db, secret, EventKind.READ)] == ["eva"]
    hire(db, "olle")
    _clear(db, "olle", "visselblasning")
    Person(eva.app, "olle").enter(db).client.get(f"/arende/{secret}/mejl/1/original")
    assert [event.actor for event in _events(db, secret, EventKind.READ)] == ["eva", "olle"]
    sent = eva.send(page, "/bekrafta", val=f"{STREETS}|gatubelysning")
    assert sent.status_code == 200
    with db.read() as session:
        case = diarium.find(session, secret)
        assert (case.state.value, case.subject_public) == ("routed", diarium.PUBLIC_SUBJECT)


def test_a_person_restricts_and_lifts(db: Store) -> None:
    """Either needs a reason, which is kept; who is not cleared goes on to the next case and sees this one no more."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    hire(db, "rut")
    _clear(db, "rut", *ALL)
    app = open_desk(db)
    eva, rut = Person(app).enter(db), Person(app, "rut").enter(db)
    assert eva.send(eva.look(number), "/begransa", skydd="skyddad", orsak=" ").status_code == 422
    gone = eva.send(eva.look(number), "/begransa", skydd="skyddad", orsak="Hemlig adress i bilagan")
    assert gone.url.path == "/"
    assert eva.look(number).status_code == 404
    with db.read() as session:
        assert "skyddad" in diarium.find(session, number).flags
    page = rut.look(number)
    assert "Hemlig adress i bilagan" in page.text
    lifted = rut.send(page, "/begransa", skydd="ingen", orsak="Adressen är stadens egen")
    assert lifted.url.path == f"/arende/{number}"
    assert eva.look(number).status_code == 200
    with db.read() as session:
        assert "skyddad" not in diarium.find(session, number).flags
    said = [(event.actor, event.detail["restricted"]) for event in _events(db, number, EventKind.RESTRICTED)]
    assert said == [("eva", "skyddad"), ("rut", "")]


def test_a_case_that_nobody_may_see_is_not_forgotten(db: Store) -> None:
    """Queue and health say so loudly, without saying which case, until somebody is cleared."""
    receive(db, letter(SECRET))
    hire(db, "eva")
    hire(db, "rut", Role.REGISTRATOR, STREETS)
    _clear(db, "rut", "visselblasning")
    eva = Person(open_desk(db)).enter(db)

    def found() -> tuple[bool, dict[str, int]]:
        said = "1 begränsat ärende (visselblåsning) väntar" in eva.client.get("/").text
        return said, eva.client.get("/health").json()["restricted_unseen"]

    assert found() == (True, {"visselblasning": 1})
    _clear(db, "eva", "visselblasning")
    assert found() == (False, {})


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_check_names_the_command_that_helps(db: Store, store_url: str) -> None:
    """When restricted cases wait that nobody who sorts may see, and so it does for a receiver that takes nothing."""
    receive(db, letter(SECRET))
    with db.write() as session:
        webhooks.add(session, "platina", "https://platina.example/", (), NOW)
        session.exec(select(Webhook)).one().attempts = webhooks.FAILING
    sentences = check.problems(Settings(store=StoreSettings(url=store_url)), connect=True)
    assert any("`mailrouter user change NAME --clearance visselblasning`" in sentence for sentence in sentences)
    assert any(sentence.startswith("webhook platina: its receiver takes nothing") for sentence in sentences)


def test_reading_again_keeps_what_a_person_decided(db: Store) -> None:
    """A restriction that a person lifted does not come back when the mail is read anew."""
    (number,) = receive(db, letter(SECRET))
    with db.write() as session:
        case = diarium.find(session, number)
        restrictions.change(session, case.id, None, reason="Gäller en film", seen=None, actor="eva", now=NOW)
        restrictions.restrict_if_needed(session, case, None, SECRET, NOW)
        assert case.restricted == ""
        with pytest.raises(restrictions.RestrictionError):
            restrictions.change(session, case.id, None, reason="En gång till", seen=None, actor="eva", now=NOW)


def test_a_new_password_ends_every_login(db: Store) -> None:
    """So does closing the account; opening it again lets nobody in by an old cookie."""
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    with db.write() as session:
        auth.change_password(session, auth.find_user(session, "Eva"), "ett annat ord")
    assert eva.client.get("/", follow_redirects=False).status_code == 303
    assert eva.enter(db).client.get("/", follow_redirects=False).status_code == 200
    with db.write() as session:
        user = auth.find_user(session, "eva")
        auth.set_active(session, user, active=False)
        auth.set_active(session, user, active=True)
        assert session.exec(select(Login)).all() == []
    assert eva.client.get("/", follow_redirects=False).status_code == 303


def test_clearances_are_those_that_exist(db: Store) -> None:
    """A misspelt clearance and an unknown name are refused with a sentence; nobody has any unasked."""
    hire(db, "eva")
    with db.write() as session:
        user = session.exec(select(User)).one()
        assert user.clearances == []
        with pytest.raises(AccountError, match="no clearance skydad"):
            auth.allow(user, role=user.role, unit="", clearances=["skydad"])
        with pytest.raises(AccountError, match="no user olle"):
            auth.find_user(session, "olle")


def test_tries_are_counted_for_all_nodes_together(db: Store) -> None:
    """Another desk on the same database knows of them, even after a restart; a right password clears the name's."""
    hire(db, "eva")
    hire(db, "olle")
    for _ in range(auth.TRIES_FOR_NAME):
        assert Person(open_desk(db)).log_in("fel ord").status_code == 401
    assert Person(open_desk(db)).log_in().status_code == 429
    assert Person(open_desk(db), "olle").log_in().status_code == 200
    with db.read() as session:
        tried = session.exec(select(LoginTry)).all()
        assert sorted(one.tries for one in tried) == [auth.TRIES_FOR_NAME, auth.TRIES_FOR_NAME]
        assert "eva" not in str(tried)


def test_an_address_tries_only_so_many_names(db: Store) -> None:
    """And a name from another address is free; after the window everything is forgotten."""
    for number in range(auth.TRIES_FOR_ADDRESS):
        assert not auth.count_try(db, f"name {number}", "192.0.2.1", NOW)
    later = NOW + timedelta(minutes=5)
    assert auth.count_try(db, "eva", "192.0.2.1", later) == timedelta(minutes=10)
    assert not auth.count_try(db, "eva", "192.0.2.2", later)
    assert not auth.count_try(db, "eva", "192.0.2.1", NOW + auth.TRIES_WINDOW)
    with db.read() as session:
        assert len(session.exec(select(LoginTry)).all()) == 4


def test_a_forward_of_protected_data_tells_nothing_of_the_person(db: Store) -> None:
    """Neither Subject, note nor arende.json; only the original itself, which the förvaltning has to have."""
    (number,) = receive(db, letter("Trasig lampa hos Anna", sender="Anna Berg <anna@post.example>"))
    with db.write() as session:
        case = diarium.find(session, number)
        protected = Restriction.SKYDDAD
        restrictions.change(session, case.id, protected, reason="Ringde", seen=None, actor="eva", now=NOW)
        triage.confirm(
            session,
            case.id,
            [Choice(STREETS)],
            seen=None,
            actor="eva",
            now=NOW,
            organisation=city(),
            settings=Settings(),
        )
        part = triage.assignments(session, case.id)[0]
        dispatch = session.exec(select(Dispatch).where(Dispatch.assignment_id == part.id)).one()
        mail = triage.opening_mail(session, case.id)
        original = session.get_one(RawMail, mail.id).octets
        octets = compose.forward(case, part, dispatch, original, Settings(), city())
    said = message_from_bytes(octets.replace(original, b""), policy=policy.default)
    assert isinstance(said, EmailMessage)
    assert "lampa" not in said["Subject"].lower()
    texts = [one.get_content() for one in said.walk() if one.get_content_type() == "text/plain"]
    texts += [one.get_content().decode() for one in said.walk() if one.get_content_type() == "application/json"]
    texts = [text for text in texts if text.strip()]
    assert len(texts) == 2
    for text in (*texts, str(said.items())):
        assert "anna" not in text.lower()
        assert "Berg" not in text
