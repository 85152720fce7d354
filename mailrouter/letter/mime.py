"""The parts of a mail (RFC 2045, 2046), bounded before any parser sees them.

``outline`` cuts the octets at their boundaries in one bounded pass and writes a small outline of the mail:
the same parts with the same MIME fields, but each body replaced by a token. mail-parser walks the outline
and reads the fields; the bodies are cut from the original octets by offset and decoded here. So mail-parser
never sees a citizen's letters (it would drop raw Latin-1 and make surrogates), an attached mail stays one
opaque part (it would melt into the outer text), and a 50 MB mail costs it as much as a small one.
"""

import binascii
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from functools import lru_cache

import mailparser

from mailrouter.letter import fields

# It warns of every part that is no text; what is odd in a mail is said in its defects.
logging.getLogger("mailparser").setLevel(logging.ERROR)

DEPTH = 20
PARTS = 400
PART_HEADER_OCTETS = 16 * 1024
FALSE_DELIMITERS = 100_000  # lines that begin like a delimiter and are none
DELIMITER_TAIL = 200  # white space that a gateway may have put behind a delimiter
BASE64_BLOCKS = 10_000  # separately padded runs within one part
UU_LINES = 1_200_000
UU_BROKEN_LINES = 1_000
KNOWN_OCTETS = 4_096  # longer outlines are not remembered
NAME_CHARS = 255

