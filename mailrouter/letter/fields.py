"""The header section (RFC 5322 2.2) of a mail or a part: raw fields, bounded, and their decoding.

Own code because the doors read every mail before it is registered, and because each reader at hand loses
something: mail-parser raw Latin-1 letters and the space between folded words, the standard library time.
"""

import binascii
import re
from dataclasses import dataclass, field

from mailrouter.letter import charset

HEADER_OCTETS = 256 * 1024
FIELD_COUNT = 2_000
FIELD_OCTETS = 64 * 1024

# Name, colon and the rest with its folded lines. Every octet of the section falls into some match, so that
# a broken line cannot hide from the identity.
FIELD = re.compile(rb"([!-9;-~]*)[ \t]*(:?)([^\n]*\n(?:[ \t]+[^ \t\r\n][^\n]*\n)*)")
_BEFORE_FIELDS = re.compile(rb"(?:\xef\xbb\xbf|[ \t\r\n])+(?=[A-Za-z][!-9;-~]*[ \t]*:[ \t])")
_CHARSET = re.compile(rb"charset\s*=\s*\"?([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_NO_FIELD = re.compile(rb"^(?![!-9;-~]+[ \t]*:|[ \t])(?=[^\r\n])", re.MULTILINE)
_END = re.compile(rb"\n\r*\n")
_FOLD = re.compile(r"[ \t]*[\r\n]+[ \t]*")
_WORD = re.compile(r"=\?([^?\s]{0,60})\?([bBqQ])\?([^?]*(?:\?(?!=)[^?\n]*){0,2})\?=")
_BETWEEN = re.compile(r"(\?=)\s+(?==\?[^?\s]{0,60}\?[bBqQ]\?)")
_Q_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]+")
# A blank line fell into the middle of the header section when what follows is plainly more of it.
_GOES_ON = re.compile(
    rb"(?=(?:from|to|subject|date|message-id|mime-version|content-type|content-transfer-encoding|"
    rb"received|return-path|reply-to|x-[a-z-]+):[^\n]*\n(?:[ \t][^\n]*\n|[a-z-]{2,40}:[^\n]*\n)*\r*\n)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """The fields in order, with lower-case names and raw values, and where the body starts."""

    fields: tuple[tuple[str, bytes], ...]
    body: int
    defects: tuple[str, ...]
    first: dict[str, bytes] = field(init=False, repr=False, compare=False)  # the first value of each name

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", dict(reversed(self.fields)))

    def all(self, name: str) -> list[bytes]:
        """Every value of the field ``name`` (lower case), in order."""
        return [value for key, value in self.fields if key == name]

    def raw(self, name: str) -> bytes:
        """The first value of the field ``name``, or empty."""
        return self.first.get(name, b"")

    def text(self, name: str) -> str:
        """The first value of the field ``name``, decoded to one line."""
        return decode(self.raw(name))

    def token(self, name: str) -> str:
        """The first value of ``name`` as lower-case ASCII without comments or parameters."""
        value = self.raw(name).split(b";", 1)[0].split(b"(", 1)[0]
        return value.strip().strip(b"\"'").decode("ascii", "ignore").lower()


def read(octets: bytes, start: int = 0, stop: int | None = None, limit: int = HEADER_OCTETS) -> Section:
    """The header section of the mail that begins at ``start``. At most ``limit`` octets and FIELD_COUNT fields
    are read; a blank line that fell into the middle of it is passed over."""
    section = _labelled(read_part(octets, _first_field(octets, start), stop, limit))
    stop = len(octets) if stop is None else stop
    if "headers-cut" in section.defects or not _continues(section, octets, stop):
        return section
    more = read_part(octets, section.body, stop, limit)
    defects = dict.fromkeys((*section.defects, "blank-line-in-header", *more.defects))
    return Section((section.fields + more.fields)[:FIELD_COUNT], more.body, tuple(defects))


def _first_field(octets: bytes, start: int) -> int:
    """Where the fields start: editors and gateways put a byte order mark, blanks or empty lines before them."""
    match = _BEFORE_FIELDS.match(octets, start, start + 1_000)
    return match.end() if match else start


def _labelled(section: Section) -> Section:
    """Raw 8-bit fields in the charset that the mail names for its text; western ones need no help."""
    if all(value.isascii() for _, value in section.fields):
        return section
    label = _CHARSET.search(section.raw("content-type"))
    name = charset.codec(label[1].decode("ascii")) if label else ""
    if not name or name.startswith(("utf", "ascii", "cp1252", "iso8859-15", "iso2022")):
        return section
    fields = tuple((key, value if value.isascii() else _recoded(value, name)) for key, value in section.fields)
    return Section(fields, section.body, section.defects)


def _recoded(value: bytes, name: str) -> bytes:
    """The value in UTF-8, when it is neither that already nor broken in the charset ``name``."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return value
    try:
        return value.decode(name).encode("utf-8", "replace")
    except (UnicodeError, ValueError):
        return value


def read_part(octets: bytes, start: int, stop: int | None, limit: int) -> Section:
    """The header section of a part: it ends at its first blank line."""
    stop = len(octets) if stop is None else stop
    end, body = _end(octets, start, min(stop, start + limit))
    cut = body < 0
    if cut:
        end = body = min(stop, start + limit)
        cut = body < stop
    if body == stop and start < stop:
        # The empty line is missing: what is no field is the text.
        first = _NO_FIELD.search(octets, start, end)
        if first and first.start() > start:
            end = body = first.start()
    block = octets[start:end]
    defects: list[str] = ["headers-cut"] if cut else []
    fields, malformed = _split(block)
    if malformed and not fields and not cut:
        # No header section at all: the whole is a body.
        return Section((), start, ("no-header",))
    if len(fields) > FIELD_COUNT:
        fields = fields[:FIELD_COUNT]
        defects.append("headers-cut")
    if malformed:
        defects.append("malformed-header")
    return Section(tuple(fields), body, tuple(defects))


def _end(octets: bytes, start: int, stop: int) -> tuple[int, int]:
    """Where the fields end and where the body starts; the latter is -1 when no empty line was found."""
    if octets.startswith((b"\r\n", b"\n"), start):
        return start, start + (2 if octets[start] == 13 else 1)
    found = octets.find(b"\n\r\n", start, stop)
    bare = octets.find(b"\n\n", start, stop if found < 0 else found)
    if bare >= 0:
        return bare + 1, bare + 2
    if found >= 0:
        return found + 1, found + 3
    match = _END.search(octets, start, stop)
    return (match.start() + 1, match.end()) if match else (-1, -1)


def _split(block: bytes) -> tuple[list[tuple[str, bytes]], bool]:
    if not block.endswith(b"\n"):
        block += b"\n"
    fields = []
    malformed = False
    for name, colon, rest in FIELD.findall(block):
        if colon and name:
            fields.append((name.decode("ascii").lower(), rest[:FIELD_OCTETS]))
        elif rest.strip() and name not in (b"From", b">From"):  # the mbox separator is no defect
            malformed = True
    return fields, malformed


def _continues(section: Section, octets: bytes, stop: int) -> bool:
    names = {name for name, _ in section.fields}
    if (
        not names
        or ("from" in names and "content-type" in names)
        or section.raw("content-type").startswith(b" message/")
    ):
        return False
    if _GOES_ON.match(octets, section.body, min(stop, section.body + 65_536)) is None:
        return False
    following = {name for name, _ in _split(octets[section.body : section.body + 4_096])[0][:30]}
    wanted = {"from"} if "from" not in names else {"content-type", "mime-version"}
    return bool(wanted & following)


def decode(value: bytes) -> str:
    """A field's value as one line of text: raw 8-bit octets, folds and encoded words (RFC 2047) resolved."""
    raw = value.strip()
    text = raw.decode("ascii") if raw.isascii() else unlabelled(raw)
    if "\n" in text or "\r" in text:
        text = _FOLD.sub(" ", text)
    if "=?" in text:
        text = words(text)
    if "Ã" in text or "â€" in text:
        text = charset.repair(text)[0]
    if not text.isprintable():
        text = _CONTROL.sub(" ", text).strip()
    return text


def unlabelled(octets: bytes) -> str:
    """Raw 8-bit octets of a header: UTF-8, GBK or cp1252, whichever they look like."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if _looks_chinese(octets):
        return octets.decode("gb18030", "replace")
    return charset.western(octets)


def _looks_chinese(octets: bytes) -> bool:
    """True for GBK: only pairs of high octets, in runs no western word has ("åäö" in a row is rare)."""
    runs = re.findall(rb"[\x80-\xff]+", octets)
    high = sum(map(len, runs))
    if high < 4 or any(len(run) % 2 for run in runs) or max(map(len, runs)) < 4:
        return False
    try:
        text = octets.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return all("\u2e80" <= char <= "\u9fff" or char.isascii() or "\uff00" <= char <= "\uffef" for char in text)


def words(text: str) -> str:
    """Encoded words (RFC 2047) resolved. Neighbours in one charset are joined as octets first: senders
    split multi-byte characters over two words although section 5 forbids it."""
    text = _BETWEEN.sub(r"\1", text)
    out: list[str] = []
    position = 0
    octets, label = b"", ""
    for match in _WORD.finditer(text):
        gap = text[position : match.start()]
        position = match.end()
        word_label = match[1].lower().split("*", 1)[0]
        piece = _word_octets(match[2], match[3])
        if gap or word_label != label:
            out += [_word_text(octets, label), gap]
            octets, label = b"", word_label
        octets += piece
    out += [_word_text(octets, label), text[position:]]
    return "".join(out)


def _word_octets(encoding: str, data: str) -> bytes:
    raw = data.encode("utf-8", "replace")
    if encoding in "bB":
        return base64(raw)
    raw = raw.replace(b"_", b" ")
    return _Q_HEX.sub(lambda match: bytes([int(match[1], 16)]), raw)


def base64(raw: bytes) -> bytes:
    """RFC 2045 6.8, lenient: foreign characters are passed over and missing padding is added."""
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        pass
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _word_text(octets: bytes, label: str) -> str:
    return charset.decode(octets, label)[0] if octets else ""
