"""How much of what a folder of mails should say is read out of them: ``NAME.eml`` beside ``NAME.json``.

An expectation is an object of any of the names in ``shown``. ``has_X`` lists what must stand within X, and ``not_X``
what must not; the size of an attachment may be null for any.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mailrouter.letter.parsing import parse
from mailrouter.letter.values import Letter


@dataclass(frozen=True, slots=True)
class Miss:
    """An expectation that did not hold."""

    file: str
    field: str
    said: str


@dataclass(frozen=True, slots=True)
class Scores:
    """For each field in how many mails it was expected and in how many it was right; and what was wrong."""

    asked: dict[str, int]
    right: dict[str, int]
    missed: tuple[Miss, ...]


def score(folder: Path) -> Scores:
    """Read every mail in ``folder`` that has an expectation. Raises OSError and ValueError on unreadable files."""
    asked: dict[str, int] = {}
    right: dict[str, int] = {}
    missed: list[Miss] = []
    for file in sorted(folder.glob("*.json")):
        letter = parse(file.with_suffix(".eml").read_bytes())
        wrong = dict(differences(letter, _expected(file)))
        for name in fields_of(_expected(file)):
            asked[name] = asked.get(name, 0) + 1
            right[name] = right.get(name, 0) + (name not in wrong)
        missed += [Miss(file.stem, name, said) for name, said in wrong.items()]
    return Scores(asked, right, tuple(missed))


def _expected(file: Path) -> dict[str, Any]:
    expected = json.loads(file.read_text("utf-8"))
    if not isinstance(expected, dict):
        raise ValueError(f"{file.name} is no JSON object.")  # noqa: TRY004 (a file's content is no argument)
    return expected


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


def fields_of(expected: dict[str, Any]) -> list[str]:
    """The fields that an expectation asks for, each once."""
    return list(dict.fromkeys(_field(key) for key in expected))


def _field(key: str) -> str:
    return key if key == "has_html" else key.removeprefix("has_").removeprefix("not_")


def differences(letter: Letter, expected: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and what stands there instead, for each expectation that does not hold."""
    got = shown(letter)
    for key, wanted in expected.items():
        name = _field(key)
        if name not in got:
            yield name, "no such field"
        elif key == name:
            if not _is_as_expected(name, wanted, got[name]):
                yield name, f"{got[name]!r}"
        elif key.startswith("has_"):
            yield from ((name, f"lacks {item!r}: {got[name]!r}") for item in wanted if item not in (got[name] or ()))
        else:
            yield from ((name, f"has {item!r}") for item in wanted if item in (got[name] or ()))


def _is_as_expected(name: str, wanted: Any, got: Any) -> bool:
    if name != "attachments":
        return bool(wanted == got)
    return len(wanted) == len(got) and all(
        [file, kind, real[2] if size is None else size] == real
        for (file, kind, size), real in zip(wanted, got, strict=True)
    )