_BOUNDARY = re.compile(rb"boundary\s*=\s*(?:\"([^\"\r\n]{1,200})\"?|([^\s;\"]{1,200}))", re.IGNORECASE)
_BOUNDARY_PIECE = re.compile(rb"boundary\*\d{1,2}\*?\s*=\s*\"?([^\s;\"]{1,100})", re.IGNORECASE)  # RFC 2231 3
_TYPE = re.compile(rb"\s*([A-Za-z0-9!#$&^_.+-]{1,60})\s*/\s*([A-Za-z0-9!#$&^_.+-]{1,80})")
_GUESSED = re.compile(rb"(?:\A|\n)--([^\s\x80-\xff][^\r\n]{0,98}?)[ \t]*\r*\n(?:content-|mime-version:)", re.IGNORECASE)
_TOKEN = re.compile(r"mailrouter-part-(\d+)")
_CONTINUED = re.compile(rb";[^;=]*\*[^;=]*=[^;]*")
_HIGH = re.compile("[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf of the mail: what its fields say, and where its octets stand."""

    content_type: str
    charset: str
    filename: str
    disposition: str  # attachment | inline | "" or what the sender wrote
    content_id: str
    encoding: str
    params: dict[str, str]
    start: int
    stop: int

    def decoded(self, octets: bytes, limit: int | None = None) -> bytes:
        """The octets with the content transfer encoding (RFC 2045 6) taken off, broken ones leniently; read
        from at most ``limit`` octets of the mail."""
        stop = self.stop if limit is None else min(self.stop, self.start + limit)
        view = memoryview(octets)[self.start : stop]  # of a 50 MB part only the decoded copy is made
        if self.encoding == "base64":
            return _base64(view)
        if self.encoding == "quoted-printable":
            return binascii.a2b_qp(view)
        if self.encoding in {"uuencode", "x-uuencode", "uue", "x-uue"}:
            return uudecode(view.tobytes())[1]
        return view.tobytes()


@dataclass(frozen=True, slots=True)
class Multipart:
    """An inner node: ``subtype`` is mixed, alternative, related ..."""

    subtype: str
    children: tuple["Multipart | Part", ...]
    params: dict[str, str] = field(default_factory=dict)

    def leaves(self) -> Iterator[Part]:
        """Every leaf below, in the order they stand."""
        for child in self.children:
            if isinstance(child, Part):
                yield child
            else:
                yield from child.leaves()


Tree = Multipart | Part


@dataclass(slots=True)
class _Outline:
    """The outline while it is written."""

    octets: bytes
    written: list[bytes] = field(default_factory=list)
    spans: list[tuple[int, int, str]] = field(default_factory=list)  # start, stop, Content-ID
    defects: list[str] = field(default_factory=list)
    false_delimiters: int = 0
    multiparts: int = 0


def tree(octets: bytes, section: fields.Section, stop: int | None = None) -> tuple[Tree, tuple[str, ...]]:
    """The parts of the mail whose header section is ``section``, and the defects found."""
    outline = _Outline(octets)
    _write(outline, section, section.body, len(octets) if stop is None else stop, 0, "text/plain")
    written = b"".join(outline.written)
    shape, defects = _known_shape(written) if len(written) < KNOWN_OCTETS else _shape(written)
    return _placed(shape, outline), tuple(dict.fromkeys((*outline.defects, *defects)))


def _shape(written: bytes) -> tuple[Tree, tuple[str, ...]]:
    """What mail-parser reads out of an outline; ``start`` of each part is its number yet."""
    parsed = mailparser.parse_from_bytes(written)
    return _read(parsed.message), tuple(_DEFECTS[name] for name in parsed.defects_categories if name in _DEFECTS)


# Citizens' mails have few shapes: clients write the same parts with the same fields again and again.
_known_shape = lru_cache(maxsize=2_000)(_shape)


def _placed(shape: Tree, outline: _Outline) -> Tree:
    if isinstance(shape, Multipart):
        return replace(shape, children=tuple(_placed(child, outline) for child in shape.children))
    if shape.start < 0:
        return replace(shape, start=0, stop=0)
    start, stop, content_id = outline.spans[shape.start]
    return replace(shape, start=start, stop=stop, content_id=content_id)


_DEFECTS = {
    "MimeHeaderDefect": "bad-mime-field",
    "MultipartInvariantViolationDefect": "boundary-not-found",
}


def _write(outline: _Outline, section: fields.Section, start: int, stop: int, depth: int, default: str) -> None:
    main, sub = _content_type(section.raw("content-type"), default)
    if main == "multipart":
        boundary = _boundary(section.raw("content-type"))
        spans = _spans(outline, boundary, start, stop) if boundary else []
        if not spans:
            guessed = _GUESSED.search(outline.octets, max(0, start - 1), min(stop, start + 65_536))
            spans = _spans(outline, guessed[1], start, stop) if guessed else []
            outline.defects.append("boundary-guessed" if spans else "boundary-not-found")
        if spans and depth < DEPTH:
            _write_multipart(outline, section, sub, spans, depth)
            return
        if spans:
            outline.defects.append("too-deep")
    _write_leaf(outline, section, main, sub, start, stop)


def _write_multipart(
    outline: _Outline, section: fields.Section, sub: str, spans: list[tuple[int, int]], depth: int
) -> None:
    outline.multiparts += 1
    mark = b"=_%d" % outline.multiparts
    report = _param(section.raw("content-type"), b"report-type")
    outline.written.append(
        b'Content-Type: multipart/%s; boundary="%s"; report-type="%s"\n\n' % (sub.encode(), mark, report)
    )
    default = "message/rfc822" if sub == "digest" else "text/plain"
    for begin, end in spans:
        if len(outline.spans) >= PARTS:
            outline.defects.append("too-many-parts")
            break
        inner = fields.read_part(outline.octets, begin, end, PART_HEADER_OCTETS)
        if "no-header" in inner.defects and outline.octets[begin:end].strip() == b"":
            continue
        outline.written.append(b"\n--%s\n" % mark)
        _write(outline, inner, inner.body, end, depth + 1, default)
    outline.written.append(b"\n--%s--\n" % mark)


def _write_leaf(outline: _Outline, section: fields.Section, main: str, sub: str, start: int, stop: int) -> None:
    if main == "multipart":
        main, sub = "text", "plain"  # parts that cannot be told apart are read as one text
    params = section.raw("content-type").partition(b";")[2]
    outline.written.append(b"Content-Type: x-%s/%s%s\n" % (main.encode(), sub.encode(), _params(params)))
    for name in ("content-disposition", "content-transfer-encoding"):
        value = section.raw(name).strip()
        if value:
            outline.written.append(b"%s: %s\n" % (name.encode(), _one_line(value)))
    outline.written.append(b"\nmailrouter-part-%d\n" % len(outline.spans))
    outline.spans.append((start, stop, section.text("content-id").strip("<> ")))


def _params(value: bytes) -> bytes:
    return b"; " + _one_line(value) if value.strip() else b""


def _one_line(value: bytes) -> bytes:
    """One bounded line in ASCII: mail-parser drops 8-bit octets, so they travel as encoded words."""
    line = re.sub(rb"[\r\n\0]+[ \t]*", b" ", value[:4_096]).strip()
    if not line.isascii():
        line = _HIGH.sub(_encoded_word, fields.unlabelled(line)).encode("ascii", "replace")
    return _parsable(line) if b"*" in line else line


def _parsable(line: bytes) -> bytes:
    """The standard library, and mail-parser with it, raises on some continuations (RFC 2231 3), as when a
    parameter comes both numbered and not. Then only the plain parameters are kept."""
    probe = Message()
    probe["content-type"] = line.decode("ascii")
    try:
        probe.get_params()
    except (TypeError, ValueError, LookupError):
        return _CONTINUED.sub(b"", line)
    return line


def _encoded_word(match: re.Match[str]) -> str:
    return f"=?utf-8?b?{binascii.b2a_base64(match[0].encode('utf-8', 'replace'), newline=False).decode()}?="


def _content_type(value: bytes, default: str) -> tuple[str, str]:
    match = _TYPE.match(value)
    if match is None:
        bare = value.strip().lower()
        if bare in (b"text", b"html", b"text/"):
            return "text", "html" if bare == b"html" else "plain"
        main, sub = default.split("/")
        return main, sub
    return match[1].decode("ascii").lower(), match[2].decode("ascii").lower()


def _boundary(value: bytes) -> bytes:
    match = _BOUNDARY.search(value)
    if match is None:
        return b"".join(_BOUNDARY_PIECE.findall(value))[:200]
    return (match[1] or match[2]).rstrip()


def _param(value: bytes, name: bytes) -> bytes:
    match = re.search(name + rb"\s*=\s*\"?([A-Za-z0-9-]{1,60})", value, re.IGNORECASE)
    return match[1].lower() if match else b""


def _spans(outline: _Outline, boundary: bytes, start: int, stop: int) -> list[tuple[int, int]]:
    """Where the parts between the delimiters stand (RFC 2046 5.1.1). Text before and after them falls away;
    a missing last delimiter ends at ``stop``."""
    octets = outline.octets
    delimiter = b"--" + boundary
    spans: list[tuple[int, int]] = []
    begin = -1
    position = octets.find(delimiter, start, stop)
    while position >= 0 and len(spans) <= PARTS:
        after = position + len(delimiter)
        line_end = octets.find(b"\n", after, min(stop, after + DELIMITER_TAIL))
        line_end = min(stop, after + DELIMITER_TAIL) if line_end < 0 else line_end
        rest = octets[after:line_end].strip()
        if (position == start or octets[position - 1] == 10) and rest in (b"", b"--"):
            if begin >= 0:
                spans.append((begin, max(begin, _before(octets, position))))
            if rest:
                return spans
            begin = min(line_end + 1, stop)
            position = octets.find(delimiter, begin, stop)
            continue
        outline.false_delimiters += 1
        if outline.false_delimiters > FALSE_DELIMITERS:
            outline.defects.append("too-many-parts")
            break
        position = octets.find(delimiter, after, stop)
    if begin >= 0:
        spans.append((begin, stop))
        outline.defects.append("boundary-not-closed")
    return spans


def _before(octets: bytes, position: int) -> int:
    """The line end before a delimiter belongs to the delimiter."""
    end = position - 1
    while end > 0 and octets[end - 1] == 13:
        end -= 1
    return end


def _read(message: Message) -> Tree:
    """mail-parser's tree as values. Its depth is bounded by DEPTH."""
    payload = message.get_payload()
    params = {name.lower(): str(value) for name, value in (message.get_params(failobj=[], unquote=True) or [])[1:]}
    if isinstance(payload, list):
        children = tuple(_read(child) for child in payload if isinstance(child, Message))
        return Multipart(message.get_content_subtype(), children, params)
    match = _TOKEN.search(str(payload))
    return Part(
        content_type=message.get_content_type().removeprefix("x-"),
        charset=_charset(message),
        filename=filename(message),
        disposition=(message.get_content_disposition() or "").strip(),
        content_id="",
        encoding=_encoding(str(message.get("content-transfer-encoding", ""))),
        params=params,
        start=int(match[1]) if match else -1,
        stop=0,
    )


def _charset(message: Message) -> str:
    try:
        return message.get_content_charset() or ""
    except (LookupError, UnicodeError, ValueError):  # an RFC 2231 parameter in an impossible charset
        return ""


def _encoding(value: str) -> str:
    token = value.split(";", maxsplit=1)[0].split("(", maxsplit=1)[0].strip().strip("\"'").lower()
    return {"qp": "quoted-printable", "quoted_printable": "quoted-printable", "base-64": "base64"}.get(token, token)


def filename(message: Message) -> str:
    """The file name a sender gave, decoded (RFC 2231, and the forbidden but common RFC 2047), as a bare name."""
    try:
        name = message.get_filename("") or ""
    except (LookupError, UnicodeError, ValueError):
        name = ""
    text = fields.decode(name.encode("utf-8", "replace"))
    text = re.split(r"[\\/]", text)[-1].strip(" .\t") if re.search(r"[\\/]", text) else text.strip()
    return text[-NAME_CHARS:]


def _base64(view: memoryview) -> bytes:
    sample = view[:4_096].tobytes()
    if len(_NOT_BASE64.findall(sample)) * 30 > len(sample):
        return view.tobytes()  # the label is a lie: nobody's base64 has that many blanks and commas
    try:
        decoded = binascii.a2b_base64(view)
    except binascii.Error:
        return fields.base64(view.tobytes())
    if len(decoded) * 5 < len(view) * 3:
        # The decoder stops at padding: encoders that flush in blocks put it in the middle.
        pieces = re.split(rb"=+[\r\n \t]+(?=[A-Za-z0-9+/])", view.tobytes(), maxsplit=BASE64_BLOCKS)
        decoded = b"".join(map(fields.base64, pieces))
    return decoded


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\r\n]")
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]{1,200}?)[ \t]*\r?\n", re.MULTILINE)
_UU_END = re.compile(rb"^(?:`|[ \t]*)\r?\nend[ \t]*\r?$|^end[ \t]*\r?$", re.MULTILINE)


