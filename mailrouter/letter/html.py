"""HTML to text as a person would read it: hidden text dropped; lists, tables, links and quotes kept readable.

lxml's tokenizer calls ``_Reader`` per tag, so no tree is built and hostile nesting costs nothing.
"""

import re
from typing import ClassVar

from lxml import etree  # type: ignore[import-untyped]  # lxml ships no types

HTML_CHARS = 1_000_000
TEXT_CHARS = 400_000
TAGS = 120_000  # more than any person or newsletter writes; what follows them is not read
DEPTH = 12  # of quotes and lists, as shown
LINK_CHARS = 300
LINK_PIECES = 200

_BLOCKS = frozenset(
    {
        "address", "article", "aside", "body", "caption", "center", "dd", "div", "dl", "dt", "fieldset", "figcaption",
        "figure", "footer", "form", "header", "html", "legend", "main", "nav", "section", "table", "tbody", "tfoot",
        "thead", "tr",
    }
)  # fmt: skip
_SPACED = frozenset({"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "ul"})
_SILENT = frozenset({"head", "math", "meta", "noscript", "object", "script", "select", "style", "svg", "template",
                     "title", "xml"})  # fmt: skip
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
                   "track", "wbr"})  # fmt: skip
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|"
    r"font-size\s*:\s*0(?:\.0)?(?:px|pt|em|%)?\s*(?:;|!|$)|"
    r"(?:max-height|opacity)\s*:\s*0(?:px|pt)?\s*(?:;|!|$)",
    re.IGNORECASE,
)
_TIGHT = re.compile(r"margin(?:-top)?\s*:\s*0", re.IGNORECASE)
_CITED = re.compile(r"gmail_quote|yahoo_quoted|protonmail_quote|moz-cite|cite|tutanota_quote", re.IGNORECASE)
_SIGNATURE = re.compile(
    r"gmail_signature(?!_prefix)|moz-signature|ms-outlook-mobile-signature|protonmail_signature_block(?!-)"
)
_SCHEME = re.compile(r"^https?://(?:www\.)?")
_DATA_URI = re.compile(r"data:[a-z0-9/+.;=-]{1,60},[A-Za-z0-9+/=%\s]{100,}", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f\u00a0]+")


def without_data(html: str) -> str:
    """The document without the pictures that some clients write into it, at most HTML_CHARS of it."""
    return (_DATA_URI.sub("data:,", html) if "data:" in html else html)[:HTML_CHARS]


def to_text(html: str) -> str:
    """The visible text of an HTML document or fragment; at most HTML_CHARS of it are read."""
    reader = _Reader()
    parser = etree.HTMLParser(target=reader, encoding="utf-8", recover=True, huge_tree=True, remove_pis=True)
    parser.feed(html[:HTML_CHARS].encode("utf-8", "replace"))
    return str(parser.close())


