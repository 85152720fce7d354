"""Who answers, where and when: read from a file, checked, and moved about by an edit of it."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailrouter import config, organisation
from mailrouter.organisation import Organisation, OrganisationError

SHIPPED = config.Classify().organisation
TODAY = date(2026, 11, 21)


@pytest.fixture(scope="module")
def city() -> Organisation:
    return organisation.load(SHIPPED)


def small() -> dict[str, Any]:
    """The least file that is a city: two units, two areas, one district."""
    return {
        "version": 1,
        "units": [
            {"id": "gata", "name": "Gatukontoret", "kind": "forvaltning", "mailbox": "gata@stad.example"},
            {"id": "soc", "name": "Socialkontoret", "kind": "forvaltning", "mailbox": "soc@stad.example"},
        ],
        "areas": [
            {"id": "hal", "name": "Hål i gatan", "unit": "gata"},
            {"id": "bistand", "name": "Bistånd", "unit_by_district": {"norr": "soc"}},
        ],
        "districts": {"norr": {"name": "Norr", "unit": "soc", "places": ["Bergsjön"]}},
    }


def written(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "organisation.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return file


def test_the_shipped_city_is_whole(city: Organisation) -> None:
    """The shipped file loads, and every area leads to a unit when the place is known."""
    assert len(city.areas) == 98
    unled = [area for area in city.areas if city.unit_for(area, "nordost", TODAY) is None]
    assert unled == ["ej-arende"]


def test_only_stand_in_mailboxes_are_shipped(city: Organisation) -> None:
    """No shipped mailbox is a real address, and bodies outside the city have none."""
    for unit in city.units.values():
        expected = None if unit.kind == "extern" else f"{unit.id}@stad.example"
        assert unit.mailbox == expected


@pytest.mark.parametrize(
    ("district", "unit"),
    [("nordost", "social-nordost"), ("hisingen", "social-hisingen"), (None, None)],
)
def test_place_decides_for_social_matters(city: Organisation, district: str | None, unit: str | None) -> None:
    """A socialförvaltning follows the district, and without a place nobody is guessed."""
    assert city.unit_for("forsorjningsstod", district, TODAY) == unit


def test_old_names_find_todays_unit(city: Organisation) -> None:
    """A person who types the name of an abolished förvaltning is offered its heirs."""
    found = [unit.id for unit in city.find_units("trafikkontoret")]
    assert set(found[:3]) == {"stadsmiljoforvaltningen", "stadsbyggnadsforvaltningen", "exploateringsforvaltningen"}


@pytest.mark.parametrize(
    ("typed", "area"), [("snö", "vintervaghallning"), ("potthål", "gata-underhall"), ("lyktstolp", "gatubelysning")]
)
def test_areas_are_found_while_typing(city: Organisation, typed: str, area: str) -> None:
    """The beginning of a citizen's word finds the area."""
    assert area in [found.id for found in city.find_areas(typed)]


def test_nothing_is_found_for_nothing(city: Organisation) -> None:
    """An empty field offers nothing, and neither do letters that mean nothing."""
    assert city.find_units("  ") == []
    assert city.find_areas("qqxxzz") == []


def test_reorganisation_of_2023_is_an_edit(tmp_path: Path) -> None:
    """Five förvaltningar become four on 2 January 2023 by the file alone: merged, renamed, split."""
    new = ["stadsbyggnad", "exploatering", "stadsmiljo", "stadsfastighet"]
    old = {
        "byggnad": "stadsbyggnad",
        "fastighet": "exploatering",
        "trafik": "stadsmiljo",
        "park": "stadsmiljo",
        "lokal": "stadsfastighet",
    }
    content = small()
    content["units"] += [unit(name, valid_from=date(2023, 1, 2)) for name in new]
    content["units"] += [unit(name, valid_to=date(2023, 1, 1), replaced_by=heir) for name, heir in old.items()]
    content["areas"] += [
        {"id": "bygglov", "name": "Bygglov", "unit": "byggnad"},
        {"id": "park", "name": "Parker", "unit": "park"},
        {"id": "vag", "name": "Gator", "unit": "trafik"},
        {"id": "skola", "name": "Skolhus", "unit": "lokal"},
        # a part of trafikkontoret went elsewhere than the rest: the area says so itself
        {
            "id": "byggtrafik",
            "name": "Byggtrafik",
            "unit": "exploatering",
            "formerly": [{"unit": "trafik", "valid_to": date(2023, 1, 1)}],
        },
    ]
    city = organisation.load(written(tmp_path, content))
    areas = ["bygglov", "park", "vag", "skola", "byggtrafik"]
    before = [city.unit_for(area, None, date(2023, 1, 1)) for area in areas]
    after = [city.unit_for(area, None, date(2023, 1, 2)) for area in areas]
    assert before == ["byggnad", "park", "trafik", "lokal", "trafik"]
    assert after == ["stadsbyggnad", "stadsmiljo", "stadsmiljo", "stadsfastighet", "exploatering"]


