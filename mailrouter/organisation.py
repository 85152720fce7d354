"""Who answers what, where and when: units, areas and districts, read from one YAML file.

Model and rules only ever name an *area*. This room turns area + place + day into the *unit*, so that a
reorganisation is an edit of the file and never a new model.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from email.headerregistry import Address
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from rapidfuzz import fuzz

from mailrouter.gazetteer import District, Finding, Gazetteer

_T = TypeVar("_T")
_STRICT = ConfigDict(extra="forbid")
_FUZZY = 80  # rapidfuzz's partial ratio; below it unrelated names begin to match


class OrganisationError(ValueError):
    """The organisation file cannot be used; the message has one sentence a fault."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a unit has its own rule for; None means that the setting of the same name in [deadline] holds."""

    __pydantic_config__ = _STRICT

    weeks: Annotated[int, Field(gt=0)] | None = None
    remind_days_before: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    overdue_days: Annotated[int, Field(gt=0)] | None = None
    head_days: Annotated[int, Field(ge=0)] | None = None
    register_days: Annotated[int, Field(gt=0)] | None = None
    delay_weeks: Annotated[int, Field(gt=0)] | None = None
    kind_days: Mapping[str, Annotated[int, Field(ge=0)]] = field(default_factory=dict)  # added to the setting's


@dataclass(frozen=True, slots=True)
class Unit:
    """Somebody who answers: a förvaltning, a bolag or an outside body (which has no mailbox)."""

    __pydantic_config__ = _STRICT

    id: str
    name: str
    kind: str  # forvaltning | bolag | extern
    mailbox: str | None
    aliases: tuple[str, ...] = ()
    responsibilities: tuple[str, ...] = ()
    valid_from: date | None = None  # first day it answers
    valid_to: date | None = None  # last day it answers
    replaced_by: str | None = None  # who answers from the day after
    alternative: str | None = None  # the mailbox that is tried once when ``mailbox`` does not exist
    head: str | None = None  # where the head of the unit is reminded; without one it is ``mailbox``
    clock: Clock | None = None
    diarienummer: tuple[str, ...] = ()  # regular expressions of its own numbers; without them the usual ones hold

    def answers_on(self, on: date) -> bool:
        """True on the days this unit exists."""
        return (self.valid_from or date.min) <= on <= (self.valid_to or date.max)


@dataclass(frozen=True, slots=True)
class Former:
    """The unit an area led to until and with a day."""

    __pydantic_config__ = _STRICT

    unit: str
    valid_to: date


@dataclass(frozen=True, slots=True)
class Area:
    """What a mail can be about. ``unit_by_district`` is set where the socialförvaltning follows the place."""

    __pydantic_config__ = _STRICT

    id: str
    name: str
    unit: str | None = None
    unit_by_district: Mapping[str, str] = field(default_factory=dict)
    phrases: tuple[str, ...] = ()
    formerly: tuple[Former, ...] = ()
    flag: str | None = None
    note: str | None = None

    @property
    def place_split(self) -> bool:
        """True when only a place decides who answers."""
        return bool(self.unit_by_district)


@dataclass(frozen=True)
class _File:
    """The YAML file's own shape."""

    __pydantic_config__ = _STRICT

    version: int
    units: list[Unit]
    areas: list[Area]
    districts: dict[str, District]


@dataclass(frozen=True)
class Organisation:
    """The city on any day. Mappings keep the file's order."""

    units: Mapping[str, Unit]
    areas: Mapping[str, Area]
    districts: Mapping[str, District]

    def unit_for(self, area_id: str, district: str | None, on: date) -> str | None:
        """The unit that answers for an area on a day, or None: nobody, or a place is needed and not known.

        Raises KeyError for an area that the file does not have.
        """
        area = self.areas[area_id]
        former = sorted((f for f in area.formerly if on <= f.valid_to), key=lambda f: f.valid_to)
        unit = former[0].unit if former else self._present(area, district)
        return self.successor(unit, on)

    @staticmethod
    def _present(area: Area, district: str | None) -> str | None:
        if area.place_split:
            return area.unit_by_district.get(district) if district else None
        return area.unit

    def successor(self, unit: str | None, on: date) -> str | None:
        """Follow ``replaced_by`` to the unit that exists on the day."""
        while unit is not None and not self.units[unit].answers_on(on):
            unit = self.units[unit].replaced_by
        return unit

    def district_of(self, text: str) -> Finding:
        """The places that a text names, and the district they point to (None when they do not agree)."""
        return self.gazetteer.find(text)

    @cached_property
    def gazetteer(self) -> Gazetteer:
        """The index of place names, built at first use."""
        return Gazetteer(self.districts)

    def find_units(self, query: str, on: date | None = None, limit: int = 12) -> list[Unit]:
        """Units whose name, old names or duties look like what a person typed, best first."""
        alive = (unit for unit in self.units.values() if on is None or unit.answers_on(on))
        return _ranked(query, ((unit, (unit.name, unit.id, *unit.aliases), unit.responsibilities) for unit in alive))[
            :limit
        ]

    def find_areas(self, query: str, limit: int = 12) -> list[Area]:
        """Areas whose name or phrases look like what a person typed, best first."""
        return _ranked(query, ((area, (area.name, area.id), area.phrases) for area in self.areas.values()))[:limit]


