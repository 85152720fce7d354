"""Numbers that name a person or an account, found so that lists, logs and training never show them.

The original mail keeps them: it is an allmän handling as it came in.
"""

import re
from dataclasses import dataclass
from datetime import date

_PERSON = re.compile(r"(?<![\d-])(?:(?:19|20)\d{2}|\d{2})(?P<month>\d{2})(?P<day>\d{2})[-+ ]?\d{4}(?![\d-])")
_CARD = re.compile(r"(?<![\d-])\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,7}(?![\d-])")
_COORDINATION = 60  # added to the day in a samordningsnummer (folkbokföringslagen 18 a §)


@dataclass(frozen=True, slots=True)
class Sensitive:
    """A place in a text: ``kind`` is personnummer or kortnummer, ``start`` and ``end`` are characters."""

    kind: str
    start: int
    end: int


def find(text: str) -> tuple[Sensitive, ...]:
    """Personnummer, samordningsnummer and card numbers whose check digit is right, in the order they stand."""
    found = [Sensitive("personnummer", *match.span()) for match in _PERSON.finditer(text) if _is_personnummer(match)]
    taken = {place.start for place in found}
    found += [
        Sensitive("kortnummer", *match.span())
        for match in _CARD.finditer(text)
        if match.start() not in taken and 15 <= len(_digits(match[0])) <= 19 and _checks(_digits(match[0]))
    ]
    return tuple(sorted(found, key=lambda place: place.start))


def masked(text: str) -> str:
    """The text with what ``find`` finds put in words: "[personnummer]"."""
    for place in reversed(find(text)):
        text = f"{text[: place.start]}[{place.kind}]{text[place.end :]}"
    return text


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


def _is_personnummer(match: re.Match[str]) -> bool:
    """A date that exists, in any century, and the check digit (folkbokföringslagen 18 §)."""
    day = int(match["day"])
    try:
        date(2000, int(match["month"]), day - _COORDINATION if day > _COORDINATION else day)
    except ValueError:
        return False
    return _checks(_digits(match[0])[-10:])


def _checks(digits: str) -> bool:
    """The Luhn algorithm over all digits, the last being the check digit (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