def uudecode(raw: bytes) -> tuple[str, bytes]:
    """The name and content of the first uuencoded file in ``raw``; without one, ("", raw)."""
    begin = _UU_BEGIN.search(raw)
    if begin is None:
        return "", raw
    end = _UU_END.search(raw, begin.end())
    out = bytearray()
    broken = 0
    for raw_line in raw[begin.end() : end.start() if end else len(raw)].split(b"\n", UU_LINES)[:UU_LINES]:
        line = raw_line.rstrip(b"\r")
        if not line:
            continue
        try:
            out += binascii.a2b_uu(line)
        except binascii.Error:
            out += _uu_line(line)
            broken += 1
            if broken > UU_BROKEN_LINES:
                break
    return fields.decode(begin[1]), bytes(out)


def _uu_line(line: bytes) -> bytes:
    """A line with trailing garbage or lost spaces: its length letter says how much counts."""
    count = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:count].ljust(count))
    except binascii.Error:
        return b""


def uu_spans(text: bytes) -> list[tuple[int, int]]:
    """Where uuencoded files stand in a text, at most fifty."""
    spans: list[tuple[int, int]] = []
    position = 0
    while len(spans) < 50:
        begin = _UU_BEGIN.search(text, position)
        if begin is None:
            break
        end = _UU_END.search(text, begin.end())
        if end is None:
            break
        spans.append((begin.start(), end.end()))
        position = end.end()
    return spans
