"""What a mail holds: the readable text chosen among its parts, and everything else as attachments."""

import re
from dataclasses import dataclass, field

from mailrouter.letter import charset, fields, html, mime, smime, text, tnef
from mailrouter.letter.values import Attachment

RAW_TEXT_OCTETS = 8 * text.TEXT_CHARS  # of one part: more can never be shown
RAW_HTML_OCTETS = 16_000_000  # pictures may stand in the middle of an HTML part
TEXT_PARTS = 50
EMBEDDED = 20
EXCUSE_CHARS = 600
SAMPLED_OCTETS = 4_000  # looked at to tell a text from a file
HTML_KEPT_CHARS = 1_000_000

_BODY_TYPES = {"text/plain", "text/html", "text/enriched", "text/richtext", "text/x-markdown", "text/markdown",
               "text/flowed", "text/x-amp-html", "text/watch-html"}  # fmt: skip
_HTML_TYPES = {"text/html", "text/enriched", "text/richtext"}
_NEVER_TEXT = {"text/x-amp-html", "text/watch-html"}
_MESSAGE_TYPES = {"message/rfc822", "message/global", "message/partial", "message/news"}
_STATUS_TYPES = {"message/delivery-status", "message/global-delivery-status", "message/disposition-notification",
                 "message/feedback-report", "message/global-disposition-notification"}  # fmt: skip
_LOOKS_HTML = re.compile(r"\s*(?:<!doctype html|<html|<head|<body|<div|<p[ >]|<table)", re.IGNORECASE)
_IS_HTML = re.compile(r"\s*(?:<!doctype html\b|<html[\s>])", re.IGNORECASE)  # no letter begins so
_EXTENSIONS = {"message/rfc822": ".eml", "text/calendar": ".ics", "text/html": ".html", "text/plain": ".txt",
               "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "application/pdf": ".pdf",
               "application/pgp-encrypted": ".asc", "application/pgp-signature": ".asc", "text/vcard": ".vcf",
               "application/pkcs7-mime": ".p7m", "application/pkcs7-signature": ".p7s",
               "message/delivery-status": ".txt", "text/rfc822-headers": ".txt", "audio/wav": ".wav"}  # fmt: skip
_DANGEROUS = re.compile(r'[\x00-\x1f\x7f<>:"|?*\u202a-\u202e\u2066-\u2069]')


