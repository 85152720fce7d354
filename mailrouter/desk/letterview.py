"""A letter as the desk shows it: plain text by default, its HTML only cleaned of everything that acts or fetches."""

import re
import unicodedata
from urllib.parse import quote

import nh3

from mailrouter.letter import Attachment

LONGEST_FILENAME = 150
_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "center", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3",
    "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "sup", "table", "tbody",
    "td", "tfoot", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags={"script", "style", "title", "head"} - {"head"},
    attributes={"a": {"href"}, "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan", "scope"}},
    url_schemes={"http", "https", "mailto", "tel"},
    link_rel=None,
)
# After cleaning, an anchor has at most the one attribute href, quoted: its address becomes readable text.
_ANCHOR = re.compile(r'<a(?: href="([^"]*)")?>(.*?)</a>', re.DOTALL)


def clean_html(html: str) -> str:
    """A fragment without scripts, styles, pictures, forms or links that can be followed.

    Nothing in it can make a browser ask for anything; where a link led is written behind its words.
    """
    return _ANCHOR.sub(_written_out, _CLEANER.clean(html))


def _written_out(anchor: re.Match[str]) -> str:
    address, words = anchor.group(1) or "", anchor.group(2)
    shown = address.removeprefix("mailto:").removeprefix("tel:")
    if not shown or shown.rstrip("/") == re.sub(r"<[^>]*>", "", words).strip().rstrip("/"):
        return words
    return f"{words} <small>[{shown}]</small>"


def safe_filename(attachment: Attachment, index: int) -> str:
    """A name that cannot lead out of a folder, hide its ending or break a header."""
    name = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in attachment.filename)
    name = re.sub(r'[\\/:*?"<>|]', "_", " ".join(name.split())).strip(". ")
    if len(name) > LONGEST_FILENAME:
        stem, dot, ending = name.rpartition(".")
        short = dot and len(ending) <= 10
        name = f"{stem[: LONGEST_FILENAME - 11]}.{ending}" if short else name[:LONGEST_FILENAME]
    return name or f"bilaga-{index + 1}"


def disposition(filename: str) -> str:
    """Content-Disposition that makes a browser save the file (RFC 6266 4.3, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode() or "bilaga"
    plain = re.sub(r"[^A-Za-z0-9._() -]", "_", plain)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
