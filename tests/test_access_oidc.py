"""Logging in by the city's own accounts, against a small OpenID provider."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import Response
from pydantic import SecretStr
from sqlmodel import select

from mailrouter import config
from mailrouter.config import Desk, Oidc, Settings
from mailrouter.desk import auth
from mailrouter.store import Store
from mailrouter.tables import Role, User
from tests.clock import NOW
from tests.desk import STREETS, Clock, Person, hire, open_desk
from tests.servers.openid import CLIENT, SECRET, OpenId, new_key, openid

BASE = "http://desk.example"


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenId]:
    """One for all tests here; each sets what it says."""
    with openid() as opened:
        yield opened


@pytest.fixture(autouse=True)
def person(provider: OpenId) -> None:
    """Anna, who sorts and is cleared for protected data."""
    provider.claims = {"sub": "u-1", "preferred_username": "Anna.Berg", "realm": {"roles": ["kc", "kc-skyddad", "x"]}}
    provider.over, provider.forger = {}, None


def _settings(provider: OpenId) -> Settings:
    oidc = Oidc(
        issuer=provider.issuer,
        client_id=CLIENT,
        client_secret=SecretStr(SECRET),
        role_claim="realm.roles",
        roles={"kc": "servicevagledare", "kc-admin": "admin", "reg": "registrator"},
        clearances={"kc-skyddad": ["skyddad"]},
        unit_claim="unit",
    )
    return Settings(desk=Desk(base_url=BASE), oidc=oidc)


def _desk(db: Store, provider: OpenId, clock: Clock | None = None) -> FastAPI:
    return open_desk(db, clock, settings=_settings(provider))


def _log_in(browser: Person, provider: OpenId, wanted: str = "/hjalp") -> Response:
    """Follow the link on the login page to the provider and back."""
    browser.client.follow_redirects = False
    gone = browser.client.get("/logga-in/stad", params={"till": wanted})
    assert gone.status_code == 303
    return browser.client.get(provider.authorize(gone.headers["location"]))


def _users(db: Store) -> list[tuple[str, Role, str, list[str]]]:
    with db.read() as session:
        return [(user.name, user.role, user.unit, user.clearances) for user in session.exec(select(User))]


def test_somebody_logs_in_by_the_city(db: Store, provider: OpenId) -> None:
    """The account is made at the first login, with role and clearances of the claims, and leads where it was wanted."""
    browser = Person(_desk(db, provider))
    assert "Logga in med Göteborgs Stad" in browser.client.get("/logga-in").text
    back = _log_in(browser, provider)
    assert (back.status_code, back.headers["location"]) == (303, "/hjalp")
    assert browser.client.get("/hjalp").status_code == 200
    assert _users(db) == [("anna.berg", Role.SERVICEVAGLEDARE, "", ["skyddad"])]


def test_every_login_brings_the_account_up_to_date(db: Store, provider: OpenId) -> None:
    """What the city gave or took away holds from the next login; the person stays the same under another name."""
    app = _desk(db, provider)
    _log_in(Person(app), provider)
    provider.claims |= {"preferred_username": "anna.lind", "realm": {"roles": ["kc-admin", "kc"]}}
    _log_in(Person(app), provider)
    assert _users(db) == [("anna.berg", Role.ADMIN, "", [])]
    provider.claims |= {"realm": {"roles": "reg"}, "unit": STREETS}
    _log_in(Person(app), provider)
    assert _users(db) == [("anna.berg", Role.REGISTRATOR, STREETS, [])]


@pytest.mark.parametrize(
    ("claims", "over"),
    [
        ({"realm": {"roles": ["somebody-else"]}}, {}),
        ({"realm": None}, {}),
        ({"realm": {"roles": ["reg"]}}, {}),
        ({}, {"nonce": "another"}),
        ({}, {"aud": "another"}),
        ({}, {"aud": [CLIENT, "another"], "azp": "another"}),
        ({}, {"iss": "https://ond.example"}),
        ({}, {"exp": int(NOW.timestamp()) - 3600}),
        ({}, {"sub": None}),
    ],
    ids=["no role", "no claim", "no unit", "nonce", "audience", "party", "issuer", "old", "nobody"],
)
def test_who_is_not_proven_or_has_no_role_stays_outside(
    db: Store, provider: OpenId, claims: dict[str, Any], over: dict[str, Any]
) -> None:
    """A token for another login, program or time, from another provider, or of somebody with no role here."""
    provider.claims |= claims
    provider.over = over
    browser = Person(_desk(db, provider))
    back = _log_in(browser, provider)
    assert back.status_code == 403
    assert "Inloggningen gick inte att slutföra" in back.text
    assert _users(db) == []
    assert browser.client.get("/").status_code == 303


def test_an_answer_belongs_to_the_browser_that_asked(db: Store, provider: OpenId) -> None:
    """A link back that somebody else began, a state that differs, a code used twice and a refusal open nothing."""
    app = _desk(db, provider)
    other = Person(app)
    other.client.follow_redirects = False
    theirs = provider.authorize(other.client.get("/logga-in/stad").headers["location"])
    assert Person(app).client.get(theirs).status_code == 403
    browser = Person(app)
    browser.client.follow_redirects = False
    browser.client.get("/logga-in/stad")
    assert browser.client.get(theirs).status_code == 403
    browser.client.get("/logga-in/stad")
    assert browser.client.get("/logga-in/stad/klar", params={"error": "access_denied"}).status_code == 403
    first = other.client.get(theirs)
    assert first.status_code == 303
    assert other.client.get(theirs).status_code == 403


def test_a_local_account_is_not_taken_over(db: Store, provider: OpenId) -> None:
    """A name that exists here already is somebody else's; a closed account stays closed; no password opens one."""
    hire(db, "anna.berg")
    app = _desk(db, provider)
    assert _log_in(Person(app), provider).status_code == 403
    provider.claims["preferred_username"] = "anna.lind"
    assert _log_in(Person(app), provider).status_code == 303
    with db.write() as session:
        assert auth.check_password(session, "anna.lind", "") is None
        auth.set_active(session, auth.find_user(session, "anna.lind"), active=False)
    assert _log_in(Person(app), provider).status_code == 403


