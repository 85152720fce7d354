"""Whether a mail's octets pass every relay unchanged without an encoding."""

import re
from itertools import islice

_HEADER_SECTION = re.compile(rb"(?:[!-9;-~]++:[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+(?:\r\n|\Z)")
_BOUNDARY = re.compile(rb"boundary[^\w\n]*=\s*(?:\"([^\"\\\r\n]+)\"|([\w'()+,./:=?-]+)|)", re.IGNORECASE)
_DELIMITER = re.compile(rb"^--([^\r\n]+)\r\n", re.MULTILINE)
_INNER_MESSAGE = re.compile(rb"^content-type:\s*message/", re.IGNORECASE | re.MULTILINE)
_ODD = re.compile(rb"multipart/digest|boundary\*", re.IGNORECASE)  # messages unannounced; boundaries encoded
_LARGEST_HEADER = 65_536  # octets; relays cut off larger fields (Postfix: header_size_limit)
_MOST_BOUNDARIES, _MOST_PARTS, _DEEPEST = 50, 1_000, 20  # beyond these nobody has to be clever
_TOO_LONG = re.compile(rb"[^\r\n]{999}")  # RFC 5322 2.1.1


def is_transparent(original: bytes) -> bool:
    """True when the octets pass every relay unchanged without an encoding.

    SMTP wants CRLF and nothing else, no NUL and no line above 998 octets (RFC 5321 4.5.3.1.6, RFC 5322
    2.3). A relay also reads the header sections of a message/rfc822 part and of the parts inside it, and
    repairs them: Postfix takes away a space before a colon and the end of a huge field.
    """
    return (
        original.count(b"\n") == original.count(b"\r\n") == original.count(b"\r")
        and b"\0" not in original
        and _TOO_LONG.search(original) is None
        and _are_headers_sound(original)
    )


def _are_headers_sound(original: bytes) -> bool:
    """True when the mail begins with a header section and so does each part that a relay would find in it."""
    boundaries = {quoted or plain for quoted, plain in _BOUNDARY.findall(original)}
    if b"" in boundaries or len(boundaries) > _MOST_BOUNDARIES or _ODD.search(original):
        return False
    known = tuple(boundaries)
    delimiters = (line.end() for line in _DELIMITER.finditer(original) if known and line[1].startswith(known))
    starts = [0, *islice(delimiters, _MOST_PARTS)]
    has_fields = original[:2] not in {b"", b"\r\n"}  # RFC 2046 5.2.1 wants one at least
    return has_fields and len(starts) <= _MOST_PARTS and all(_is_section_sound(original, start) for start in starts)


def _is_section_sound(original: bytes, start: int) -> bool:
    """True for a header section at ``start``, and for those of the messages right inside it."""
    for _ in range(_DEEPEST):
        section = _HEADER_SECTION.match(original, start, start + _LARGEST_HEADER)
        if section is None or len(section[0]) == _LARGEST_HEADER:
            return False
        if not _INNER_MESSAGE.search(section[0]):
            return True
        start = section.end()
    return False