def _ranked(query: str, entries: Iterable[tuple[_T, Iterable[str], Iterable[str]]]) -> list[_T]:
    """Names count whole, descriptions a little less; ties keep the file's order."""
    wanted = query.strip().casefold()
    if not wanted:
        return []
    scored = []
    for entry, names, descriptions in entries:
        marks = [_likeness(wanted, name) for name in names]
        marks += [_likeness(wanted, text) - 5 for text in descriptions]
        scored.append((max(marks), entry))
    return [entry for score, entry in sorted(scored, key=lambda pair: -pair[0]) if score >= _FUZZY]


def _likeness(wanted: str, name: str) -> float:
    """0 to 120: a name that begins so is surest, then a word that begins so, then a part, then a likeness."""
    known = name.casefold()
    if known.startswith(wanted):
        return 120.0
    if f" {wanted}" in f" {known}":
        return 110.0
    if wanted in known:
        return 100.0
    return fuzz.partial_ratio(wanted, known) if len(wanted) > 3 else 0.0


def load(path: Path) -> Organisation:
    """Read and check the organisation file. Raises OrganisationError with a sentence for every fault."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OrganisationError(f"cannot read the organisation {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OrganisationError(f"{path}: not valid YAML: {error}") from error
    try:
        parsed = TypeAdapter(_File).validate_python(content)
    except ValidationError as error:
        faults = [_sentence(fault, content) for fault in error.errors()]
        raise OrganisationError("\n".join(f"{path}: {fault}" for fault in faults)) from error
    if faults := _faults(parsed):
        raise OrganisationError("\n".join(f"{path}: {fault}" for fault in faults))
    return Organisation(
        units={unit.id: unit for unit in parsed.units},
        areas={area.id: area for area in parsed.areas},
        districts=parsed.districts,
    )


def _sentence(fault: Any, content: Any) -> str:
    """One pydantic fault, named by the id of the entry it stands in where it has one."""
    place, where = content, []
    for part in fault["loc"]:
        place = place[part] if isinstance(place, dict | list) and _has(place, part) else None
        named = place.get("id") if isinstance(place, dict) else None
        where.append(str(named or part))
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{' '.join(where) or 'the file'}: {message[0].lower()}{message[1:]}"


def _has(place: Any, part: Any) -> bool:
    return part in place if isinstance(place, dict) else isinstance(part, int) and part < len(place)


def _faults(file: _File) -> list[str]:
    units = {unit.id: unit for unit in file.units}
    faults = [f'two units have the id "{name}"' for name in _twice(unit.id for unit in file.units)]
    faults += [f'two areas have the id "{name}"' for name in _twice(area.id for area in file.areas)]
    for unit in file.units:
        faults += _unit_faults(unit, units)
    for area in file.areas:
        faults += _area_faults(area, units, file.districts)
    for name, district in file.districts.items():
        if district.unit not in units:
            faults.append(f'the district {name} leads to "{district.unit}", which is not a unit')
    return faults


def _twice(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]  # set.add


def _unit_faults(unit: Unit, units: Mapping[str, Unit]) -> Iterable[str]:
    if unit.kind not in {"forvaltning", "bolag", "extern"}:
        yield f'the unit {unit.id} has the kind "{unit.kind}"; it is forvaltning, bolag or extern'
    if unit.mailbox is not None and not _is_address(unit.mailbox):
        yield f'the mailbox of the unit {unit.id} is not an e-mail address (it is "{unit.mailbox}")'
    if unit.alternative is not None and not _is_address(unit.alternative):
        yield f'the alternative of the unit {unit.id} is not an e-mail address (it is "{unit.alternative}")'
    if unit.head is not None and not _is_address(unit.head):
        yield f'the head of the unit {unit.id} is not an e-mail address (it is "{unit.head}")'
    for pattern in unit.diarienummer:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f'the diarienummer "{pattern}" of the unit {unit.id} is no regular expression: {error}'
    if unit.valid_from and unit.valid_to and unit.valid_to < unit.valid_from:
        yield f"the unit {unit.id} ends {unit.valid_to}, before it begins {unit.valid_from}"
    if unit.replaced_by is not None and unit.replaced_by not in units:
        yield f'the unit {unit.id} is replaced by "{unit.replaced_by}", which is not a unit'
    if unit.replaced_by is not None and unit.id in _chain(unit.replaced_by, units):
        yield f"the unit {unit.id} is replaced by units that lead back to itself"


def _chain(start: str, units: Mapping[str, Unit]) -> list[str]:
    """The ids that ``replaced_by`` leads through, each once."""
    walked: list[str] = []
    current: str | None = start
    while current is not None and current not in walked:
        walked.append(current)
        current = units[current].replaced_by if current in units else None
    return walked


def _is_address(text: str) -> bool:
    """True for local@domain (RFC 5322 3.4.1) with a dot in the domain."""
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError):  # IndexError: the standard library's answer to an empty string
        return False
    return bool(address.username) and "." in address.domain.strip(".") and " " not in text


def _area_faults(area: Area, units: Mapping[str, Unit], districts: Mapping[str, District]) -> Iterable[str]:
    if area.unit is not None and area.place_split:
        yield f"the area {area.id} has both unit and unit_by_district; keep one"
    for unit in filter(None, (area.unit, *area.unit_by_district.values(), *(former.unit for former in area.formerly))):
        if unit not in units:
            yield f'the area {area.id} leads to "{unit}", which is not a unit'
    for district in area.unit_by_district:
        if district not in districts:
            yield f'the area {area.id} names the district "{district}", which the file does not have'
    missing = [name for name in districts if name not in area.unit_by_district]
    if area.place_split and missing:
        yield f"the area {area.id} has no unit for the district {', '.join(missing)}"
