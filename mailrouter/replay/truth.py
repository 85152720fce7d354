"""The true answers: a CSV that says of old mails which förvaltning or area they belonged to."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath

from mailrouter.organisation import Organisation
from mailrouter.replay.sources import ReplayError

_KEYS = ("message_id", "filename", "number")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What was right for one mail; None where nobody said, or where only the place would tell."""

    unit: str | None
    area: str | None


class Truth:
    """Answers by Message-ID, file name or number in the source."""

    def __init__(self, answers: Mapping[tuple[str, str], Answer]) -> None:
        self._answers = answers

    def __len__(self) -> int:
        return len(self._answers)

    def of(self, message_id: str, place: str, number: int) -> Answer | None:
        """The answer for a mail, by whichever of its names the file uses."""
        file = PurePath(place).name
        keys = (("message_id", message_id), ("filename", place), ("filename", file), ("number", str(number)))
        return next((self._answers[key] for key in keys if key in self._answers), None)


def read(file: Path, city: Organisation, on: date) -> Truth:
    """Read a CSV with a header line, comma or semicolon between, UTF-8 or what Excel writes.

    Columns: one or more of message_id, filename, number; unit (id or name, also an old one), area (id or name), or
    both. Raises ReplayError with the first faulty lines.
    """
    rows = list(_rows(file))
    units, areas = (
        _unit_names(city),
        {key: area.id for area in city.areas.values() for key in _forms(area.id, area.name)},
    )
    answers: dict[tuple[str, str], Answer] = {}
    faults: list[str] = []
    for line, row in rows:
        unit, area = _known(row, "unit", units.get), _known(row, "area", areas.get)
        keys = [(key, _plain(key, row[key])) for key in _KEYS if row.get(key)]
        if unit == "" or area == "":
            faults.append(
                f'line {line}: there is no {"unit" if unit == "" else "area"} "{row["unit" if unit == "" else "area"]}"'
            )
        elif not keys:
            faults.append(f"line {line}: neither message_id, filename nor number is given")
        elif unit or area:
            answer = _answer(unit, area, city, on)
            answers.update(dict.fromkeys(keys, answer))
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        raise ReplayError(f"{file}: {'; '.join(faults[:_SHOWN])}{more}")
    if not answers:
        raise ReplayError(f"{file} has no answers")
    return Truth(answers)


def _rows(file: Path) -> Iterable[tuple[int, dict[str, str]]]:
    octets = file.read_bytes()
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = octets.decode("cp1252", errors="replace")
    lines = text.splitlines()
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(lines, delimiter=delimiter)
    names = {(name or "").strip().lower() for name in reader.fieldnames or ()}
    if not names & set(_KEYS) or not names & {"unit", "area"}:
        raise ReplayError(f"{file}: the first line must name message_id, filename or number, and unit or area")
    for row in reader:
        yield reader.line_num, {(key or "").strip().lower(): (value or "").strip() for key, value in row.items() if key}


def _plain(key: str, value: str) -> str:
    return value.strip("<> ") if key == "message_id" else value


def _known(row: Mapping[str, str], column: str, find: Callable[[str], str | None]) -> str | None:
    """The id that a cell names; None for an empty cell, an empty string for a name that nobody has."""
    value = row.get(column, "")
    return (find(value.casefold()) or "") if value else None


def _forms(*names: str) -> list[str]:
    return [name.casefold() for name in names]


def _unit_names(city: Organisation) -> dict[str, str]:
    """Ids and names of today and before; a name that somebody bears today wins."""
    old = {key: unit.id for unit in city.units.values() for key in _forms(*unit.aliases)}
    return old | {key: unit.id for unit in city.units.values() for key in _forms(unit.id, unit.name)}


def _answer(unit: str | None, area: str | None, city: Organisation, on: date) -> Answer:
    """A unit that no longer answers is its successor; an area alone gives its unit unless the place decides."""
    if unit is None and area is not None:
        unit = city.unit_for(area, None, on)
    return Answer(city.successor(unit, on), area)
