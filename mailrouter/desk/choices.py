"""What a person can choose as receiver: the suggestion's candidates, and everything the organisation has.

A choice travels through the form as ``unit|area``; the area may be empty.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mailrouter.organisation import Area, Organisation, Unit

OTHER = "annan"  # the radio button that hands over to the list of everything


@dataclass(frozen=True, slots=True)
class Option:
    """One receiver. ``value`` is empty when nothing can be sent there, then ``outside`` or ``unknown`` says why."""

    value: str
    unit_name: str
    area_name: str = ""
    other_names: str = ""
    outside: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class CandidateView:
    """A candidate of the suggestion with the options it opens: several when only the place decides."""

    area_name: str
    probability: float
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that can be chosen on a day, for the list below the candidates."""

    units: Mapping[str, tuple[Option, ...]]  # by kind of unit
    areas: tuple[Option, ...]
    outside: tuple[Unit, ...]  # to refer people to; nothing is ever sent there


def value_of(unit: str, area: str = "") -> str:
    """A choice as a form carries it."""
    return f"{unit}|{area}"


def read_value(value: str, organisation: Organisation) -> tuple[str, str] | None:
    """Unit and area of a choice, or None when the form names something that is not there."""
    unit, _, area = value.partition("|")
    known = unit in organisation.units and (not area or area in organisation.areas)
    return (unit, area) if known else None


def candidates(suggestion: Mapping[str, Any] | None, organisation: Organisation, on: date) -> tuple[CandidateView, ...]:
    """The suggestion's candidates, best first, in today's organisation."""
    found = (suggestion or {}).get("candidates", ())
    return tuple(_candidate(candidate, organisation, on) for candidate in found)


def _candidate(candidate: Mapping[str, Any], organisation: Organisation, on: date) -> CandidateView:
    area = organisation.areas.get(candidate["area"])
    area_name = area.name if area else str(candidate["area"])
    unit = candidate["unit"]
    if unit is not None:
        options: tuple[Option, ...] = (_option(unit, candidate["area"], organisation, on),)
    elif area is not None and area.place_split:
        options = tuple(_of_district(area, organisation, on))
    else:
        options = (Option("", "", unknown=True),)
    return CandidateView(area_name, float(candidate["probability"]), options)


def _of_district(area: Area, organisation: Organisation, on: date) -> list[Option]:
    units = [organisation.unit_for(area.id, district, on) for district in area.unit_by_district]
    return [_option(unit, area.id, organisation, on) for unit in dict.fromkeys(units) if unit is not None]


def _option(unit_id: str, area_id: str, organisation: Organisation, on: date) -> Option:
    unit = organisation.units.get(unit_id)
    area = organisation.areas.get(area_id)
    if unit is None or not unit.answers_on(on):
        return Option("", unit.name if unit else unit_id, unknown=True)
    if not unit.mailbox:
        return Option("", unit.name, outside=True)
    return Option(
        value_of(unit_id, area_id if area else ""),
        unit.name,
        area.name if area else "",
        "; ".join(area.phrases if area else unit.aliases),
    )


def marked(suggestion: Mapping[str, Any] | None, candidates: Sequence[CandidateView], refused: Collection[str]) -> str:
    """The value that is marked when the page opens, so that Enter confirms it.

    None of the candidates when the suggestion is unsure, when the place that decides is missing, or when
    the unit has ``refused`` the case already: then a person has to choose.
    """
    if suggestion is None or suggestion.get("abstain") or not candidates or len(candidates[0].options) != 1:
        return ""
    value = candidates[0].options[0].value
    return value if value.partition("|")[0] not in refused else ""


def catalogue(organisation: Organisation, on: date) -> Catalogue:
    """Units and areas that answer on a day, by name."""
    alive = sorted((unit for unit in organisation.units.values() if unit.answers_on(on)), key=lambda unit: unit.name)
    kinds = dict.fromkeys(unit.kind for unit in organisation.units.values())
    units = {
        kind: tuple(_option(unit.id, "", organisation, on) for unit in alive if unit.kind == kind and unit.mailbox)
        for kind in kinds
    }
    areas = [option for area in organisation.areas.values() for option in _of_area(area, organisation, on)]
    return Catalogue(
        units={kind: options for kind, options in units.items() if options},
        areas=tuple(sorted(areas, key=lambda option: (option.area_name, option.unit_name))),
        outside=tuple(unit for unit in alive if not unit.mailbox),
    )


def _of_area(area: Area, organisation: Organisation, on: date) -> Sequence[Option]:
    if area.place_split:
        return [option for option in _of_district(area, organisation, on) if option.value]
    unit = organisation.unit_for(area.id, None, on)
    option = _option(unit, area.id, organisation, on) if unit else None
    return [option] if option and option.value else []
