"""Ordinary mails read by ``letter.parse`` beside the standard library's parser and mail-parser, in the same run.

All deliver the sender, the subject, the readable text and the decoded attachments, from the same octets in one
process on one core. Ours also tells quotes and signature apart, turns HTML into text and judges the nature.
"""

import base64
import gc
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.utils import parseaddr
from pathlib import Path
from typing import NamedTuple

import mailparser

from bench.mails import ordinary
from bench.table import Row
from mailrouter.letter import parse

MAILS = 1_000
WARM_UP = 100
FLOOR = 1_000  # mails a second: what a city's busiest morning needs many times over


class Delivered(NamedTuple):
    """What every reader must hand over."""

    sender: str
    subject: str
    text: str
    attachments: tuple[bytes, ...]


def measure(rounds: int, folder: Path) -> Iterator[Row]:  # noqa: ARG001 (every measure is called alike)
    """One row for each other reader; all take turns within each round. Fails when they disagree."""
    mails = ordinary(MAILS)
    _agree(mails)
    for read in (ours, *OTHERS.values()):
        _rate(read, mails[:WARM_UP])
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in OTHERS}
    for _ in range(rounds):
        own = _rate(ours, mails)
        for name, read in OTHERS.items():
            rates[name].append((_rate(read, mails), own))
    for name, pairs in rates.items():
        # What must hold is our own rate; as a ratio, so that the table has one kind of floor.
        theirs = sorted(other for other, _ in pairs)[len(pairs) // 2]
        yield Row("reading ordinary mails, 1-19 KiB, one core", name, pairs, FLOOR / theirs, 1.0)


def ours(octets: bytes) -> Delivered:
    """The whole reader."""
    letter = parse(octets)
    files = tuple(item.octets for item in letter.attachments)
    return Delivered(letter.sender.address, letter.subject, letter.body, files)


def compat32(octets: bytes) -> Delivered:
    """The standard library as it reads by default."""
    message = message_from_bytes(octets)
    texts: list[tuple[str, str]] = []
    files = []
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            raise TypeError(part.get_content_type())
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            texts.append((part.get_content_subtype(), content.decode(part.get_content_charset("utf-8"), "replace")))
        else:
            files.append(content)
    sender = parseaddr(_decoded(message, "from"))[1]
    return Delivered(sender, _decoded(message, "subject"), _chosen(texts), tuple(files))


def _decoded(message: Message, name: str) -> str:
    return str(make_header(decode_header(message.get(name, ""))))


def _chosen(texts: list[tuple[str, str]]) -> str:
    return next((text for kind, text in texts if kind == "plain"), texts[0][1] if texts else "")


def default(octets: bytes) -> Delivered:
    """The standard library with ``policy.default``."""
    message = message_from_bytes(octets, _class=EmailMessage, policy=policy.default)
    body = message.get_body(("plain", "html"))
    files = tuple(part.get_payload(decode=True) for part in message.iter_attachments())
    text = body.get_content() if body is not None else ""
    return Delivered(message["from"].addresses[0].addr_spec, str(message["subject"]), text, files)


def mail_parser(octets: bytes) -> Delivered:
    """mail-parser, which reads with the standard library and decodes on top of it."""
    mail = mailparser.parse_from_bytes(octets)
    files = tuple(_file(item) for item in mail.attachments)
    text = "\n".join(mail.text_plain or mail.text_html)
    return Delivered(mail.from_[0][1], mail.subject, text, files)


def _file(item: dict[str, object]) -> bytes:
    """The octets of an attachment as mail-parser hands them over."""
    payload = str(item["payload"])
    return base64.b64decode(payload) if item["binary"] else payload.encode()


OTHERS: dict[str, Callable[[bytes], Delivered]] = {
    "email (compat32)": compat32,
    "email (default)": default,
    "mail-parser": mail_parser,
}


def _rate(read: Callable[[bytes], Delivered], mails: list[bytes]) -> float:
    gc.collect()
    started = time.process_time()  # of this one core, whatever else runs beside
    for octets in mails:
        read(octets)
    return len(mails) / (time.process_time() - started)


def _agree(mails: list[bytes]) -> None:
    """No reader may be fast by leaving something out."""
    for octets in mails:
        expected = ours(octets)
        for name, read in OTHERS.items():
            found = read(octets)
            if found[:2] != expected[:2] or found.attachments != expected.attachments:
                raise RuntimeError(f"{name} reads {found[:2]} where we read {expected[:2]}")
            if "Lampan" not in found.text or "Lampan" not in expected.text:
                raise RuntimeError(f"{name} or we lose the text")
