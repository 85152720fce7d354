"""Where a mail is about: place names in running text, and the district they point to.

Names are met in any inflection ("Bergsjöns"), inside compounds ("Tuveskolan"), without the dots of å, ä and ö,
and with a slip of the finger. A name that is also an everyday word ("Backa", "Heden") counts only where the
sentence uses it as a name.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict
from rapidfuzz import process
from rapidfuzz.distance import OSA

_WORD = re.compile(r"\w+(?:[’':]\w+)*")
_POSTCODE = re.compile(r"\b(\d{3}) ?(\d{2})\b(?=\s+[A-ZÅÄÖ])")
_SIGN_OFF = re.compile(
    r"^\W*(?:mvh|vh|m\.v\.h|(?:med )?(?:vänlig|vänliga|bästa|varma)\b.*hälsning\w*|hälsningar|/\w+)", re.I | re.M
)
_COMPOUND = re.compile(
    r"(?:skolan?s?|badet|torg(?:et)?|vagen|gatan|parken|kyrkan?|hallen|forskolan?|borna|bor|bo|bron|hamnen|stranden|vallen|"
    r"centrum|bibliotek(?:et)?|gymnasiet|rondellen|motet|leden|tunneln|kajen|berget|omradet|plan|dalen|hojd|sjukhus|borg|"
    r"garden|angen|arena|simhall|skogen|hallet|trakten)s?$"
)
_FOREIGN_ENDING = re.compile(r"(?:i?(?:ssa|lla|sta|lta)|iin|in)$")  # Finnish local cases, folded
_AROUND = ["i", "pa", "till", "fran", "vid", "mot", "kring", "runt", "genom", "mellan", "nara", "utanfor", "bakom"]
_BEFORE = frozenset([*_AROUND, "over", "langs", "hela", "in", "at", "from", "near"])
_NAMING = frozenset(["i", "till", "fran", "vid"])  # before an everyday word these make it a name
_PERSON = frozenset(["hos", "med", "heter", "av", "och"])  # before Sanna this is a name, but of somebody
_HOME = frozenset(["bor", "bodde", "flyttade", "flyttat"])
_MARKS = str.maketrans("åäöéèü", "aaoeeu")
_SHORTEST_TYPO = 7  # letters; a shorter word is too easily another word
_SHORTEST_PART = 4
_AREA, _FACILITY = 1.0, 0.8  # people name their part of town for where it is, a landmark often in passing
_DISTRICT_NAME = 0.5
_SENDER = 0.3  # factor for a place in the sender's own address or signature
_LIVES = 0.7  # factor for a place where somebody says they live or lived


@dataclass(frozen=True, slots=True)
class District:
    """A stadsområde and the names that lie in it. ``everyday`` repeats those that are also ordinary words."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    unit: str
    former_sdn: tuple[str, ...] = ()
    mellanomraden: tuple[str, ...] = ()
    primaromraden: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    streets: tuple[str, ...] = ()
    facilities: tuple[str, ...] = ()
    postcodes: tuple[str, ...] = ()  # beginnings of postcodes, without a space
    everyday: tuple[str, ...] = ()

    @property
    def names(self) -> dict[str, float]:
        """Every name with its weight; a mellanområde of several parts also by its parts."""
        parts = {part for name in self.mellanomraden for part in (name, *name.split("-"))}
        areas = (*self.former_sdn, *parts, *self.primaromraden, *self.places, *self.streets)
        return dict.fromkeys(self.facilities, _FACILITY) | {self.name: _DISTRICT_NAME} | dict.fromkeys(areas, _AREA)


@dataclass(frozen=True, slots=True)
class Place:
    """A place name found in a text: as the gazetteer writes it, as the text wrote it, and how much it counts."""

    name: str
    written: str
    district: str
    weight: float


@dataclass(frozen=True, slots=True)
class Finding:
    """The places of a text, strongest first, and the district they point to, None when nothing decides."""

    district: str | None
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    words: tuple[str, ...]
    name: str
    district: str
    weight: float
    everyday: bool


@dataclass(frozen=True, slots=True)
class _Text:
    """A text as words: where each stands, and how it looks folded."""

    whole: str
    spans: tuple[tuple[int, int], ...]
    folded: tuple[str, ...]

    def written(self, index: int) -> str:
        """The word as the writer wrote it."""
        start, end = self.spans[index]
        return self.whole[start:end]

    def opens(self, index: int) -> bool:
        """True for the first word of a sentence."""
        gap = self.whole[self.spans[index - 1][1] if index else 0 : self.spans[index][0]].strip(" \"'”’(-")
        return index == 0 or gap.endswith((".", "!", "?", ":", "\n", "•", "–", ">"))

    def alone(self, index: int) -> bool:
        """True for a word that is a whole sentence, as in "Backa."."""
        last = index + 1 == len(self.spans)
        after = "" if last else self.whole[self.spans[index][1] : self.spans[index + 1][0]].lstrip(" ")
        return self.opens(index) and (last or after.startswith((".", "!", "\n")))

    def capital(self, index: int) -> bool:
        """True for a capital first letter, unless the whole text is shouted in capitals."""
        return self.whole[self.spans[index][0]].isupper() and not self.whole.isupper()

    def before(self, index: int) -> str:
        """The word before, folded; empty at the beginning."""
        return self.folded[index - 1] if index else ""


