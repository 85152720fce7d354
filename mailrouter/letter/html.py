"""HTML to text as a person would read it: hidden text dropped; lists, tables, links and quotes kept readable.

lxml's tokenizer calls ``_Reader`` per tag, so no tree is built and hostile nesting costs nothing.
"""

import re
from typing import ClassVar

from lxml import etree  # type: ignore[import-untyped]  # lxml ships no types

HTML_CHARS = 1_000_000
LINK_CHARS = 300

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
_SPACE = re.compile(r"[ \t\r\n\f\u00a0]+")


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
        self.links: list[tuple[str, int]] = []
        self.pre = 0
        self.held = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.hidden:
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
            self.links.append((attributes.get("href", ""), len("".join(self.line))))
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
        if self.hidden:
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
            self.lines.append("> " * self.quotes + text if self.quotes else text)
        self.line = []
        self.held = False

    def _blank(self) -> None:
        self._break(force=False)
        if self.lines and self.lines[-1].strip("> "):
            self.lines.append(("> " * self.quotes).rstrip())

    def _cell(self) -> None:
        before = "".join(self.line).rstrip()
        if before:
            self.line = [before, " " if before.endswith(":") else " | "]

    def _item(self) -> None:
        indent = "  " * max(0, len(self.lists) - 1)
        number = self.lists[-1] if self.lists else -1
        if number > 0:
            self.lists[-1] = number + 1
        self.line = [f"{indent}{number}. " if number > 0 else f"{indent}- "]

    def _link(self, href: str, start: int) -> None:
        href = href.strip()
        text = "".join(self.line)[start:].strip()
        target = href.removeprefix("mailto:").removeprefix("tel:").split("?")[0] if ":" in href[:7] else href
        if not href.lower().startswith(("http:", "https:", "mailto:")) or not text:
            return
        bare = re.sub(r"^https?://(?:www\.)?", "", target).rstrip("/").lower()
        if bare and bare not in re.sub(r"^https?://(?:www\.)?", "", text).lower():
            self.line.append(f" <{target[:LINK_CHARS]}>")
