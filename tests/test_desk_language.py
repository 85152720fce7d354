"""Swedish for everybody, English for those who ask for it; no sentence is forgotten."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from mailrouter.desk import language
from mailrouter.desk.language import Language
from mailrouter.store import Store
from mailrouter.translations import LOCALES
from tests.clock import NOW, ZONE
from tests.desk import Person, hire, letter, open_desk, receive

PACKAGE = LOCALES.parent
SWEDISH, ENGLISH = language.load(ZONE)["sv"], language.load(ZONE)["en"]
TODAY = date(2026, 3, 2)


def _catalogue() -> Catalog:
    with (LOCALES / "en" / "LC_MESSAGES" / "mailrouter.po").open("rb") as file:
        return read_po(file, locale="en")


def _written() -> set[str]:
    """Every sentence in the desk's code and templates; of one with a plural, the singular."""
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None}
    found = extract_from_dir(
        PACKAGE,
        method_map=[("desk/**.py", "python"), ("templates/desk/**.html", "jinja2")],
        options_map={"templates/desk/**.html": {"trimmed": "true"}},
        keywords=keywords,
    )
    return {message[0] if isinstance(message, tuple) else message for _, _, message, _, _ in found}


def test_every_sentence_is_translated() -> None:
    """The catalogue has exactly the sentences of the code, each with its English and none of them doubtful."""
    catalogue = {
        message.id[0] if isinstance(message.id, tuple) else message.id: message
        for message in _catalogue()
        if message.id
    }
    assert set(catalogue) == _written()
    for message in catalogue.values():
        translated = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(translated), message.id
        assert not message.fuzzy
        assert not list(message.check(_catalogue()))


def test_a_person_chooses_the_language(db: Store) -> None:
    """The choice holds for every page, with its lang attribute; an unknown language changes nothing."""
    (number,) = receive(db, letter("Trasig lampa"))
    hire(db, "eva")
    eva = Person(open_desk(db)).enter(db)
    assert '<html lang="sv">' in eva.look(number).text
    english = eva.client.get("/sprak/en", params={"till": f"/arende/{number}"})
    assert english.url.path == f"/arende/{number}"
    assert '<html lang="en">' in english.text
    assert "Who is to have the mail?" in english.text
    assert "very likely, 93 %" in english.text
    assert '<html lang="en">' in eva.client.get("/sprak/tlh").text
    assert '<html lang="sv">' in eva.client.get("/sprak/sv", params={"till": "https://ond.example"}).text


@pytest.mark.parametrize(
    ("days", "nearness", "swedish", "english"),
    [
        (-1, "late", "1 dag försenat", "1 day late"),
        (-12, "late", "12 dagar försenat", "12 days late"),
        (0, "today", "svar senast i dag", "answer due today"),
        (1, "soon", "svar inom 1 dag", "answer within 1 day"),
        (7, "soon", "svar inom 7 dagar", "answer within 7 days"),
        (8, "later", "svar inom 8 dagar", "answer within 8 days"),
    ],
)
def test_due_dates_in_words(days: int, nearness: str, swedish: str, english: str) -> None:
    """How near an answer date is, in words and as a step."""
    due = SWEDISH.due(TODAY + timedelta(days=days), TODAY)
    assert (due.nearness, due.text) == (nearness, swedish)
    assert ENGLISH.due(TODAY + timedelta(days=days), TODAY).text == english


def test_days_and_moments() -> None:
    """Today and yesterday by name, the year only when it is another one, the clock of the city."""
    assert SWEDISH.moment(NOW, NOW) == "i dag 10:00"
    assert SWEDISH.moment(NOW - timedelta(hours=10), NOW) == "i dag 00:00"
    assert SWEDISH.moment(NOW - timedelta(hours=11), NOW) == "i går 23:00"
    assert SWEDISH.day(date(2025, 12, 31), TODAY) == "31 december 2025"
    assert ENGLISH.day(date(2026, 5, 1), TODAY) == "1 May"


@pytest.mark.parametrize(("share", "said"), [(0.0, "1 %"), (0.004, "1 %"), (0.5, "50 %"), (0.874, "87 %"), (1, "99 %")])
def test_shares_never_claim_certainty(share: float, said: str) -> None:
    """A model is never wholly sure, and the desk does not say it is."""
    assert SWEDISH.percent(share) == said


@pytest.mark.parametrize(
    ("octets", "said"), [(0, "0 byte"), (999, "999 byte"), (1500, "1,5 kB"), (25_400, "25 kB"), (52_428_800, "52 MB")]
)
def test_sizes(octets: int, said: str) -> None:
    """Sizes in steps of a thousand with a Swedish comma."""
    assert SWEDISH.size(octets) == said


def test_the_catalogue_needs_no_build() -> None:
    """What is read is the .po file of the clone itself."""
    assert not list(Path(LOCALES).rglob("*.mo"))
    assert isinstance(ENGLISH, Language)
