"""A letter as the desk shows it: plain text by default, its HTML only cleaned of everything that acts or fetches."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import nh3
from markupsafe import Markup, escape

from mailrouter.classify import sensitive
from mailrouter.letter import Attachment

LONGEST_FILENAME = 150
MOST_MARKS = 3  # of one word: the first places say enough
_HIDDEN = "••••••"
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

    Nothing in it can make a browser ask for anything; where a link led is written behind its words. Numbers of
    persons and cards are left out: the text shows them to who asks.
    """
    return sensitive.masked(_ANCHOR.sub(_written_out, _CLEANER.clean(html)))


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


class _Span(NamedTuple):
    """A part of a text that is shown in a way of its own; ``hidden`` ones are not shown at all."""

    start: int
    end: int
    title: str
    hidden: bool


def words_behind(suggestion: Mapping[str, Any] | None, kind: str = "") -> list[tuple[str, str]]:
    """The words of a mail that a suggestion rests on, each with the reason that names it; longer ones first.

    With ``kind`` only those of one kind of reason.
    """
    reasons = [one for one in (suggestion or {}).get("reasons", ()) if kind in ("", one.get("kind"))]
    found = {word: str(reason["text"]) for reason in reasons for word in reason.get("words", ()) if word.strip()}
    return sorted(found.items(), key=lambda item: -len(item[0]))


def shown(text: str, words: Sequence[tuple[str, str]], *, numbers: bool, kinds: Mapping[str, str]) -> Markup:
    """A text with the words of the reasons marked, and numbers of persons and cards hidden unless ``numbers``.

    ``kinds`` says what each kind of number is called.
    """
    hidden = () if numbers else sensitive.find(text)
    spans = [_Span(place.start, place.end, kinds.get(place.kind, place.kind), hidden=True) for place in hidden]
    for word, reason in words:
        places = re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
        for place, _ in zip(places, range(MOST_MARKS), strict=False):
            if not any(place.start() < taken.end and taken.start < place.end() for taken in spans):
                spans.append(_Span(place.start(), place.end(), reason, hidden=False))
    return Markup("").join(_pieces(text, sorted(spans)))


def _pieces(text: str, spans: Iterable[_Span]) -> Iterable[Markup]:
    at = 0
    for span in spans:
        yield escape(text[at : span.start])
        if span.hidden:
            yield Markup('<span class="hidden-number" title="{0}"><span aria-hidden="true">{1}</span>').format(
                span.title, _HIDDEN
            ) + Markup('<span class="unseen">{0}</span></span>').format(span.title)
        else:
            yield Markup('<mark title="{0}">{1}</mark>').format(span.title, text[span.start : span.end])
        at = span.end
    yield escape(text[at:])
