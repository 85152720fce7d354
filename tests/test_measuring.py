"""What ``make evaluate`` shows: figures, and a picture of what is confused with what."""

from datetime import date
from xml.etree import ElementTree

import pytest

from mailrouter import classify, config, evaluate, measuring
from mailrouter.classify import Classifier, Query
from mailrouter.corpus import Labelled

TODAY = date(2026, 11, 21)
LAMP = Query("1", "", "Gatlampan utanför vår port lyser inte.")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return classify.load(config.Classify())


def test_confused_units_are_counted(classifier: Classifier) -> None:
    """A row a true unit, a column a suggested one; what is right stands on the diagonal."""
    rows = [Labelled(LAMP, "gatubelysning"), Labelled(LAMP, "gatubelysning"), Labelled(LAMP, "bibliotek")]
    names, counts = evaluate.unit_confusions(classifier, rows, TODAY)
    lamps = classifier.organisation.units["stadsmiljoforvaltningen"].name
    books = classifier.organisation.units[str(classifier.organisation.areas["bibliotek"].unit)].name
    assert sorted(names) == sorted([lamps, books])
    assert counts[names.index(lamps)][names.index(lamps)] == 2
    assert counts[names.index(books)][names.index(lamps)] == 1
    assert sum(map(sum, counts)) == 3


def test_the_picture_is_svg_with_every_name() -> None:
    """The picture is well-formed, names each unit at its row and column, and shows each count once."""
    root = ElementTree.fromstring(measuring.drawn(["A & B", "C"], [[5, 0], [2, 7]]))
    shown = [text.text for text in root.iter(f"{SVG}text")]
    assert shown.count("A & B") == shown.count("C") == 2
    assert [text for text in shown if text and text.isdigit()] == ["5", "2", "7"]
    kinds = [box.get("class") for box in root.iter(f"{SVG}rect")]
    assert (kinds.count("hit"), kinds.count("miss")) == (2, 1)


def test_flags_and_calibration_are_measured(classifier: Classifier) -> None:
    """Recall and precision of a flag are shares of what is true and of what was raised."""
    threat = Query("2", "", "Nästa gång jag ser den vakten ska jag slå honom gul och blå.")
    rows = [
        Labelled(threat, "p-bot", kind="klagomal", flags=("hot",)),
        Labelled(LAMP, "gatubelysning", kind="felanmalan", flags=("hot",)),
    ]
    figures = evaluate.measure(classifier, rows, TODAY)
    assert (figures["recall of hot"], figures["precision of hot"]) == (0.5, 1.0)
    assert 0 <= figures["calibration error of the unit"] <= 1
    assert "hot" in evaluate.table(figures)
