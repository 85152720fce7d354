"""Administrators see what the installation rests on and keep the accounts; nobody else does."""

from datetime import timedelta

import pytest
from sqlmodel import select

from mailrouter import config
from mailrouter import store as stores
from mailrouter.config import Settings
from mailrouter.desk import auth
from mailrouter.store import Store
from mailrouter.tables import Attempt, Dispatch, DispatchKind, DispatchState, Heartbeat, Restriction, Role, User
from tests.clock import NOW
from tests.desk import PASSWORD, SCHOOLS, Person, hire, letter, open_desk, receive

PAGES = ("/admin", "/admin/anvandare", "/admin/forvaltningar", "/admin/regler")


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: bytes) -> Store:
    """A register of its own, with an administrator."""
    file = tmp_path_factory.mktemp("admin") / "mailrouter.db"
    file.write_bytes(migrated_sqlite)
    opened = stores.connect(config.Store(url=f"sqlite:///{file}"))
    hire(opened, "ada", Role.ADMIN)
    return opened


def _user(store: Store, name: str) -> User:
    with store.read() as session:
        return session.exec(select(User).where(User.name == name)).one()


@pytest.mark.parametrize("role", [Role.SERVICEVAGLEDARE, Role.REGISTRATOR, Role.CHEF])
def test_only_administrators_come_in(store: Store, role: Role) -> None:
    """Neither to look nor to change anything."""
    hire(store, "eva", role, SCHOOLS)
    person = Person(open_desk(store)).enter(store)
    assert {person.client.get(page).status_code for page in PAGES} == {403}
    with store.read() as session:
        visitor = auth.find_login(session, person.client.cookies["mailrouter"], NOW)
    assert visitor is not None
    made = person.client.post("/admin/anvandare", data={"csrf": visitor.csrf, "namn": "x", "losenord": PASSWORD})
    assert made.status_code == 403


def test_what_is_wrong_is_told(store: Store) -> None:
    """A fault of the settings, a role that has fallen silent and a mail that waits stand on the first page."""
    (number,) = receive(store, letter("lampa"))
    with store.write() as session:
        session.add(Heartbeat(node="nod1", role="work", at=NOW - timedelta(minutes=5), detail={}))
        dispatch = Dispatch(
            case_id=1, kind=DispatchKind.REMINDER, recipient="a@stad.example", token="mr1", state=DispatchState.QUEUED,
            created_at=NOW, due_at=NOW + timedelta(minutes=9), attempts=2,
        )  # fmt: skip
        session.add(dispatch)
        session.flush()
        session.add(Attempt(dispatch_id=dispatch.id, started_at=NOW, outcome="later", reply="451 vänta"))
    broken = Settings(deadline=config.Deadline(office_hours=(9, 8)))
    page = Person(open_desk(store, settings=broken), "ada").enter(store).client.get("/admin").text
    assert "deadline.office_hours: from 9 to 8" in page
    assert "Tyst" in page
    assert number in page
    assert "451 vänta" in page


def test_a_restricted_case_is_not_named_in_the_outbox(store: Store) -> None:
    """An administrator without clearance does not learn of it there either."""
    (number,) = receive(store, letter("Visselblåsning"))
    with store.write() as session:
        session.add(
            Dispatch(
                case_id=1,
                kind=DispatchKind.REMINDER,
                recipient="a@stad.example",
                token="mr1",
                created_at=NOW,
                due_at=NOW + timedelta(minutes=9),
                attempts=2,
            )
        )
    assert number not in Person(open_desk(store), "ada").enter(store).client.get("/admin").text


def test_mailboxes_rules_and_models_are_shown(store: Store) -> None:
    """Where mail goes, why a rule is there, and how good the model in use is."""
    ada = Person(open_desk(store), "ada").enter(store)
    units, known = ada.client.get("/admin/forvaltningar").text, ada.client.get("/admin/regler").text
    assert "grundskoleforvaltningen@stad.example" in units
    assert "Mejlet kan innehålla ett hot om våld." in known
    assert "Rätt av de säkra" in known


def test_an_account_from_beginning_to_end(store: Store) -> None:
    """It is made, changed, given another password, shut and opened again; open logins end when it is shut."""
    app = open_desk(store)
    ada = Person(app, "ada").enter(store)
    page = ada.client.get("/admin/anvandare")
    fields = {"namn": "Bo", "losenord": PASSWORD, "roll": "servicevagledare", "enhet": ""}
    page = ada.send(page, "/admin/anvandare", **fields, behorighet=["skyddad"])
    assert "Sparat: bo" in page.text
    made = _user(store, "bo")
    assert (made.role, made.clearances) == (Role.SERVICEVAGLEDARE, [Restriction.SKYDDAD])
    page = ada.send(page, f"/{made.id}/ratt", roll="registrator", enhet=SCHOOLS)
    changed = _user(store, "bo")
    assert (changed.role, changed.unit, changed.clearances) == (Role.REGISTRATOR, SCHOOLS, [])
    page = ada.send(page, f"/{made.id}/losenord", losenord="ett annat ord")
    bo = Person(app, "bo")
    assert bo.log_in("ett annat ord").url.path == "/"
    page = ada.send(page, f"/{made.id}/aktiv")
    assert bo.client.get("/").url.path == "/logga-in"
    assert not _user(store, "bo").active
    ada.send(page, f"/{made.id}/aktiv")
    assert _user(store, "bo").active


@pytest.mark.parametrize(
    "fields",
    [
        {"namn": "ada", "losenord": PASSWORD, "roll": "admin"},
        {"namn": "bo", "losenord": "kort", "roll": "admin"},
        {"namn": "bo", "losenord": PASSWORD, "roll": "kung"},
        {"namn": "bo", "losenord": PASSWORD, "roll": "registrator"},
        {"namn": "bo", "losenord": PASSWORD, "roll": "registrator", "enhet": "finns-inte"},
        {"namn": "bo", "losenord": PASSWORD, "roll": "admin", "behorighet": "allt"},
    ],
)
def test_a_bad_account_is_refused(store: Store, fields: dict[str, str]) -> None:
    """With a sentence that says what is needed, and nothing is kept."""
    ada = Person(open_desk(store), "ada").enter(store)
    page = ada.send(ada.client.get("/admin/anvandare"), "/admin/anvandare", **fields)
    assert page.status_code == 422
    assert "Ändringen gick inte att göra." in page.text
    with store.read() as session:
        assert len(session.exec(select(User)).all()) == 1


def test_an_administrator_stays_in(store: Store) -> None:
    """Nobody shuts out themselves or takes their own role away, so that somebody can always mend it."""
    ada = Person(open_desk(store), "ada").enter(store)
    page = ada.client.get("/admin/anvandare")
    me = _user(store, "ada").id
    assert ada.send(page, f"/{me}/ratt", roll="chef").status_code == 422
    with store.read() as session:
        visitor = auth.find_login(session, ada.client.cookies["mailrouter"], NOW)
    assert visitor is not None
    assert ada.client.post(f"/admin/anvandare/{me}/aktiv", data={"csrf": visitor.csrf}).status_code == 422
    assert _user(store, "ada").active
