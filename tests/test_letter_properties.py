"""Properties of every mail whatever: parse() and head() are total, their values can be stored, and repeat."""

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailrouter.letter import Head, Letter, head, parse

LETTERS = sorted((Path(__file__).parent / "letters").glob("*.eml"))
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FIELDS = st.sampled_from(
    [
        b"From: ",
        b"To: ",
        b"Subject: ",
        b"Date: ",
        b"Message-ID: ",
        b"References: ",
        b"Received: ",
        b"Content-Type: text/plain; charset=",
        b"Content-Type: text/html",
        b"Content-Type: multipart/mixed; boundary=",
        b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: ",
        b"Content-Disposition: attachment; filename*=",
    ]
)
SCRAPS = st.sampled_from(
    [
        *(b"b", b"--b\n", b"--b--\n", b"\n\n", b'"', b"(", b"\\", b";", b":", b",", b"> ", b"-- \n", b"\x00"),
        *(b"base64", b"quoted-printable", b"utf-16", b"utf-7", b"+2AA-", b"\xe5\xe4\xf6", b"\xed\xa0\x80"),
        *(b"=?utf-8?b?w6U=?=", b"=?gbk?q?=E4=B8?=", b"utf-8''%F0%9F", b"begin 644 a\n", b"\nend\n", b"<blockquote>"),
        *(b"<a@b.example>", b"Mon, 04 Mar 2024 09:15:00 +0100", b"Den 1 jan. 2024 10:10 skrev A <a@b.example>:\n"),
        "Från: a@b.example\nSkickat: x\nÄmne: y\n".encode(),
    ]
)
LINES = st.one_of(st.binary(max_size=40), SCRAPS, st.tuples(FIELDS, SCRAPS).map(b"".join))
MAILS = st.lists(LINES, max_size=40).map(b"\n".join)


def strings(value: Any) -> list[str]:
    """Every string within a value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [found for item in value.values() for found in strings(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in strings(item)]
    return []


def check(octets: bytes) -> None:
    """The properties that hold for every mail."""
    letter, known = parse(octets), head(octets)
    assert isinstance(letter, Letter)
    assert isinstance(known, Head)
    assert "unreadable" not in letter.defects
    for text in strings(asdict(letter)) + strings(asdict(known)):
        text.encode("utf-8")
        assert "\0" not in text
    json.dumps([asdict(letter), asdict(known)], default=str)
    assert letter.date is None or letter.date.tzinfo is not None
    assert len(letter.text) <= len(letter.body) + 2_000 or letter.fields
    assert parse(octets) == letter
    assert head(octets) == known


@given(st.binary(max_size=2_000))
@QUICK
def test_any_octets_are_a_letter(octets: bytes) -> None:
    """Random octets neither raise nor leave anything that a database refuses."""
    check(octets)


@given(MAILS)
@QUICK
def test_any_heap_of_mail_scraps_is_a_letter(octets: bytes) -> None:
    """Fields, boundaries, charsets and quotes in any order are read."""
    check(octets)


@pytest.mark.parametrize("path", LETTERS, ids=lambda path: path.stem)
def test_every_fixture_has_the_properties(path: Path) -> None:
    """The torture mails can be stored, and are the same when read twice."""
    check(path.read_bytes())


def mutated(octets: bytes, other: bytes, rng: random.Random) -> bytes:
    """A fixture that was cut, spliced with another one, or had octets flipped, dropped or doubled."""
    kind = rng.randrange(5)
    place = rng.randrange(len(octets) + 1)
    if kind == 0:
        return octets[:place]
    if kind == 1:
        return octets[:place] + other[rng.randrange(len(other) + 1) :]
    if kind == 2:
        return octets[:place] + other + octets[place:]
    if kind == 3:
        length = rng.randrange(1, 40)
        return octets[:place] + octets[place + length :]
    flipped = bytearray(octets)
    for _ in range(rng.randrange(1, 20)):
        if flipped:
            flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    return bytes(flipped)


@pytest.mark.parametrize("seed", range(8))
def test_mutilated_fixtures_are_letters(seed: int) -> None:
    """Fixtures that were truncated, spliced or flipped keep every property; the seed repeats a find."""
    rng = random.Random(seed)
    heap = [octets for octets in (path.read_bytes() for path in LETTERS) if 0 < len(octets) < 20_000]
    for _ in range(100):
        check(mutated(rng.choice(heap), rng.choice(heap), rng))
