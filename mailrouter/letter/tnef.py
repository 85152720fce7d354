"""Outlook's winmail.dat (TNEF, MS-OXTNEF): its text and files, through tnefparse."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from striprtf.striprtf import rtf_to_text
from tnefparse import TNEF

from mailrouter.letter import charset, text

TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
FILES = 100

_rtf_to_text: Callable[..., str] = rtf_to_text  # striprtf ships no types

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a winmail.dat held: ``files`` are names and octets."""

    text: str
    html: str
    files: tuple[tuple[str, bytes], ...]


def unpack(octets: bytes) -> Unpacked | None:
    """The content of a winmail.dat, or None when it cannot be read."""
    try:
        found = TNEF(octets, do_checksum=False)
        files = tuple((_text(item.long_filename()), bytes(item.data)) for item in found.attachments[:FILES])
        plain = _text(found.body)
        rich = _text(found.htmlbody)
        if not plain.strip() and not rich.strip():
            plain = _from_rtf(found.rtfbody)
    except Exception:  # tnefparse reads untrusted binary data and raises whatever it trips over
        log.info("a winmail.dat could not be read", exc_info=True)
        return None
    return Unpacked(plain, rich, files)


def _text(value: bytes | str | list[bytes | str] | None) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    return charset.clean(value) if isinstance(value, str) else charset.decode(value.rstrip(b"\0"))[0]


def _from_rtf(value: bytes | None) -> str:
    if not value:
        return ""
    return charset.clean(str(_rtf_to_text(value.decode("latin-1"), errors="ignore")))[: text.TEXT_CHARS]
