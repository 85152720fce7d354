"""Outlook's winmail.dat (TNEF, MS-OXTNEF): its text and files, through tnefparse."""

import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass

from striprtf.striprtf import rtf_to_text
from tnefparse import TNEF
from tnefparse.tnef import TNEFAttachment

from mailrouter.letter import charset, text

TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
FILES = 100
COPIED_OCTETS = 4_000_000_000  # about half a second

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
    if not _is_affordable(octets):
        return None
    try:
        found = TNEF(octets, do_checksum=False)
        files = tuple((_name(item), bytes(item.data)) for item in found.attachments[:FILES])
        plain = _text(found.body)
        rich = _text(found.htmlbody)
        if not plain.strip() and not rich.strip():
            plain = from_rtf(found.rtfbody)
    except Exception:  # tnefparse reads untrusted binary data and raises whatever it trips over
        log.info("a winmail.dat could not be read", exc_info=True)
        return None
    return Unpacked(plain, rich, files)


def _is_affordable(octets: bytes) -> bool:
    """tnefparse copies all that follows for each object, so objects times size is its cost."""
    offset, objects = 6, 0
    while offset + 9 < len(octets) and objects * len(octets) < COPIED_OCTETS:
        (length,) = struct.unpack_from("<I", octets, offset + 5)
        offset += length + 11
        objects += 1
    return objects * len(octets) < COPIED_OCTETS


def _name(item: TNEFAttachment) -> str:
    try:
        return _text(item.long_filename())
    except UnicodeDecodeError:
        # tnefparse takes short names for UTF-8, but Outlook writes them in its Windows code page.
        return _text(item._name)


def _text(value: bytes | str | list[bytes | str] | None) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    return charset.clean(value) if isinstance(value, str) else charset.decode(value.rstrip(b"\0"))[0]


def from_rtf(value: bytes | None) -> str:
    """The text of an RTF document, at most TEXT_CHARS of it."""
    if not value:
        return ""
    return charset.clean(str(_rtf_to_text(value.decode("latin-1"), errors="ignore")))[: text.TEXT_CHARS]