def test_the_provider_may_change_its_keys(db: Store, provider: OpenId) -> None:
    """A token signed with a newer key is checked with it at once; one signed with a strange key never is."""
    app = _desk(db, provider)
    assert _log_in(Person(app), provider).status_code == 303
    provider.key = new_key("two")
    assert _log_in(Person(app), provider).status_code == 303
    provider.forger = new_key("two")
    assert _log_in(Person(app), provider).status_code == 403


def test_a_provider_that_is_away_leaves_the_local_door_open(db: Store) -> None:
    """The page says so, and a local user logs in as always."""
    hire(db, "eva")
    clock = Clock()
    app = open_desk(db, clock, settings=_settings(OpenId(issuer="http://127.0.0.1:1")))
    eva = Person(app)
    away = eva.client.get("/logga-in/stad")
    assert away.status_code == 503
    assert "Stadens inloggning svarar inte" in away.text
    clock.now += timedelta(minutes=1)
    assert eva.log_in().url.path == "/"


def test_without_a_provider_there_is_no_such_door(db: Store) -> None:
    """Neither the link nor its pages."""
    browser = Person(open_desk(db))
    assert "/logga-in/stad" not in browser.client.get("/logga-in").text
    for path in ("/logga-in/stad", "/logga-in/stad/klar"):
        assert browser.client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client_id": ""}, "needs client_id"),
        ({"roles": {}}, "needs client_id"),
        ({"issuer": "http://id.example"}, "begins with https"),
        ({"unit_claim": ""}, "set unit_claim"),
        ({"roles": {"kc": "chief"}}, "servicevagledare"),
    ],
)
def test_half_a_configuration_is_refused(changes: dict[str, Any], said: str) -> None:
    """With a sentence, at the start."""
    whole = {
        "issuer": "https://id.example",
        "client_id": "m",
        "client_secret": "s",
        "roles": {"reg": "registrator"},
        "unit_claim": "unit",
    }
    assert config.Oidc(**whole).issuer
    with pytest.raises(ValueError, match=said):
        config.Oidc(**(whole | changes))
