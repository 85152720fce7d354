"""Mailboxes in address fields (RFC 5322 3.4), read leniently and in bounded time."""

import re
from email.utils import getaddresses

from mailrouter.letter import fields
from mailrouter.letter.values import Address

ADDRESS_COUNT = 500
ADDRESS_OCTETS = 32 * 1024
ANGLED_OCTETS = 2_000
PLAIN_OCTETS = 500  # longer ones go the slower way, which is linear

NOBODY = Address("", "")
# One mailbox as practically every client writes it. No comma, quote or bracket can hide in the name.
_PLAIN = re.compile(rb'\s*(?:"([^"\\<>]*)"|([^"<>,;:()\\@]*?))\s*<\s*([^<>\s"(),:;@]+@[^<>\s"(),:;@\[\]]+)\s*>\s*')
_BARE = re.compile(rb"\s*([^<>\s\"(),:;@]+@[^<>\s\"(),:;@\[\]]+)\s*")
_ONE_ANGLE = re.compile(
    r"([^<>]+)<\s*(?:mailto:)?((?:\"[^\"<>]{1,64}\"|[^<>\s\"@,;]+)@[^<>\s\"@,;]+)\s*>+[\s,;]*", re.IGNORECASE
)
_MAILTO = re.compile(r"\[mailto:([^\]\s]{1,320})\]", re.IGNORECASE)
_LISTED = re.compile(r"@[^\s,;]+\s*[,;]|:\s*;")  # mailboxes, or an empty group, before the one in brackets
_QUOTED_LOCAL = re.compile(r"\"[^\"\r\n]{1,64}\"@[^\s\"<>@]+")
_ANY = re.compile(r"[^\s<>\"'(),:;@\[\]]+@[^\s<>\"'(),:;@\[\]]+")
_ANGLES = re.compile(r"<[^<>]*>?")
_LAST_ANGLE = re.compile(r"<([^<>]*)>[^<>]*$")
_ENCODED = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


def one(value: bytes) -> Address:
    """The first mailbox of a From, Sender or Reply-To field; NOBODY when there is none."""
    plain = _plain(value) or _angled(value)
    if plain is not None:
        return plain
    found = many(value)
    number = next((number for number, address in enumerate(found) if address.address), None)
    if number is None:
        return found[0] if found else NOBODY
    # "Berg, Anna <anna@bo.example>": a comma that should have stood in quotes (RFC 5322 3.2.5).
    name = ", ".join(address.name for address in found[: number + 1] if address.name)
    return Address(name, found[number].address)


def _angled(value: bytes) -> Address | None:
    """One mailbox in brackets, whatever stands before it: "Anna @ Bo AB <anna@bo.example>", or [mailto:...]."""
    if len(value) > ANGLED_OCTETS:
        return None
    match = _ONE_ANGLE.fullmatch(_MAILTO.sub(r"<\1>", fields.decode(value)))
    if match is None or not match[1].strip() or _LISTED.search(match[1]):
        return None
    name = _name(match[1])
    return Address("" if name == match[2] else name, match[2])


def _plain(value: bytes) -> Address | None:
    """A field that holds one mailbox in the common form, or None."""
    if len(value) >= PLAIN_OCTETS:
        return None
    match = _PLAIN.fullmatch(value)
    if match is not None:
        name = match[1] if match[1] is not None else match[2]
        return Address(_name(fields.decode(name)), fields.decode(match[3]))
    match = _BARE.fullmatch(value)
    return Address("", fields.decode(match[1])) if match is not None else None


def many(value: bytes) -> tuple[Address, ...]:
    """All mailboxes of an address field, at most ADDRESS_COUNT; group names fall away."""
    plain = _plain(value)
    if plain is not None:
        return (plain,)
    raw = value[:ADDRESS_OCTETS]
    text = raw.decode("ascii") if raw.isascii() else fields.unlabelled(raw)
    text = re.sub(r"[\r\n]+[ \t]*", " ", text).replace("\0", "").strip()
    if not text or ("@" not in text and "<" not in text and ":" in text):
        return ()  # empty, or an empty group (RFC 5322 A.1.3)
    if "@" not in text:
        decoded = fields.decode(text.encode("utf-8", "replace"))
        if "@" in decoded:
            return _rescued(decoded)
        name = _name(_ANGLES.sub(" ", decoded)) or _name(decoded).strip("<> ")
        return (Address(name, ""),) if name else ()
    masked, kept = _mask(text)
    found: list[Address] = []
    for name, address in getaddresses([masked]):
        made = _address(_unmask(name, kept), _unmask(address, kept))
        if made != NOBODY and made not in found[-1:]:
            found.append(made)
        if len(found) >= ADDRESS_COUNT:
            break
    if not any(address.address for address in found):
        return _rescued(text) or tuple(found)
    return tuple(found)


def cut(value: bytes) -> bool:
    """True when ``many`` leaves mailboxes of this field out."""
    return len(value) > ADDRESS_OCTETS or value.count(b"@") > ADDRESS_COUNT


def _mask(text: str) -> tuple[str, list[str]]:
    """Encoded words hidden from the address grammar: their content may hold any special."""
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\x01{len(kept) - 1}\x02"

    return _ENCODED.sub(hide, text), kept


def _unmask(text: str, kept: list[str]) -> str:
    return re.sub("\x01(\\d+)\x02", lambda match: kept[int(match[1])], text) if "\x01" in text else text


def _address(name: str, address: str) -> Address:
    address = fields.decode(address.encode()) if "=?" in address else address
    shown = _name(fields.decode(name.encode("utf-8", "replace")))
    address = fields.decode(address.encode("utf-8", "replace")).strip("<> ")
    if _QUOTED_LOCAL.fullmatch(address):
        return Address(shown, address)
    address = address.strip("'\" ")
    if "@" not in address:
        inside = _ANY.search(shown)
        if inside is not None:
            return Address("", inside[0])
        return Address(" ".join(filter(None, [shown, address])), "")
    if " " in address:
        found = _ANY.search(address)
        shown = shown or (_name(address[: found.start()]) if found else "")
        address = found[0] if found else address.replace(" ", "")
    return Address("" if shown == address else shown, address)


def _name(text: str) -> str:
    """The display name without the quotes that some clients put inside encoded words, or around twice."""
    text = text.strip()
    while len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        text = text[1:-1].strip()
    if text.count('"') % 2:
        text = text.strip('"')
    return " ".join(text.replace('\\"', '"').split())


def _rescued(text: str) -> tuple[Address, ...]:
    """Text that breaks the grammar: whatever stands in the last brackets, or looks like an address."""
    decoded = fields.decode(text.encode("utf-8", "replace"))
    angle = _LAST_ANGLE.search(decoded)
    found = _ANY.search(angle[1] if angle else decoded) or _ANY.search(decoded)
    if found is None:
        return ()
    name = _name(decoded[: angle.start()]) if angle else ""
    return (Address("" if name == found[0] else name, found[0]),)