@dataclass(slots=True)
class Content:
    """A mail's content while it is gathered."""

    texts: list[str] = field(default_factory=list)
    htmls: list[str] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    embedded: list[bytes] = field(default_factory=list)  # attached mails, and the headers of returned ones
    statuses: list[tuple[str, str]] = field(default_factory=list)  # machine-readable report parts: type, text
    types: set[str] = field(default_factory=set)
    calendar_method: str = ""
    defects: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The readable text in the order its parts stand."""
        return "\n\n".join(part for part in self.texts if part.strip())


def read(octets: bytes, tree: mime.Tree) -> Content:
    """Gather the content of the mail whose parts are ``tree``."""
    content = Content()
    _Gatherer(octets, content).gather(tree)
    if not content.text.strip():
        _rescue(content, octets, tree)
    content.defects = list(dict.fromkeys(content.defects))
    return content


class _Gatherer:
    def __init__(self, octets: bytes, content: Content, depth: int = 0) -> None:
        self.octets = octets
        self.content = content
        self.depth = depth  # of signed parts, whose octets are not those of the mail

    def gather(self, tree: mime.Tree) -> None:
        if isinstance(tree, mime.Part):
            self._part(tree)
            return
        self.content.types.add(f"multipart/{tree.subtype}")
        if tree.subtype == "alternative":
            self._alternative(tree)
        elif tree.subtype == "related":
            self._related(tree)
        elif tree.subtype == "encrypted":
            for part in tree.leaves():
                self.attach(part)
            self.content.defects.append("encrypted")
        else:
            for child in tree.children:
                self.gather(child)

    def _alternative(self, tree: mime.Multipart) -> None:
        """RFC 2046 5.1.4: the same in several shapes. Plain text is best, unless it is only an excuse."""
        plain: list[mime.Tree] = []
        rich: list[mime.Tree] = []
        for child in tree.children:
            first = next((leaf for leaf in _leaves(child) if _is_body(leaf)), None)
            (plain if first and first.content_type == "text/plain" else rich).append(child)
        before = len(self.content.texts)
        for child in plain:
            self.gather(child)
        said = "\n".join(self.content.texts[before:])
        htmls = [child for child in rich if any(_is_html(leaf) for leaf in _leaves(child))]
        if htmls and _is_excuse(
            said, sum(leaf.stop - leaf.start for child in htmls for leaf in _leaves(child) if _is_html(leaf))
        ):
            del self.content.texts[before:]
            self.gather(htmls[-1])
            if not "".join(self.content.texts[before:]).strip():
                self.content.texts[before:] = [said]
        elif htmls:
            self._beside(htmls[-1])
        for child in rich:
            if child not in htmls[-1:]:
                self._beside(child)

    def _beside(self, tree: mime.Tree) -> None:
        """A shape of the text that is not read: its HTML is kept, its pictures and files are attachments."""
        for leaf in _leaves(tree):
            if _is_html(leaf) and _is_body(leaf):
                self.content.types.add(leaf.content_type)
                self.content.htmls.append(html.without_data(self._decode(leaf)))
            elif leaf.content_type not in _NEVER_TEXT:
                self._file(leaf)

    def _related(self, tree: mime.Multipart) -> None:
        """RFC 2387: the root is the part that ``start`` names, else the first that can be read."""
        start = tree.params.get("start", "").strip("<> ")
        named = [child for child in tree.children if isinstance(child, mime.Part) and child.content_id == start]
        readable = [child for child in tree.children if any(map(_is_body, _leaves(child)))]
        root = next(iter([*(named if start else []), *readable]), None)
        for child in tree.children:
            if child is root:
                self.gather(child)
            else:
                for leaf in _leaves(child):
                    self._file(leaf)

    def _part(self, part: mime.Part) -> None:
        if _is_body(part) and len(self.content.texts) < TEXT_PARTS:
            self.content.types.add(part.content_type)
            self.read_text(part)
        else:
            self._file(part)

    def read_text(self, part: mime.Part) -> None:
        decoded = self._decode(part)
        looks = _LOOKS_HTML if part.content_type != "text/plain" else _IS_HTML
        if _is_html(part) or looks.match(decoded):
            decoded = html.without_data(decoded)
            if len(decoded) == html.HTML_CHARS:
                self.content.defects.append("text-cut")
            self.content.htmls.append(decoded)
            shown = html.to_text(decoded)
        elif decoded.startswith("{\\rtf"):
            shown = tnef.from_rtf(decoded.encode("latin-1", "replace"))
        elif part.params.get("format", "").lower() == "flowed":
            shown = text.unflow(decoded, delsp=part.params.get("delsp", "").lower() == "yes")
        else:
            shown = self._without_uu(self._without_pgp(decoded))
        shown, defects = text.tidy(shown)
        self.content.defects += defects
        self.content.texts.append(shown)

    def _decode(self, part: mime.Part) -> str:
        limit = RAW_HTML_OCTETS if _is_html(part) else RAW_TEXT_OCTETS
        raw = part.decoded(self.octets, limit)
        if part.stop - part.start > limit:
            self.content.defects.append("text-cut")
        decoded, defect = charset.decode(raw, part.charset or (_meta_charset(raw) if _is_html(part) else ""))
        if defect:
            self.content.defects.append(defect)
        if "\0" in decoded or (b"\0" in raw and not defect):
            self.content.defects.append("nul")
        return decoded

    def _without_pgp(self, decoded: str) -> str:
        if "-----BEGIN PGP " not in decoded:
            return decoded
        shown, defect = text.unsigned(decoded)
        self.content.defects += [defect] if defect else []
        return shown

    def _without_uu(self, decoded: str) -> str:
        if "\nend" not in decoded or "begin " not in decoded:
            return decoded
        raw = decoded.encode("utf-8", "replace")
        kept, position = [], 0
        for start, stop in mime.uu_spans(raw):
            name, octets = mime.uudecode(raw[start:stop])
            self.content.attachments.append(
                Attachment(safe_name(name, "", len(self.content.attachments)), "application/octet-stream", octets)
            )
            kept.append(raw[position:start])
            position = stop
            self.content.defects.append("uuencode-in-text")
        return b"".join([*kept, raw[position:]]).decode("utf-8", "replace")

    def attach(self, part: mime.Part, octets: bytes | None = None) -> None:
        octets = part.decoded(self.octets) if octets is None else octets
        name = safe_name(part.filename, part.content_type, len(self.content.attachments))
        self.content.types.add(part.content_type)
        self.content.attachments.append(
            Attachment(
                name,
                part.content_type,
                octets,
                part.content_id,
                part.disposition == "inline" or bool(part.content_id and part.disposition != "attachment"),
            )
        )

    def _file(self, part: mime.Part) -> None:
        octets = part.decoded(self.octets)
        if not octets.strip() and not part.filename:
            return
        self.attach(part, octets)
        kind = part.content_type
        if kind == "application/pgp-encrypted" or octets[:64].lstrip().startswith(b"-----BEGIN PGP MESSAGE-----"):
            self.content.defects.append("encrypted")
        if kind in _MESSAGE_TYPES or kind in {"text/rfc822-headers", "message/rfc822-headers"}:
            if len(self.content.embedded) < EMBEDDED:
                self.content.embedded.append(octets)
        elif kind in _STATUS_TYPES:
            self.content.statuses.append((kind, charset.decode(octets[:RAW_TEXT_OCTETS], part.charset)[0]))
        elif kind in smime.TYPES or part.filename.lower().endswith(".p7m"):
            self._smime(part, octets)
        elif kind == "text/calendar":
            self.content.calendar_method = (
                part.params.get("method", "").lower() or self.content.calendar_method or "publish"
            )
        elif kind in tnef.TYPES or part.filename.lower() == "winmail.dat":
            self._tnef(octets)

    def _smime(self, part: mime.Part, octets: bytes) -> None:
        """What was signed is read as if it stood in the mail; the signed part stays an attachment too."""
        entity = smime.signed(octets) if self.depth < smime.DEPTH else None
        if entity is None:
            opaque = part.params.get("smime-type", "").lower().startswith("signed")
            self.content.defects.append("signed-unreadable" if opaque else "encrypted")
            return
        self.content.defects.append("signed-opaque")
        section = fields.read_part(entity, 0, None, mime.PART_HEADER_OCTETS)
        tree, defects = mime.tree(entity, section)
        self.content.defects += defects
        _Gatherer(entity, self.content, self.depth + 1).gather(tree)

    def _tnef(self, octets: bytes) -> None:
        unpacked = tnef.unpack(octets)
        self.content.defects.append("tnef" if unpacked is not None else "bad-tnef")
        if unpacked is None:
            return
        for name, inner in unpacked.files:
            self.content.attachments.append(
                Attachment(safe_name(name, "", len(self.content.attachments)), "application/octet-stream", inner)
            )
        if unpacked.html and not self.content.htmls:
            self.content.htmls.append(unpacked.html)
        shown = unpacked.text or (html.to_text(unpacked.html) if unpacked.html else "")
        if shown.strip() and not self.content.text.strip():
            self.content.texts.append(text.tidy(shown)[0])


def _leaves(tree: mime.Tree) -> list[mime.Part]:
    return [tree] if isinstance(tree, mime.Part) else list(tree.leaves())


def _is_html(part: mime.Part) -> bool:
    return part.content_type in _HTML_TYPES


def _is_body(part: mime.Part) -> bool:
    """True for a text that the sender meant to be read in the mail itself, not as a file."""
    if part.content_type not in _BODY_TYPES or part.content_type in _NEVER_TEXT or part.disposition == "attachment":
        return False
    return not part.filename


def _is_excuse(said: str, html_octets: int) -> bool:
    """True when a plain alternative says next to nothing beside its HTML."""
    if len(said) > EXCUSE_CHARS:
        return False
    letters = sum(map(str.isalnum, said))
    if not letters:
        return True
    excuse = re.search(
        r"\bhtml\b|view (?:this|the) (?:e-?mail|message)|visa (?:detta|mejlet|mailet)", said, re.IGNORECASE
    )
    return bool(excuse) and html_octets > 300


_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_META = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)


def _meta_charset(raw: bytes) -> str:
    match = _META.search(raw[:4_096])
    return match[1].decode("ascii") if match else ""


def _rescue(content: Content, octets: bytes, tree: mime.Tree) -> None:
    """No text among the parts that should hold it: the first file that can be read is the text."""
    gatherer = _Gatherer(octets, content)
    leaves = _leaves(tree)
    readable = [leaf for leaf in leaves if leaf.content_type in _BODY_TYPES - _NEVER_TEXT]
    readable += [leaf for leaf in leaves if _is_last_resort(leaf)]
    for leaf in readable:
        if _is_binary(leaf.decoded(octets, SAMPLED_OCTETS)):
            content.defects += ["encrypted"] if leaf.content_type == "text/pgp" else []
            continue
        gatherer.read_text(leaf)
        if content.text.strip():
            if leaf.disposition == "attachment" or leaf.filename:
                content.defects.append("text-in-attachment")
            return
    for leaf in leaves:
        if (
            leaf.content_type in {"application/octet-stream", "application/text", "application/html"}
            and len(leaves) == 1
            and not leaf.filename
        ):
            sample = leaf.decoded(octets, RAW_TEXT_OCTETS)
            if b"\0" not in sample and sample.strip():
                gatherer.read_text(leaf)
                content.defects.append("text-in-attachment")
                return
    for kind, status in content.statuses:
        content.texts.append(text.tidy(status)[0])
        content.defects.append(f"text-only-in-{kind.split('/')[1]}")
        return


def _is_binary(sample: bytes) -> bool:
    """True for octets that no charset makes a text of: control characters throughout, as in what is encrypted or
    packed under the name of a text (UTF-16 has zero octets, and escapes belong to ISO-2022)."""
    return len(_CONTROLS.findall(sample)) * 50 > len(sample)


def _is_last_resort(part: mime.Part) -> bool:
    kind = part.content_type
    return kind == "application/plain" or (kind.startswith("text/") and kind not in _BODY_TYPES | _NEVER_TEXT | {
        "text/calendar", "text/rfc822-headers", "text/x-vcard", "text/vcard", "text/css"
    })  # fmt: skip


def safe_name(name: str, content_type: str, number: int) -> str:
    """A file name that no page or disk misreads; one is made up when the sender gave none."""
    shown = _DANGEROUS.sub("_", fields.decode(name.encode("utf-8", "replace"))).strip(" .")
    if shown:
        return shown[-mime.NAME_CHARS :]
    return f"bilaga-{number + 1}{_EXTENSIONS.get(content_type, '')}"
