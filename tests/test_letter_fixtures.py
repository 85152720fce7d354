"""Each mail under tests/letters is named by its defect and read as its .json says."""

import json
from pathlib import Path

import pytest

from mailrouter.letter import Address, parse
from mailrouter.letter.defects import EXPLAINED
from mailrouter.letter.scores import differences, score

LETTERS = Path(__file__).parent / "letters"
NAMES = sorted(path.stem for path in LETTERS.glob("*.eml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_letter_is_read_as_expected(name: str) -> None:
    """A mail with the defect in its name yields the sender, text, parts and nature that its .json names."""
    letter = parse((LETTERS / f"{name}.eml").read_bytes())
    expected = json.loads((LETTERS / f"{name}.json").read_text("utf-8"))
    assert list(differences(letter, expected)) == []


def test_every_letter_has_an_expectation_and_every_expectation_a_letter() -> None:
    """No fixture stands without its other half, and there are enough of them."""
    assert {path.stem for path in LETTERS.glob("*.json")} == set(NAMES)
    assert len(NAMES) >= 60


@pytest.mark.parametrize("kind", ["report-", "auto-reply-"])
def test_robots_of_many_makes_are_among_the_letters(kind: str) -> None:
    """At least forty delivery reports and forty automatic replies, each named by what wrote it."""
    assert sum(name.startswith(kind) for name in NAMES) >= 40


def test_an_address_reads_as_people_write_it() -> None:
    """An Address shows its name and mailbox, or the one of them it has."""
    assert str(Address("Anna", "anna@bo.example")) == "Anna <anna@bo.example>"
    assert str(Address("", "anna@bo.example")) == "anna@bo.example"
    assert str(Address("Anna", "")) == "Anna"


def test_every_defect_has_its_sentence_for_the_desk() -> None:
    """No mail shows a defect that the desk cannot explain in Swedish."""
    found = {defect for name in NAMES for defect in parse((LETTERS / f"{name}.eml").read_bytes()).defects}
    assert found <= EXPLAINED.keys()
    assert len(found) >= 25


def test_scores_count_what_was_right_and_name_what_was_not(tmp_path: Path) -> None:
    """Of two mails the field that one gets wrong is half right, and the miss says what was read instead."""
    for name, subject in (("one", "Lampa"), ("two", "Bro")):
        (tmp_path / f"{name}.eml").write_bytes(b"From: Anna <a@bo.example>\r\nSubject: Lampa\r\n\r\nHej! trasig.\r\n")
        expected = {"subject": subject, "has_text": ["trasig"], "not_text": ["Mvh"]}
        (tmp_path / f"{name}.json").write_text(json.dumps(expected))
    found = score(tmp_path)
    assert found.asked == {"subject": 2, "text": 2}
    assert found.right == {"subject": 1, "text": 2}
    assert [(miss.file, miss.field, miss.said) for miss in found.missed] == [("two", "subject", "'Lampa'")]


def test_scores_refuse_a_broken_expectation(tmp_path: Path) -> None:
    """A list where an object should stand is an error that names the file."""
    (tmp_path / "one.eml").write_bytes(b"Subject: x\r\n\r\nHej\r\n")
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(ValueError, match=r"one\.json"):
        score(tmp_path)
