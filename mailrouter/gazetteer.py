"""Where a mail is about: place names in running text, and the district they point to."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ConfigDict


@dataclass(frozen=True, slots=True)
class District:
    """A stadsområde and the names that lie in it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    unit: str
    former_sdn: tuple[str, ...] = ()
    mellanomraden: tuple[str, ...] = ()
    primaromraden: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A place name found in a text: as the gazetteer writes it, as the text wrote it, and how much it counts."""

    name: str
    written: str
    district: str
    weight: float


@dataclass(frozen=True, slots=True)
class Finding:
    """The places of a text, strongest first, and the district they agree on."""

    district: str | None
    places: tuple[Place, ...]


class Gazetteer:
    """The index of place names."""

    def __init__(self, districts: Mapping[str, District]) -> None:
        self._names = {
            name.casefold(): (name, key)
            for key, district in districts.items()
            for name in (*district.former_sdn, *district.primaromraden, *district.places)
        }

    def find(self, text: str) -> Finding:
        """Places in ``text`` and the district with the most weight."""
        padded = f" {text.casefold()} "
        places = tuple(
            Place(name, name, district, 1.0)
            for folded, (name, district) in self._names.items()
            if f" {folded} " in padded
        )
        districts = {place.district for place in places}
        return Finding(districts.pop() if len(districts) == 1 else None, places)
