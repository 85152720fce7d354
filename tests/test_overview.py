"""Managers' figures: what is counted, who may see it, and that nobody is singled out."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, select

from mailrouter import config, diarium, restrictions, triage, undo
from mailrouter import store as stores
from mailrouter.config import Settings
from mailrouter.reports import statistics
from mailrouter.reports.discretion import FEWEST, REST, Row, discreet
from mailrouter.reports.periods import PERIODS, Period, period_named
from mailrouter.reports.statistics import Acceptance, Overview, Waiting, percentile
from mailrouter.store import Store
from mailrouter.tables import Assignment, AssignmentState, Case, Restriction, Role
from mailrouter.triage import Choice, CloseReason
from tests.clock import NOW, ZONE
from tests.desk import SCHOOLS, STREETS, Person, city, hire, letter, open_desk, receive

TODAY = NOW.astimezone(ZONE).date()


def test_periods_lie_where_their_names_say() -> None:
    """Each period ends today or in the past, and a year begins on its first day."""
    named = {name: period_named(name, date(2026, 3, 2)) for name in PERIODS}
    assert named["manaden"] == Period(date(2026, 3, 1), date(2026, 3, 2))
    assert named["forra-manaden"] == Period(date(2026, 2, 1), date(2026, 2, 28))
    assert named["12-veckor"].days == 11 * 7 + 1
    assert named["aret"] == Period(date(2026, 1, 1), date(2026, 3, 2))
    assert named["forra-aret"] == Period(date(2025, 1, 1), date(2025, 12, 31))
    assert period_named("nonsens", TODAY) == named["12-veckor"]


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(0, 400))
def test_steps_cover_a_period_once(first: date, more: int) -> None:
    """Days or weeks follow each other from the first to the last day."""
    period = Period(first, first + timedelta(days=more))
    steps = list(period.steps())
    assert steps[0].first == period.first
    assert steps[-1].last == period.last
    assert sum(step.days for step in steps) == period.days


def test_percentile_is_the_nearest_rank() -> None:
    """Half of four answers came within the second one's days; of nothing there is none."""
    assert percentile({1: 1, 3: 1, 9: 1, 40: 1}, 0.5) == 3
    assert percentile({1: 1, 3: 1, 9: 1, 40: 1}, 0.9) == 40
    assert percentile({}, 0.5) is None


counted = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", ""]), st.booleans(), st.integers(1, 12)), max_size=9)


@given(counted)
def test_no_row_singles_out(given_rows: list[tuple[str, bool, int]]) -> None:
    """Every row has at least FEWEST cases or stands alone, the sum holds, and restricted cases have no value."""
    rows = discreet(given_rows)
    assert sum(row.count for row in rows) == sum(count for _, _, count in given_rows)
    assert len(rows) <= 1 or all(row.count >= FEWEST for row in rows)
    for row in rows:
        open_ones = sum(count for value, restricted, count in given_rows if value == row.value and not restricted)
        assert row.value == REST or row.count == open_ones


def test_a_few_restricted_cases_hide_among_others() -> None:
    """Two restricted cases are not told by subtraction: the smallest row joins them."""
    assert discreet([("klagomal", False, 50), ("fraga", False, 9), ("klagomal", True, 2)]) == [
        Row("klagomal", 50),
        Row(REST, 11),
    ]


def _confirm(session: Session, number: str, unit: str) -> Case:
    case = diarium.find(session, number)
    return triage.confirm(
        session, case.id, [Choice(unit)], seen=None, actor="eva", now=NOW, organisation=city(), settings=Settings()
    )


def _part(session: Session, case: Case) -> Assignment:
    part = session.exec(select(Assignment).where(Assignment.case_id == case.id)).one()
    part.state = AssignmentState.DELIVERED
    return part


def _work(store: Store) -> None:
    """Ten cases: three answered (one late), one returned, one waiting and overdue, one direct, one spam, one undone,
    one restricted, one untouched."""
    numbers = receive(store, *(letter(f"lampa {index}") for index in range(10)))
    with store.write() as session:
        for place, days in ((0, 3), (1, 3), (2, 40)):
            case = _confirm(session, numbers[place], STREETS)
            case.arrived_on = TODAY - timedelta(days=days)
            triage.answered(session, case.id, _part(session, case).id, seen=None, actor="rut", now=NOW)
        case = _confirm(session, numbers[3], SCHOOLS)
        triage.give_back(session, case.id, _part(session, case).id, reason="nej", seen=None, actor="rut", now=NOW)
        case = _confirm(session, numbers[4], STREETS)
        part = _part(session, case)
        case.arrived_on = TODAY - timedelta(days=60)
        part.answer_due = case.answer_due = TODAY - timedelta(days=30)
        for place, reason in ((5, CloseReason.BESVARAT_DIREKT), (6, CloseReason.EJ_ARENDE)):
            case = diarium.find(session, numbers[place])
            triage.close(session, case.id, reason, note="", seen=None, actor="eva", now=NOW)
        case = _confirm(session, numbers[7], STREETS)
        undo.take_back(session, case.id, seen=None, actor="eva", now=NOW, within=timedelta(minutes=1))
        case = _confirm(session, numbers[8], STREETS)
        _part(session, case)
        restrictions.change(
            session, case.id, Restriction.ORO, reason="barn", seen=None, actor="eva", now=NOW
        )  # fmt: skip


def _overview(store: Store, unit: str = "") -> Overview:
    now = NOW.astimezone(ZONE)
    with store.read() as session:
        period = period_named("12-veckor", TODAY)
        return statistics.overview(session, period, unit, weeks=4, today=TODAY, now=now)


