"""A mail of any make is read with bounded effort, and what was left out is said."""

import base64
import tracemalloc
from io import BytesIO

import pytest

from mailrouter.letter import parse

HEAD = b"From: a@bo.example\r\nSubject: x\r\nDate: Mon, 04 Mar 2024 09:15:00 +0100\r\nMessage-ID: <1@bo.example>\r\n"


def peak(octets: bytes) -> tuple[int, tuple[str, ...]]:
    """The most memory parse() held beyond the mail itself, and the defects."""
    tracemalloc.start()
    try:
        letter = parse(octets)
        return tracemalloc.get_traced_memory()[1], letter.defects
    finally:
        tracemalloc.stop()


def test_a_large_attachment_costs_its_own_size() -> None:
    """A 24 MB attachment is decoded once: no text copies of it are made on the way."""
    size = 24_000_000
    out = BytesIO()
    base64.encode(BytesIO(bytes(size)), out)
    octets = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHej\r\n--b\r\n"
    octets += (
        b"Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + out.getvalue()
        + b"\r\n--b--\r\n"
    )
    letter = parse(octets)
    assert [len(item.octets) for item in letter.attachments] == [size]
    del letter
    assert peak(octets)[0] < 2 * len(octets)


def test_a_large_text_is_cut_and_said() -> None:
    """Sixteen megabytes of text become a text of bounded length with the defect text-cut."""
    octets = HEAD + b"\r\n" + b"Lampan blinkar och blinkar.\r\n" * 560_000
    letter = parse(octets)
    assert len(letter.body) <= 200_000
    assert "text-cut" in letter.defects
    assert peak(octets)[0] < 2 * len(octets)


def test_a_thousand_nested_parts_are_cut() -> None:
    """Nesting that would exhaust the interpreter's stack is cut at a depth, and the text is still found."""
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(1_200))
    letter = parse(HEAD + opening + b"Content-Type: text/plain\r\n\r\nLampan blinkar.\r\n")
    assert "too-deep" in letter.defects
    assert "Lampan blinkar." in letter.body


def test_thousands_of_parts_are_cut() -> None:
    """Of ten thousand parts the first hundreds are read."""
    letter = parse(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nHej\r\n" * 10_000)
    assert "too-many-parts" in letter.defects
    assert letter.text.startswith("Hej")


def test_lines_that_look_like_boundaries_are_bounded() -> None:
    """A million lines that begin like a delimiter and are none do not hold the reader."""
    letter = parse(
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHej\r\n" + b"--bx\r\n" * 1_000_000
    )
    assert letter.text.startswith("Hej")


def test_many_addresses_are_cut() -> None:
    """Of eight thousand recipients the first hundreds are kept, and that is said."""
    to = b", ".join(b"a%d@stad.example.se" % i for i in range(8_000))
    letter = parse(HEAD + b"To: " + to + b"\r\n\r\nHej\r\n")
    assert 0 < len(letter.to) <= 500
    assert "addresses-cut" in letter.defects


def test_a_header_of_half_a_megabyte_is_cut() -> None:
    """Header octets are bounded before any parser sees them."""
    letter = parse(HEAD + b"X-Long: " + b"a" * 500_000 + b"\r\n\r\nHej\r\n")
    assert letter.sender.address == "a@bo.example"
    assert "headers-cut" in letter.defects


def test_an_html_of_many_megabytes_is_bounded() -> None:
    """HTML with half a million tags and no end tags is read up to its bound."""
    letter = parse(HEAD + b"Content-Type: text/html\r\n\r\n<p>Lampan blinkar.</p>" + b"<div><b>x" * 500_000)
    assert "Lampan blinkar." in letter.text
    assert "text-cut" in letter.defects


@pytest.mark.parametrize(
    "octets",
    [
        HEAD.replace(b"a@bo.example", b"a" + b" " * 60_000 + b"<@") + b"\r\nLampan\r\n",
        HEAD.replace(b"a@bo.example", b"(" * 60_000) + b"\r\nLampan\r\n",
        HEAD + b"\r\nLampan\r\n" + b"-" * 200_000,
        HEAD + b"\r\nLampan\r\n" + (b"-" * 95 + b"\r\n") * 20_000,
        HEAD + b"\r\nLampan\r\n" + b"skrev " * 30_000 + b":\r\n",
        b"Return-Path: <>\r\n" + HEAD.replace(b"a@bo", b"mailer-daemon@bo") + b"\r\nLampan failed " + b"a.a" * 60_000,
        b"Return-Path: <>\r\n" + HEAD + b"\r\nLampan failed " + b"-" * 60_000,
        HEAD + b"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\nLampan\n" + b"-----BEGIN PGP SIGNATURE-----\n" * 9_000,
        HEAD + b"\r\nLampan\r\n" + b"On 4 Mar 2024 10:11 <a@b\r\n" * 20_000 + b"wrote:\r\n",
        HEAD + b"Content-Type: text/plain; format=flowed\r\n\r\nLampan \r\n" + b"abc \r\n" * 200_000,
        HEAD + b"Content-Type: text/html\r\n\r\nLampan" + b"<a href='http://x'>y" * 50_000,
        HEAD + b"Content-Type: text/html\r\n\r\nLampan" + b"<blockquote type=cite>y" * 50_000,
        HEAD + b"Content-Type: text/html\r\n\r\nLampan<table><tr>" + b"<td>y" * 150_000,
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nLampan\r\n" + b"--b" * 1_000_000,
        HEAD + b"\r\nLampan\r\n\r\nbegin 644 a\r\n" + b"M\xff\r\n" * 500_000 + b"end\r\n",
    ],
    ids=["spaces-in-from", "brackets-in-from", "dashes", "dash-lines", "verbs", "dots", "dashes-in-a-report",
         "signatures", "attributions", "flowed", "links", "quotes",
         "cells", "delimiters-on-one-line", "broken-uuencode"],
)  # fmt: skip
def test_what_once_took_minutes_is_read(octets: bytes) -> None:
    """Inputs on which an earlier reader went quadratic are read, with the citizen's word in the text."""
    assert "Lampan" in parse(octets).body


def test_a_winmail_of_countless_objects_is_left_closed() -> None:
    """A TNEF file whose reading would copy terabytes stays an attachment, and that is said."""
    tnef = b"\x78\x9f\x3e\x22\x00\x00" + b"\x01\x06\x90\x08\x00\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00" * 200_000
    letter = parse(HEAD + b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n" + tnef)
    assert [item.filename for item in letter.attachments] == ["winmail.dat"]
    assert "bad-tnef" in letter.defects
