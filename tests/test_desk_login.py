"""Who may come in at the desk, and what a login is worth."""

from datetime import timedelta

import pytest
from sqlmodel import select

from mailrouter.config import Desk, Settings
from mailrouter.desk import auth
from mailrouter.desk.auth import AccountError
from mailrouter.desk.pages.login import own_path
from mailrouter.store import Store
from mailrouter.tables import Login, Role, User
from tests.clock import NOW
from tests.desk import PASSWORD, Clock, Person, form_of, hire, letter, open_desk, receive


def test_nobody_sees_anything_without_a_login(db: Store) -> None:
    """Every page leads to the login form, and after it to the page that was wanted."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    eva = Person(open_desk(db))
    door = eva.client.get(f"/arende/{number}", follow_redirects=False)
    assert (door.status_code, door.headers["location"]) == (303, f"/logga-in?till=%2Farende%2F{number}")
    for path in ("/", "/hjalp", f"/arende/{number}/mejl/1/original", f"/arende/{number}/mejl/1/html"):
        assert eva.client.get(path, follow_redirects=False).status_code == 303
    page = eva.log_in(wanted=f"/arende/{number}")
    assert page.url.path == f"/arende/{number}"


def test_a_wrong_password_opens_nothing(db: Store) -> None:
    """The same sentence for a wrong password and an unknown name, and no login either way."""
    hire(db, "eva")
    app = open_desk(db)
    wrong, unknown = Person(app).log_in("fel ord"), Person(app, "nobody").log_in()
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert "Fel namn eller lösenord" in wrong.text
    assert "Fel namn eller lösenord" in unknown.text
    with db.read() as session:
        assert session.exec(select(Login)).all() == []


def test_guessing_is_slowed_down(db: Store) -> None:
    """After five tries even the right password waits a quarter of an hour, for that name at that address only."""
    hire(db, "eva")
    hire(db, "olle")
    clock = Clock()
    app = open_desk(db, clock)
    eva = Person(app)
    for _ in range(5):
        assert eva.log_in("fel ord").status_code == 401
    slowed = eva.log_in()
    assert slowed.status_code == 429
    assert "Vänta 15 minuter" in slowed.text
    assert Person(app, "olle").log_in().status_code == 200
    clock.now += timedelta(minutes=15)
    assert eva.log_in().url.path == "/"


def test_only_hashes_are_kept(db: Store) -> None:
    """Neither the password nor the cookie can be read from the database."""
    hire(db, "eva")
    eva = Person(open_desk(db))
    eva.log_in()
    cookie = eva.client.cookies["mailrouter"]
    with db.read() as session:
        user, login = session.exec(select(User)).one(), session.exec(select(Login)).one()
    assert user.password_hash.startswith("$argon2id$")
    assert cookie not in (login.token_hash, login.csrf)


def test_the_cookie_is_for_the_browser_alone(db: Store) -> None:
    """No script reads it, no other site's form carries it; behind HTTPS it never travels in the clear."""
    hire(db, "eva")
    eva = Person(open_desk(db))
    eva.client.follow_redirects = False
    plain = eva.log_in().headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    secure = Person(open_desk(db, settings=Settings(desk=Desk(secure_cookies=True))))
    secure.client.base_url = "https://desk.example"
    secure.client.follow_redirects = False
    answer = secure.log_in()
    assert answer.headers["set-cookie"].startswith("__Host-mailrouter=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


def test_logging_out_ends_the_login_everywhere(db: Store) -> None:
    """The cookie is worth nothing afterwards, even to somebody who has copied it."""
    hire(db, "eva")
    eva = Person(open_desk(db))
    page = eva.log_in()
    stolen = eva.client.cookies["mailrouter"]
    eva.send(page, "/logga-ut")
    eva.client.cookies.set("mailrouter", stolen, domain="desk.example")
    assert eva.client.get("/", follow_redirects=False).status_code == 303


def test_a_login_ends_by_itself(db: Store) -> None:
    """After the configured hours a person logs in anew, and so does one whose account was closed."""
    hire(db, "eva")
    clock = Clock()
    eva = Person(open_desk(db, clock))
    eva.log_in()
    clock.now += timedelta(hours=9)
    assert eva.client.get("/", follow_redirects=False).status_code == 200
    clock.now += timedelta(hours=2)
    assert eva.client.get("/", follow_redirects=False).status_code == 303
    eva.log_in()
    with db.write() as session:
        session.exec(select(User)).one().active = False
    assert eva.client.get("/", follow_redirects=False).status_code == 303


def test_a_login_gets_a_new_cookie(db: Store) -> None:
    """A cookie that somebody planted before the login is not the one that is logged in (session fixation)."""
    hire(db, "eva")
    eva = Person(open_desk(db))
    eva.client.cookies.set("mailrouter", "planted", domain="desk.example")
    eva.log_in()
    assert "planted" not in [cookie.value for cookie in eva.client.cookies.jar]


def test_a_forged_form_is_refused(db: Store) -> None:
    """A form without this login's token does nothing, and so does a login form of another browser (CSRF)."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    app = open_desk(db)
    eva = Person(app)
    eva.log_in()
    form = form_of(eva.look(number).text, "/bekrafta")
    choice = {"val": "stadsmiljoforvaltningen|gatubelysning"}
    for token in ({}, {"csrf": ""}, {"csrf": "x" * 43}, {"csrf": "å"}):
        fields = {key: value for key, value in form.hidden.items() if key != "csrf"} | token | choice
        refused = eva.client.post(form.action, data=fields)
        assert refused.status_code == 403
        assert "Formuläret har blivit för gammalt" in refused.text
    assert eva.client.post("/logga-ut").status_code == 403
    stranger = Person(app).client.post("/logga-in", data={"namn": "eva", "losenord": PASSWORD, "dorr": "guess"})
    assert stranger.status_code == 403
    assert "Att sortera" in eva.look(number).text


@pytest.mark.parametrize(
    "wanted",
    ["https://ond.example/", "//ond.example", "/\\ond.example", "javascript:alert(1)", "/logga-ut", "/\n/x", ""],
)
def test_a_login_never_leads_to_another_site(wanted: str) -> None:
    """Whatever stands in the address, the page after a login is one of ours."""
    assert own_path(wanted) == "/"


def test_accounts_need_a_name_and_a_password(db: Store) -> None:
    """Short passwords, empty and taken names, and registrators without a unit are refused with a sentence."""
    hire(db, "eva")
    with db.write() as session:
        for name, password, role in (
            ("", PASSWORD, Role.ADMIN),
            ("a\nb", PASSWORD, Role.ADMIN),
            ("olle", "kort", Role.ADMIN),
            ("EVA ", PASSWORD, Role.ADMIN),
            ("rut", PASSWORD, Role.REGISTRATOR),
        ):
            with pytest.raises(AccountError):
                auth.create_user(session, name, password, role, NOW)
        assert auth.check_password(session, "Eva", PASSWORD) is not None