def test_figures_say_what_happened(db: Store) -> None:
    """Inflow, answers, what waits, returns and accepted suggestions are those of the cases, on both databases."""
    _work(db)
    of = _overview(db)
    assert (of.arrived, of.not_cases) == (10, 1)
    assert sum(step.count for step in of.inflow) == 10
    assert of.answers.days == {3: 2, 40: 1, 0: 1}
    assert (of.answers.in_time, of.answers.judged) == (3, 5)  # the overdue one is judged too
    assert (of.answers.median, of.answers.slow) == (3, 40)
    assert (of.unsorted.count, of.waiting) == (3, Waiting(1, 1))
    assert of.restricted == Waiting(None, 0)
    streets, schools = of.units
    assert (streets.unit, streets.waiting, streets.got, streets.returned) == (STREETS, Waiting(1, 1), 4, 0)
    assert (schools.unit, schools.got, schools.returned) == (SCHOOLS, 1, 1)
    assert of.acceptance == {"sure": Acceptance(6, 5), "unsure": Acceptance(), "none": Acceptance()}
    assert of.kinds == [Row(REST, 10)]
    assert of.channels == [Row(REST, 10)]


def test_a_unit_sees_its_own(db: Store) -> None:
    """The figures of a unit are those of the cases that it has or had."""
    _work(db)
    of = _overview(db, SCHOOLS)
    assert (of.arrived, [one.unit for one in of.units]) == (1, [SCHOOLS])
    assert of.acceptance["sure"] == Acceptance(1, 0)


def test_a_case_that_opens_again_is_not_answered(db: Store) -> None:
    """Until it is answered anew."""
    _work(db)
    with db.write() as session:
        case = session.exec(select(Case).where(Case.closed_as == CloseReason.BESVARAT_DIREKT)).one()
        triage.reopen(session, case.id, reason="nej", seen=None, actor="eva", now=NOW)
    assert 0 not in _overview(db).answers.days


def _go_down(store: Store) -> None:
    """Back to the schema of the first release, rows and all."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(stores.__file__).parent / "migrations"))
    with store.engine.connect().execution_options(mailrouter_write=True) as connection:
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "0001")


def test_an_older_register_learns_when_its_cases_were_answered(db: Store) -> None:
    """The migration finds in each history what is written down from now on."""
    _work(db)

    def answered() -> dict[str, datetime | None]:
        with db.read() as session:
            return dict(session.exec(select(Case.number, Case.answered_at)).all())

    before = answered()
    _go_down(db)
    stores.migrate(db)
    assert answered() == before
    assert sum(at is not None for at in before.values()) == 4


@pytest.fixture
def sqlite(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: bytes) -> Iterator[Store]:
    """A store for what does not depend on the database."""
    file = tmp_path_factory.mktemp("overview") / "mailrouter.db"
    file.write_bytes(migrated_sqlite)
    opened = stores.connect(config.Store(url=f"sqlite:///{file}"))
    yield opened
    opened.dispose()


def test_the_page_shows_figures_and_files(sqlite: Store) -> None:
    """A manager gets pictures with tables beside, and each table as a file that spreadsheets open."""
    _work(sqlite)
    hire(sqlite, "cim", Role.CHEF)
    manager = Person(open_desk(sqlite), "cim").enter(sqlite)
    page = manager.client.get("/oversikt", params={"period": "12-veckor"})
    assert page.status_code == 200
    assert page.text.count("<caption>") == 8
    assert "60 %" in page.text
    assert "Så räknas det" in page.text
    file = manager.client.get("/oversikt/forvaltningar.csv")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.text.startswith("\ufeffFörvaltning eller bolag;Väntar nu;Försenade nu;")
    assert "\r\nStadsmiljöförvaltningen;1;1;4;0,5000;3;40;0\r\n" in file.text
    assert manager.client.get("/oversikt/finns-inte.csv").status_code == 404


def test_figures_are_kept_for_a_minute(sqlite: Store) -> None:
    """Whoever looks again sees the same; a minute later what has come since."""
    desk = open_desk(sqlite)
    hire(sqlite, "cim", Role.CHEF)
    manager = Person(desk, "cim").enter(sqlite)
    clock = desk.state.desk.clock
    assert manager.client.get("/oversikt/inflode.csv").text.endswith(";0\r\n")
    receive(sqlite, letter("lampa"))
    assert manager.client.get("/oversikt/inflode.csv").text.endswith(";0\r\n")
    clock.now += timedelta(minutes=1)
    assert manager.client.get("/oversikt/inflode.csv").text.endswith(";1\r\n")


def test_a_manager_of_a_unit_sees_that_unit(sqlite: Store) -> None:
    """Neither the city's figures nor another unit's cases."""
    _work(sqlite)
    hire(sqlite, "cim", Role.CHEF, SCHOOLS)
    manager = Person(open_desk(sqlite), "cim").enter(sqlite)
    page = manager.client.get("/oversikt").text
    assert "Grundskoleförvaltningen" in page
    assert "Stadsmiljöförvaltningen" not in page


@pytest.mark.parametrize("role", [Role.SERVICEVAGLEDARE, Role.REGISTRATOR])
def test_others_have_no_overview(sqlite: Store, role: Role) -> None:
    """Figures are the managers'."""
    hire(sqlite, "eva", role, STREETS)
    person = Person(open_desk(sqlite)).enter(sqlite)
    assert person.client.get("/oversikt").status_code == 403
    assert person.client.get("/oversikt/inflode.csv").status_code == 403