class _Reader:
    """Target of lxml's parser: collects lines. Closing tags are balanced by the parser."""

    _pending_tags: ClassVar[frozenset[str]] = _BLOCKS | _SPACED | {"li"}

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []
        self.quotes = 0
        self.hidden = 0  # depth of tags below and with the hidden one
        self.open: list[tuple[str, bool]] = []  # tag, and whether it opened a quote
        self.lists: list[int] = []  # next number, or -1 for a bulleted list
        self.links: list[tuple[str, int, int]] = []  # target, and the line and piece where its text begins
        self.tags = 0
        self.room = TEXT_CHARS
        self.pre = 0
        self.held = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.tags += 1
        if self.hidden or self.tags > TAGS:
            self.hidden += tag not in _VOID
            return
        style = attributes.get("style", "")
        if tag in _SILENT or "hidden" in attributes or (style and _HIDDEN.search(style)):
            self.hidden += tag not in _VOID
            return
        if tag == "br":
            self._break()
        elif tag == "hr":
            self._break(force=False)
            self.line.append("_" * 32)
            self._break()
        elif tag == "img":
            alt = attributes.get("alt", "")
            if 0 < len(alt) <= 4 and not alt.isascii():  # an emoji sent as a picture
                self.line.append(alt)
        elif tag not in _VOID:
            self._open(tag, attributes, style)

    def _open(self, tag: str, attributes: dict[str, str], style: str) -> None:
        names = f"{attributes.get('class', '')} {attributes.get('id', '')} {attributes.get('type', '')}"
        quoted = tag == "blockquote" and (_CITED.search(names) is not None or "border-left" in style)
        self.open.append((tag, quoted))
        if tag in _SPACED and not (tag == "p" and ("MsoNormal" in names or _TIGHT.search(style))):
            self._blank()
        elif tag in self._pending_tags:
            self._break(force=False)
        if tag in ("td", "th"):
            self._cell()
        elif tag == "li":
            self._item()
        elif tag in ("ul", "ol"):
            self.lists.append(1 if tag == "ol" else -1)
        elif tag == "pre":
            self.pre += 1
        elif tag == "a":
            self.links.append((attributes.get("href", ""), len(self.lines), len(self.line)))
        if quoted:
            self.quotes += 1
        if _SIGNATURE.search(names) and self._last_line() not in ("--", "-- "):
            self._break(force=False)
            self.line.append("-- ")
            self._break()

    def end(self, tag: str) -> None:
        if self.hidden:
            self.hidden -= tag not in _VOID
            return
        if tag in _VOID or not self.open:
            return
        _, quoted = self.open.pop()
        if tag == "a" and self.links:
            self._link(*self.links.pop())
        elif tag in ("ul", "ol") and self.lists:
            self.lists.pop()
        elif tag == "pre":
            self.pre = max(0, self.pre - 1)
        if tag in self._pending_tags:
            self._break(force=False)
        if quoted:
            self.quotes -= 1
        if tag in ("ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6") and not self.lists:
            self._blank()
        elif tag == "p":
            self.lines.append("\0")  # a gap that a tight paragraph may close

    def data(self, text: str) -> None:
        if self.hidden or self.room < 0:
            return
        if self.pre:
            first, *rest = text.split("\n")
            self.line.append(first)
            for part in rest:
                self._break()
                self.line.append(part)
            return
        if not self.line and "\u00a0" in text:
            self.held = True  # Outlook writes an empty line as a paragraph that holds only this space
        text = _SPACE.sub(" ", text)
        if text == " " and (not self.line or self.line[-1].endswith(" ")):
            return
        if text:
            self.line.append(text.lstrip(" ") if not self.line else text)

    def comment(self, text: str) -> None:
        """Comments are not read; conditional ones hold doubles for old Outlook."""

    def close(self) -> str:
        self._break(force=False)
        return "\n".join(line for line in self.lines if line != "\0")

    def _last_line(self) -> str:
        text = "".join(self.line).strip()
        return text or next((line.lstrip("> ") for line in reversed(self.lines) if line.strip("\0> ")), "")

    def _break(self, *, force: bool = True) -> None:
        text = "".join(self.line)
        text = text.rstrip() if text != "-- " else text
        if text or force or self.held:
            self.lines.append("> " * min(self.quotes, DEPTH) + text if self.quotes else text)
            self.room -= len(text) + 1
        self.line = []
        self.held = False

    def _blank(self) -> None:
        self._break(force=False)
        if self.lines and self.lines[-1].strip("> "):
            self.lines.append(("> " * min(self.quotes, DEPTH)).rstrip())

    def _cell(self) -> None:
        if self.line:
            self.line[-1] = self.line[-1].rstrip()
            self.line.append(" " if self.line[-1].endswith(":") else " | ")

    def _item(self) -> None:
        indent = "  " * min(max(0, len(self.lists) - 1), DEPTH)
        number = self.lists[-1] if self.lists else -1
        if number > 0:
            self.lists[-1] = number + 1
        self.line = [f"{indent}{number}. " if number > 0 else f"{indent}- "]

    def _link(self, href: str, line: int, piece: int) -> None:
        if line != len(self.lines) or not 0 < len(self.line) - piece < LINK_PIECES:
            return
        href = href.strip()
        text = "".join(self.line[piece:]).strip()
        if not href.lower().startswith(("http:", "https:", "mailto:")) or not text:
            return
        target = href.removeprefix("mailto:").split("?")[0]
        bare = _SCHEME.sub("", target).rstrip("/").lower()
        if bare and bare not in _SCHEME.sub("", text).lower():
            self.line.append(f" <{target[:LINK_CHARS]}>")
