"""Case numbers and tokens: what people read aloud and what mails carry home.

The alphabet has neither O/0, I/1 nor L, so that nothing can be misread; its 31 letters are a prime
number, which lets one check character catch every single mistake and every swap of two characters.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import suppress

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_SERIAL_LENGTH = 4
_NUMBER_PATTERN = re.compile(rf"(?<![\w-])\d\d-[{ALPHABET}]{{{_SERIAL_LENGTH},6}}-[{ALPHABET}](?![\w-])")
_TOKEN_LENGTH = 24  # 24 characters of 31: 118 bits, not to be guessed
_TOKEN_PREFIX = "mr"  # noqa: S105 (a mark in front of the secret)
# In small letters, since a pattern that begins with plain ones is found fastest: every mail at a door is searched.
_TOKEN_PATTERN = re.compile(rf"{_TOKEN_PREFIX}[{ALPHABET.lower()}]{{{_TOKEN_LENGTH}}}(?![a-z0-9])")
_BROKEN_TOKEN = re.compile(rf"{_TOKEN_PREFIX}[{ALPHABET.lower()}]{{0,{_TOKEN_LENGTH - 1}}}=?\r?\n")
_FOLD = re.compile(r"=?\r?\n[ \t]*")  # a header line that was broken inside a token, with or without quoted-printable


class NumberError(ValueError):
    """Not a case number; the message says why."""


def format_number(year: int, serial: int) -> str:
    """The ``serial``-th case of ``year`` as ``26-2223-K``: year, serial in base 31, check character."""
    if serial < 1:
        raise NumberError("the first case of a year has serial 1")
    digits = ""
    rest = serial
    while rest or len(digits) < _SERIAL_LENGTH:
        rest, value = divmod(rest, len(ALPHABET))
        digits = ALPHABET[value] + digits
    stem = f"{year % 100:02d}-{digits}"
    return f"{stem}-{_check(stem)}"


def read_number(written: str) -> str:
    """A number as a person wrote it, in its one true form. Raises NumberError when a character is wrong."""
    squeezed = re.sub(r"[^0-9A-Za-z]", "", written).upper()
    stem = f"{squeezed[:2]}-{squeezed[2:-1]}"
    if not re.fullmatch(rf"\d\d-[{ALPHABET}]{{{_SERIAL_LENGTH},}}", stem) or _check(stem) != squeezed[-1]:
        raise NumberError(f"{written!r} is not a case number; one looks like {format_number(26, 1)}")
    return f"{stem}-{squeezed[-1]}"


def find_numbers(text: str) -> list[str]:
    """The case numbers that stand in ``text``, each once, in order; what has a wrong check character is none."""
    found = []
    for match in _NUMBER_PATTERN.findall(text.upper()):
        with suppress(NumberError):
            found.append(read_number(match))
    return list(dict.fromkeys(found))


def _check(stem: str) -> str:
    """Weighted sum modulo 31: distinct weights below the prime catch single errors and transpositions."""
    characters = stem.replace("-", "")
    values = [int(digit) for digit in characters[:2]] + [_VALUE[letter] for letter in characters[2:]]
    total = sum(weight * value for weight, value in enumerate(values, start=1))
    return ALPHABET[total % len(ALPHABET)]


def new_token() -> str:
    """A secret that ties a mail to the dispatch it answers; it stands in Message-ID and reply address."""
    return _TOKEN_PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(_TOKEN_LENGTH)).lower()


def find_tokens(text: str) -> list[str]:
    """The tokens that stand in ``text``, each once, in order: in any case, and however a mail server wrapped them.

    ``l`` for ``1`` and ``o`` for ``0`` cannot happen: the alphabet has none of the four.
    """
    small = text.lower()
    found = list(_tokens(small))
    if _BROKEN_TOKEN.search(small):
        found += _tokens(_FOLD.sub("", small))
    return list(dict.fromkeys(found))


def _tokens(small: str) -> Iterator[str]:
    """Tokens that begin a word, or stand behind an encoded plus sign."""
    for match in _TOKEN_PATTERN.finditer(small):
        before = small[max(0, match.start() - 3) : match.start()]
        if not before[-1:].isalnum() or before == "%2b":
            yield match[0]
