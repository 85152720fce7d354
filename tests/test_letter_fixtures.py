"""Each mail under tests/letters is named by its defect and read as its .json says."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mailrouter.letter import Address, Letter, parse
from mailrouter.letter.defects import EXPLAINED

LETTERS = Path(__file__).parent / "letters"
NAMES = sorted(path.stem for path in LETTERS.glob("*.eml"))


def shown(letter: Letter) -> dict[str, Any]:
    """The letter in the words of the expectations."""
    return {
        "message_id": letter.message_id,
        "sender": {"name": letter.sender.name, "address": letter.sender.address},
        "reply_to": [address.address for address in letter.reply_to],
        "to": [address.address for address in letter.to],
        "cc": [address.address for address in letter.cc],
        "subject": letter.subject,
        "date": letter.date.isoformat() if letter.date else None,
        "in_reply_to": list(letter.in_reply_to),
        "references": list(letter.references),
        "text": letter.text,
        "quoted": letter.quoted,
        "signature": letter.signature,
        "nature": letter.nature.value,
        "has_html": bool(letter.html),
        "attachments": [[item.filename, item.content_type, len(item.octets)] for item in letter.attachments],
        "failures": [[each.recipient, each.action, each.status] for each in letter.report.failures]
        if letter.report
        else None,
        "original_message_id": letter.report.original_message_id if letter.report else None,
        "fields": [list(pair) for pair in letter.fields],
        "forwarded_from": letter.forwarded_from.address if letter.forwarded_from else None,
        "contact": asdict(letter.contact) if letter.contact else None,
        "defects": list(letter.defects),
    }


def differences(letter: Letter, expected: dict[str, Any]) -> list[str]:
    """What is not as expected; keys with has_ and not_ ask for parts of a value."""
    got = shown(letter)
    found = []
    for key, value in expected.items():
        part = key.partition("_")[2] if key not in got else ""
        if key == "attachments":
            wanted = [
                [name, kind, size if size is not None else real[2]]
                for (name, kind, size), real in zip(value, got[key], strict=False)
            ]
            if len(value) != len(got[key]) or wanted != got[key]:
                found.append(f"attachments: {got[key]!r}")
        elif not part:
            if got[key] != value:
                found.append(f"{key}: {got[key]!r}")
        elif key.startswith("has_"):
            found += [f"{part} lacks {item!r}: {got[part]!r}" for item in value if item not in got[part]]
        elif key.startswith("not_"):
            found += [f"{part} has {item!r}" for item in value if item in got[part]]
        else:
            found.append(f"unknown expectation {key}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_letter_is_read_as_expected(name: str) -> None:
    """A mail with the defect in its name yields the sender, text, parts and nature that its .json names."""
    letter = parse((LETTERS / f"{name}.eml").read_bytes())
    expected = json.loads((LETTERS / f"{name}.json").read_text("utf-8"))
    assert differences(letter, expected) == []


def test_every_letter_has_an_expectation_and_every_expectation_a_letter() -> None:
    """No fixture stands without its other half, and there are enough of them."""
    assert {path.stem for path in LETTERS.glob("*.json")} == set(NAMES)
    assert len(NAMES) >= 60


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