class Gazetteer:
    """The index of place names of all districts."""

    def __init__(self, districts: Mapping[str, District]) -> None:
        self._entries: dict[str, list[_Entry]] = defaultdict(list)
        for key, district in districts.items():
            everyday = {fold(name) for name in (*district.everyday, district.name)} - {"hisingen"}
            for name, weight in district.names.items():
                words = tuple(fold(name).replace("-", " ").split())
                self._entries[words[0]].append(_Entry(words, name, key, weight, fold(name) in everyday))
        for entries in self._entries.values():
            entries.sort(key=lambda entry: -len(entry.words))
        self._singles = {
            word: entry
            for word, entries in self._entries.items()
            for entry in entries
            if len(entry.words) == 1 and not entry.everyday
        }
        self._beginnings = {word[:_SHORTEST_PART] for word in self._singles}
        self._long = [word for word in self._singles if len(word) >= _SHORTEST_TYPO - 1]
        self._slips: dict[str, _Entry | None] = {}
        self._postcodes = {code: key for key, district in districts.items() for code in district.postcodes}

    def find(self, text: str) -> Finding:
        """The places that ``text`` names and the district with most weight; the first named if two weigh the same."""
        read = _read(text)
        signature = _signature_start(read.whole)
        places = []
        for index, entry, length in self._matches(read):
            start, end = read.spans[index][0], read.spans[index + length - 1][1]
            factor = _SENDER if start >= signature else _home_factor(read, index)
            places.append(Place(entry.name, read.whole[start:end], entry.district, entry.weight * factor))
        places += self._by_postcode(read.whole)
        places.sort(key=lambda place: -place.weight)
        return Finding(_decided(places), tuple(places))

    def _matches(self, read: _Text) -> Iterator[tuple[int, _Entry, int]]:
        """Index of the first word, what it names, and how many words that takes."""
        index = 0
        while index < len(read.spans):
            entry = self._written_out(read, index)
            length = len(entry.words) if entry else 1
            entry = entry or self._compound(read.folded[index]) or self._slip(read, index)
            if entry is not None:
                yield index, entry, length
            index += length

    def _written_out(self, read: _Text, index: int) -> _Entry | None:
        for form in _base_forms(read.folded[index]):
            for entry in self._entries.get(form, ()):
                words = read.folded[index : index + len(entry.words)]
                whole = len(words) == len(entry.words) and all(map(_same, words, entry.words))
                if whole and (not entry.everyday or _used_as_name(read, index)):
                    return entry
        return None

    def _compound(self, word: str) -> _Entry | None:
        """Tuveskolan, Angeredsbo, Hisingenillä: a name with a common last part."""
        if word[:_SHORTEST_PART] not in self._beginnings:
            return None
        for pattern in (_COMPOUND, _FOREIGN_ENDING):
            if (match := pattern.search(word)) is None or match.start() < _SHORTEST_PART:
                continue
            first = word[: match.start()]
            for form in (first, first.removesuffix("s"), f"{first}n", f"{first}a", f"{first}e"):
                if len(form) >= _SHORTEST_PART and form in self._singles:
                    return self._singles[form]
        return None

    def _slip(self, read: _Text, index: int) -> _Entry | None:
        """A long name with one letter wrong, where a name is to be expected."""
        word = read.folded[index]
        if len(word) < _SHORTEST_TYPO:
            return None
        if read.before(index) not in _BEFORE and not (read.capital(index) and not read.opens(index)):
            return None
        if word not in self._slips:
            if len(self._slips) > 100_000:  # bounded: a daemon meets new words for months
                self._slips.clear()
            self._slips[word] = self._nearest(word)
        return self._slips[word]

    def _nearest(self, word: str) -> _Entry | None:
        for form in _base_forms(word):
            best = process.extractOne(form, self._long, scorer=OSA.distance, score_cutoff=1)
            if best is not None and best[0][0] == form[0] and len(form) >= _SHORTEST_TYPO - 1:
                return self._singles[best[0]]
        return None

    def _by_postcode(self, text: str) -> Iterator[Place]:
        for match in _POSTCODE.finditer(text):
            code = match[1] + match[2]
            district = next((self._postcodes[code[:n]] for n in (5, 4, 3) if code[:n] in self._postcodes), None)
            if district is not None:
                yield Place(f"postnummer {match[1]} {match[2]}", match[0], district, _SENDER)


def fold(text: str) -> str:
    """Lower case without the dots of å, ä and ö."""
    return text.lower().translate(_MARKS)


def _read(text: str) -> _Text:
    text = unicodedata.normalize("NFC", text)
    folded = fold(text)
    if len(folded) != len(text):  # a letter such as the Turkish İ grows when lowered
        text = folded
    spans = tuple(match.span() for match in _WORD.finditer(folded))
    return _Text(text, spans, tuple(folded[start:end] for start, end in spans))


def _base_forms(word: str) -> tuple[str, ...]:
    """The word, and without the genitive s."""
    return (word, word[:-1]) if len(word) > 4 and word.endswith("s") else (word,)


def _same(word: str, wanted: str) -> bool:
    return word in (wanted, f"{wanted}s")


def _used_as_name(read: _Text, index: int) -> bool:
    """A capital inside a sentence, a sentence of its own, or "i" before a word without the definite ending."""
    before = read.before(index)
    if read.capital(index):
        return (not read.opens(index) and before not in _PERSON) or read.alone(index) or before in _BEFORE
    return before in _NAMING and not read.folded[index].endswith(("en", "et", "an"))


def _home_factor(read: _Text, index: int) -> float:
    return _LIVES if _HOME.intersection(read.folded[max(0, index - 3) : index]) else 1.0


def _signature_start(text: str) -> int:
    """Where the closing phrase of a mail stands, or its end when there is none in the last part."""
    closings = [match.start() for match in _SIGN_OFF.finditer(text) if match.start() > len(text) * 0.4]
    return closings[0] if closings else len(text)


def _decided(places: Sequence[Place]) -> str | None:
    sums: dict[str, float] = defaultdict(float)
    for place in places:
        sums[place.district] += place.weight
    return max(sums, key=sums.__getitem__) if sums else None
