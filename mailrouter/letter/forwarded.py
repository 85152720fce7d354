"""A mail that somebody passed on: the original sender is the citizen, the one who passed it on is shown too."""

import re
from dataclasses import dataclass

from mailrouter.letter import addresses, fields, header, marks, quotes
from mailrouter.letter.values import Address

_PREFIX = re.compile(
    r"\s*(?:vb|fw|fwd|vl|wg|tr|rv|doorst|vid|vidarebefordra[dt]?|videresend|enc|pd|i)\s*:|\s*\[fwd?:", re.IGNORECASE
)
# Danish and Norwegian for forwarding; in Finnish the same letters mean an answer.
_NORDIC_PREFIX = re.compile(r"\s*vs\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What was passed on: its sender, and the words of that sender."""

    sender: Address
    words: str
    quoted: str


def by_subject(subject: str) -> bool:
    """True for the prefixes with which clients mark a mail that is passed on."""
    return _PREFIX.match(subject) is not None


def inline(subject: str, body: str) -> tuple[str, Forwarded] | None:
    """The forwarder's own words and what was passed on below them, or None."""
    lines = body.split("\n")
    mark = quotes.first_mark(lines)
    if mark is None or not mark.sender:
        return None
    above = quotes.split("\n".join(lines[: mark.start]))
    nordic = _NORDIC_PREFIX.match(subject) is not None and re.search(
        r"^[>\s*]*(?:fra|sendt|emne)\s*:", body, re.I | re.M
    )
    bare = (
        not above.own and mark.kind == "header" and not re.match(r"\s*(?:re|sv|aw|antw|vs)\s*:", subject, re.IGNORECASE)
    )
    if not (mark.forwarded or by_subject(subject) or nordic or bare):
        return None
    sender = _address(mark.sender)
    if sender == addresses.NOBODY:
        return None
    below = "\n".join(re.sub(r"^\s{0,2}> ?", "", line) for line in lines[mark.end :])
    inner = quotes.split(below)
    return above.own, Forwarded(sender, inner.own, "\n\n".join(filter(None, [inner.signature, inner.quoted])))


def attached(octets: bytes) -> Address | None:
    """The sender of an attached mail, or None when it names nobody."""
    found, _ = header.sender(fields.read(octets))
    return found if found.address else None


def _address(written: str) -> Address:
    """ "Anna Svensson [mailto:anna@bo.example]", "Anna <anna@bo.example>", or only a name."""
    text = re.sub(r"\[?mailto:([^\]\s>]+)\]?", r"<\1>", written.strip("* _"))
    text = re.sub(r"<\s*<([^>]*)>\s*>|<([^<>]*)<[^<>]*>>", lambda m: f"<{m[1] or m[2]}>", text)
    text = re.split(r"\s+(?:för|on behalf of|im auftrag von|på vegne af|på vegne av)\s+", text, flags=re.IGNORECASE)[-1]
    return addresses.one(text.encode("utf-8", "replace")[: addresses.ADDRESS_OCTETS])


def is_mark(line: str) -> bool:
    """True for a line that announces a forwarded mail."""
    return marks.FORWARD_LINE.fullmatch(line) is not None