def unit(name: str, **more: object) -> dict[str, Any]:
    return {"id": name, "name": name, "kind": "forvaltning", "mailbox": f"{name}@stad.example", **more}


def edited(path: list[Any], value: object) -> dict[str, Any]:
    """The small city with one value changed."""
    content = small()
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (edited(["units", 1, "id"], "gata"), 'two units have the id "gata"'),
        (edited(["areas", 1, "id"], "hal"), 'two areas have the id "hal"'),
        (edited(["areas", 0, "unit"], "gatan"), 'the area hal leads to "gatan", which is not a unit'),
        (
            edited(["areas", 1, "unit_by_district"], {"soder": "soc"}),
            'names the district "soder", which the file does not have',
        ),
        (edited(["units", 0, "mailbox"], "gatan"), "the mailbox of the unit gata is not an e-mail address"),
        (edited(["units", 0, "mailbox"], "a b@stad.example"), "is not an e-mail address"),
        (edited(["units", 0, "kind"], "nämnd"), 'has the kind "nämnd"; it is forvaltning, bolag or extern'),
        (edited(["units", 0, "replaced_by"], "gata"), "is replaced by units that lead back to itself"),
        (edited(["units", 0, "replaced_by"], "ingen"), 'is replaced by "ingen", which is not a unit'),
        (edited(["units", 0, "nmae"], "x"), "gata nmae: "),
        (edited(["districts", "norr", "unit"], "x"), 'the district norr leads to "x", which is not a unit'),
        ({"version": 1, "units": [], "areas": []}, "districts: "),
    ],
)
def test_a_fault_is_a_sentence(tmp_path: Path, content: dict[str, Any], sentence: str) -> None:
    """A file that cannot be used is refused with what is wrong and where."""
    with pytest.raises(OrganisationError) as refused:
        organisation.load(written(tmp_path, content))
    assert sentence in str(refused.value)


def test_a_unit_cannot_end_before_it_begins(tmp_path: Path) -> None:
    """Validity dates in the wrong order are refused."""
    content = small()
    content["units"][0] |= {"valid_from": date(2023, 1, 2), "valid_to": date(2023, 1, 1)}
    with pytest.raises(OrganisationError, match="before it begins"):
        organisation.load(written(tmp_path, content))


def test_no_yaml_is_refused(tmp_path: Path) -> None:
    """A missing file and a file that is no YAML are refused by name."""
    with pytest.raises(OrganisationError, match="cannot read the organisation"):
        organisation.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("units: [", encoding="utf-8")
    with pytest.raises(OrganisationError, match="not valid YAML"):
        organisation.load(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("text", "district"),
    [
        ("Det är halt i Angereds centrum.", "nordost"),
        ("Bergsjöns vårdcentral ligger långt bort", "nordost"),
        ("vi bor pa Hisingen", "hisingen"),
        ("Lampan på Kosmosgatan lyser inte", "nordost"),
        ("hål vid Tuveskolan", "hisingen"),
        ("en lekplats i bergsjon", "nordost"),  # no dots on the letters
        ("jag bor i Kortedela", "nordost"),  # a slip of the finger
        ("gården i Hammarkulen", "nordost"),
        ("Bilen måste backa ut på gatan.", None),
        ("Det brann på heden bakom huset.", None),
        ("Mötet på Heden blev inställt.", "centrum"),
        ("Vi bor i Backa.", "hisingen"),
        ("Fel på hissen. Lunden.", "centrum"),  # a sentence of its own
        ("Hästarna i hagen är magra.", None),
        ("kakor hos Sanna", None),  # a person
        ("Asun Hisingenillä", "hisingen"),  # Finnish case ending
        ("Anna\nStorgatan 1\n424 32 Angered", "nordost"),
        ("Vi åkte till Stockholm.", None),
        ("", None),
    ],
)
def test_places_are_read_as_people_write_them(city: Organisation, text: str, district: str | None) -> None:
    """Inflection, compounds, missing dots and slips are met; everyday words only where they are names."""
    assert city.district_of(text).district == district


def test_the_matters_place_outweighs_the_senders(city: Organisation) -> None:
    """A place in the signature counts less than the one the mail is about."""
    text = "Klottret på bron i Majorna växer för varje dag som går.\n\nMed vänliga hälsningar\nBo Ek, Angered, Bergsjön"
    finding = city.district_of(text)
    assert finding.district == "centrum"
    assert finding.places[0].written == "Majorna"


def test_reading_a_very_long_word_ends(city: Organisation) -> None:
    """A mail that is one endless word, or only capitals, is read like any other."""
    assert city.district_of("a" * 100_000).district is None
    assert city.district_of("JAG BOR I BERGSJÖN OCH ÄR ARG").district == "nordost"
