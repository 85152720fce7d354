"""The citizen's own words apart from the quoted thread and the signature. When in doubt the words are kept.

Own code beside mail-parser-reply, which was tried: it takes every line that begins with a dash for a
signature and drops all that follows, and a citizen's list of faults would be gone.
"""

import re
from dataclasses import dataclass

from mailrouter.letter import marks

LINES = 4_000  # looked through for marks; what lies beyond is kept with what stands before it
PLAIN_CHARS = 60  # the longest mark that has neither colon nor dashes nor mailbox
MARK_CHARS = 160  # no client writes a longer separator
SIGNATURE_LINES = 14
SIGNATURE_LINE_CHARS = 100

_TIME = re.compile(r"\d{1,2}[:.]\d{2}")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_DATE = re.compile(r"\d{4}|\d{1,2}[./-]\d{1,2}|\d{1,2}\.?\s+\w{3,}")
_EMAIL = re.compile(r"\S+@\S+|<[^>]*>|\[mailto:")
_EXACT = re.compile(r"[A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} (?:[+-]\d{4}|GMT|UTC|CES?T)")
_NO_VERB = re.compile(
    r"\d{4}[-/年]\d{1,2}[-/月]\d{1,2}.{0,80}(?:<\S+@\S+>|\S+@\S+)\s*[:：]$|"
    r".{0,30}\b\d{4}\b.{0,40}\b\d{1,2}[:.]\d{2}\b.{0,100}<\S+@\S+>\s*[:：]$"
)
_QUOTING = re.compile(
    r"(?:Quoting|Citerar|Zitat\s+von|Citando|Citation\s+de|Lainaus|Siterer|Citerer)\s.{1,100}<\S+@\S+>\s*:$|"
    r"(?:At|On)\s.{0,60}\d{1,2}:\d{2}.{0,60}\byou\s+wrote:$|In\s+(?:message|article)\s+<\S+@\S+>,?.{0,80}\swrote:$",
    re.IGNORECASE,
)
_VERB_LAST = re.compile(
    r"[> ]{0,4}\S.{0,60}\d{1,2}:\d{2}.{0,120}<\S+@\S+>\s*(?:wrote|skrev|schrieb|sent|a écrit|escribió)\s*$"
)
_LABEL = re.compile(r"[>\s*_]*([^\W\d_][^\W\d_ /-]*(?:[ /-][^\W\d_]+)?)\s*[*_]*\s*[:：][*_]*\s*(.*)$")
_RULE = re.compile(r"[\s>]*(?:[_=*–—-]{5,}|[_-]{2,}\s*)$")
_PREFIX = re.compile(r"\s{0,3}>[>\s]*")
_HINT = re.compile("[:：@]|--")
_SENTENCE_END = re.compile(r"[^\W\d_]{4,}[.!?]\s*$")  # no abbreviation as in "4 dec." or "kl."
_DATE_AND_MAILBOX = re.compile(r"[> ]{0,4}\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\s[^\n]{1,80}<\S+@\S+>\s*$")
_OPENS_WITHIN = re.compile(r"(?:\s|-{2,}\s*)(?=(?:On|Den|Am|Le|El|Op|Il|Em)\s[^\n]{0,40}\d{1,2}[:.]\d{2})")
_WROTE_BETWEEN_DASHES = re.compile(r"\s*-{2,}\s*[^\s-].{2,140}?\s*-{2,}\s*$")
_SENTENCE = re.compile(r"[^\W\d_]{2,}[.!?](?:\s|$)")


@dataclass(frozen=True, slots=True)
class Split:
    """A text in three."""

    own: str
    quoted: str
    signature: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a quoted or forwarded mail begins: lines ``start`` to before ``end`` are its head."""

    start: int
    end: int
    kind: str  # attribution | header | separator
    sender: str = ""  # what stands behind From: in a header block
    forwarded: bool = False
    own: str = ""  # words before an attribution on its own line: "Ja tack. On Mon, 4 Mar 2024 at 10:11, Anna wrote:"


def split(body: str) -> Split:
    """Take the quoted thread and the signature off."""
    lines = body.split("\n")
    mark = first_mark(lines)
    if mark is None:
        own, quoted = _prefixed(lines)
    else:
        own, quoted = _cut(lines, mark)
    words, signature = _sign("\n".join(own).strip("\n"))
    return Split(words.strip(), "\n".join(quoted).strip("\n"), signature.strip("\n"))


def first_mark(lines: list[str], start: int = 0) -> Mark | None:
    """The first place where a quoted or forwarded mail begins."""
    for number in range(start, min(len(lines), start + LINES)):
        line = lines[number]
        if not line or line.isspace() or (len(line) > PLAIN_CHARS and not _HINT.search(line)):
            continue
        mark = _separator(lines, number) or _header_block(lines, number) or _attribution(lines, number)
        if mark is not None and mark.start >= start:
            return mark
    return None


def _separator(lines: list[str], number: int) -> Mark | None:
    line = lines[number]
    if len(line) > MARK_CHARS:
        return None
    if "--" in line and marks.SEPARATOR.fullmatch(line.strip("-_=*> \t")):
        forwarded = marks.FORWARD_WORD.search(line) is not None
    elif _WROTE_BETWEEN_DASHES.match(line) and not marks.OWN_VERB.search(line) and marks.VERBS.search(line):
        forwarded = False
    elif marks.FORWARD_LINE.fullmatch(line) and _forwarded_soon(lines, number + 1):
        forwarded = True
    else:
        return None
    block = _forwarded_soon(lines, number + 1) if forwarded else _header_soon(lines, number + 1)
    end = block.end if block else number + 1
    return Mark(number, end, "separator", block.sender if block else "", forwarded)


def _header_soon(lines: list[str], number: int) -> Mark | None:
    for ahead in range(number, min(len(lines), number + 4)):
        if lines[ahead].strip("> \t"):
            return _header_block(lines, ahead, needed=2)
    return None


def _forwarded_soon(lines: list[str], number: int) -> Mark | None:
    """The header below words that announce a forwarded mail; one that is cut to a From: with a mailbox will do."""
    block = _header_soon(lines, number)
    first = next((ahead for ahead in range(number, min(len(lines), number + 4)) if lines[ahead].strip("> \t")), None)
    if block is not None or first is None:
        return block
    kind, value = _label(lines[first])
    return Mark(first, first + 1, "header", value) if kind == "from" and "@" in value else None


def _header_block(lines: list[str], number: int, needed: int = 3) -> Mark | None:
    """Outlook's From/Sent/To/Subject. A citizen's own "Från: Angered / Till: Centrum / Datum: 3 mars" is none."""
    kind, value = _label(lines[number])
    if kind not in {"from", "sent", "subject"}:
        return None
    if kind != "from" and needed > 2 and not (kind == "sent" and _EXACT.search(value)):
        return None
    kinds = {kind: value}
    end = number + 1
    gap = 0
    while end < len(lines) and end < number + 14 and gap < 3:
        line = lines[end].strip("> \t")
        found, value = _label(lines[end])
        if found:
            kinds.setdefault(found, value)
            gap = 0
        elif (line and not _continues(lines, end)) or (not line and len(kinds) >= 3 and not _label_next(lines, end)):
            break
        else:
            gap += 1
        end += 1
    while end > number and not lines[end - 1].strip("> \t"):
        end -= 1
    known = kinds.keys() & {"from", "sent", "to", "subject"}
    written = "\n".join(lines[number:end])
    exact = len(known) > 1 and _is_exact(kinds)
    if not exact and (len(known) < needed or "from" not in known):
        return None
    if "subject" not in known and not _EMAIL.search(written):
        return None
    while number > 0 and _label(lines[number - 1])[0]:
        number -= 1  # Hotmail puts Subject first
    start = number
    while start > 0 and number - start < 3 and (not lines[start - 1].strip() or _RULE.match(lines[start - 1])):
        start -= 1
    return Mark(start if any(map(_RULE.match, lines[start:number])) else number, end, "header", kinds.get("from", ""))


def _is_exact(kinds: dict[str, str]) -> bool:
    """True for a date with seconds and zone beside a mailbox, or a whole date with its time below the mailbox it
    came from, as only a program writes them."""
    sent, sender = kinds.get("sent", ""), kinds.get("from", "")
    if "@" in sender and _YEAR.search(sent) and _TIME.search(sent):
        return True
    return _EXACT.search(sent) is not None and ("@" in sender or "@" in kinds.get("to", ""))


def _label(line: str) -> tuple[str, str]:
    if ":" not in line[:40] and "：" not in line[:40]:
        return "", ""
    match = _LABEL.match(line[:400])
    if match is None:
        return "", ""
    return marks.LABELS.get(match[1].strip().lower(), ""), match[2].strip()


def _label_next(lines: list[str], number: int) -> bool:
    return any(_label(line)[0] for line in lines[number + 1 : number + 2])


def _continues(lines: list[str], number: int) -> bool:
    """True for the second line of a long To: or Subject:, when another label follows."""
    return any(_label(line)[0] for line in lines[number + 1 : number + 3]) and len(lines[number]) < 300


def _attribution(lines: list[str], number: int) -> Mark | None:
    """ "Den 3 maj 2024 kl. 10:11 skrev Anna <anna@bo.example>:", broken over up to four lines."""
    if not lines[number].rstrip().endswith((":", "：", ":*", ":_")):
        return Mark(number, number + 1, "attribution") if _attributes_barely(lines, number) else None
    found = None
    for start in range(number, max(-1, number - 4), -1):
        if not lines[start].strip("> \t") or (start < number and _SENTENCE_END.search(lines[start])):
            break
        said = " ".join(line.strip("> \t*_") for line in lines[start : number + 1]).strip()
        if len(said) > 400:
            break
        # The nearest line that makes one, or the furthest that opens one: "On Monday, Anna" / "<a@b.example> wrote:".
        if (found is None or _opens(lines[start]) or _is_dated(lines[start])) and _attributes(said, lines, number):
            found = Mark(start, number + 1, "attribution", own=_before_opening(lines[start]))
    return found


def _before_opening(line: str) -> str:
    match = None if _opens(line) else _OPENS_WITHIN.search(line[:MARK_CHARS])
    return line[: match.start()].rstrip("- ") if match and not line.startswith(">") else ""


def _opens(line: str) -> bool:
    said = line.strip("> \t*_-")
    return marks.OPENERS.match(said) is not None and _DATE.search(said) is not None


def _is_dated(line: str) -> bool:
    """True for a line with the whole date, time and mailbox of an attribution whose verb stands on the next."""
    return bool(_YEAR.search(line) and _TIME.search(line) and _EMAIL.search(line))


def _attributes_barely(lines: list[str], number: int) -> bool:
    """Without a colon: "On Mon, 4 Mar 2024 10:11 Anna <a@b.example> wrote", or old Gmail's date and mailbox."""
    if "@" not in lines[number]:
        return False
    if _VERB_LAST.match(lines[number][:400]):
        return _opens(lines[number])
    return _DATE_AND_MAILBOX.match(lines[number][:MARK_CHARS]) is not None and _quoted_next(lines, number + 1)


def _attributes(said: str, lines: list[str], number: int) -> bool:
    if _QUOTING.match(said) or _NO_VERB.match(said):
        return True
    if marks.OWN_VERB.search(said) or marks.OWN_SUBJECT.search(said):
        return False
    verb = marks.VERBS.search(said)
    if verb is None:
        return False
    prefixed = _quoted_next(lines, number + 1)
    opened = marks.OPENERS.match(said) is not None
    if _EMAIL.search(said):
        return opened or prefixed or bool(_DATE.search(said)) or len(said) < 120
    if opened or _DATE.search(said):
        return prefixed or (bool(_TIME.search(said)) and bool(_DATE.search(said)))
    return prefixed and len(said) < 80


def _quoted_next(lines: list[str], number: int) -> bool:
    return next((line.lstrip().startswith(">") for line in lines[number : number + 4] if line.strip()), False)


def _cut(lines: list[str], mark: Mark) -> tuple[list[str], list[str]]:
    """Own and quoted lines around the first mark."""
    before, after = [*lines[: mark.start], *filter(None, [mark.own])], lines[mark.end :]
    prefixed = mark.kind != "separator" or lines[mark.start].lstrip().startswith(">")
    if prefixed and _quoted_next(lines, mark.end):
        # A prefixing client: what is not prefixed below the quote is an answer below or between.
        own, quoted = _prefixed(after, everywhere=True)
        later = first_mark(own)
        if later is not None:
            own, rest = own[: later.start], own[later.start :]
            quoted += rest
        return [*before, *own], [*lines[mark.start : mark.end], *quoted]
    before_own, before_quoted = _prefixed(before)
    if not "".join(before_own).strip() and mark.kind == "header":
        return lines, []  # nothing was written above it: a mail passed on, or words put below; keep all
    return before_own, [*before_quoted, *lines[mark.start :]]


def _prefixed(lines: list[str], *, everywhere: bool = False) -> tuple[list[str], list[str]]:
    """Lines with ">" apart. Without an attribution only a block at the end, or of three lines, is a quote."""
    own: list[str] = []
    quoted: list[str] = []
    block: list[str] = []

    def flush(*, last: bool) -> None:
        filled = [line for line in block if line.strip("> \t")]
        (quoted if everywhere or last or len(filled) >= 3 else own).extend(block)
        block.clear()

    for line in lines:
        if _PREFIX.match(line) or (block and not line.strip()):
            block.append(line)
        else:
            flush(last=False)
            own.append(line)
    flush(last=bool("".join(own).strip()) or everywhere)
    return own, quoted


def _sign(own: str) -> tuple[str, str]:
    """Own words, and signature with disclaimers."""
    lines = own.split("\n")
    lines, banner = _without_banner(lines)
    lines, disclaimer = _without_disclaimer(lines)
    lines, device = _without_device(lines)
    cut = _signature_start(lines)
    words, signature = lines[:cut], lines[cut:]
    if not "".join(words).strip(" \n,.!"):
        # Nothing but a greeting would be left: then it is what the person wanted to say.
        words, signature = lines, []
        if not "".join(words).strip():
            return own, ""
    parts = ["\n".join(part).strip("\n") for part in (banner, signature, device, disclaimer)]
    return "\n".join(words), "\n".join(part for part in parts if part)


def _without_banner(lines: list[str]) -> tuple[list[str], list[str]]:
    first = next((number for number, line in enumerate(lines[:4]) if line.strip()), 0)
    if not lines or not marks.BANNER.match(" ".join(lines[first : first + 2])[:300]):
        return lines, []
    end = next((n for n in range(first, min(len(lines), first + 6)) if not lines[n].strip()), first + 1)
    return lines[end:], lines[first:end]


def _without_disclaimer(lines: list[str]) -> tuple[list[str], list[str]]:
    """A disclaimer begins a paragraph, and only disclaimers follow it within its length."""
    for number in range(max(0, len(lines) - 40), len(lines)):
        starts = number == 0 or not lines[number - 1].strip() or _RULE.match(lines[number - 1]) is not None
        if starts and marks.DISCLAIMER.match(" ".join(lines[number : number + 3])[:400]):
            above = number - 1 if number and _RULE.match(lines[number - 1]) else number
            return lines[:above], lines[above:]
    return lines, []


def _without_device(lines: list[str]) -> tuple[list[str], list[str]]:
    """ "Skickat från min iPhone": a short line of its own with nothing, or only a signature, below it."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    for number in filled[-4:]:
        line = re.sub(r"<?https?://\S+>?", "", lines[number]).strip()
        if marks.DEVICE.fullmatch(line) and len(line.split()) <= 9 and "," not in line:
            end = number + 1
            while end < len(lines) and re.match(r"\s*(?:<?https?://\S+>?|www\.\S+)\s*$", lines[end]):
                end += 1
            start = number - 1 if number and lines[number - 1].strip() in {"--", "__"} else number
            return lines[:start] + lines[end:], lines[start:end]
    return lines, []


def _signature_start(lines: list[str]) -> int:
    """The line where the signature begins, or the number of lines."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if len(filled) < 2:
        return len(lines)
    for number in filled:
        if lines[number].strip() in {"--", "—", "__", "- --"} and _is_small(lines[number + 1 :], 25):
            return number
    for number in filled[-SIGNATURE_LINES - 1 :]:
        if number != filled[0] and _closes(lines[number]) and _is_small(lines[number + 1 :], SIGNATURE_LINES):
            return number
    last = filled[-1]
    above = lines[filled[-2]].lstrip()
    if (
        marks.SLASH_NAME.match(lines[last])
        and not above.startswith(("-", "–", "—"))
        and not above.rstrip().endswith(":")
    ):
        return last
    return len(lines)


def _closes(line: str) -> bool:
    match = marks.CLOSING.fullmatch(line.strip()[:120])
    if match is None:
        return False
    names = re.findall(r"[^\W\d_]+", match["rest"])
    return all(name[0].isupper() or name in {"och", "and", "av", "von", "de", "med", "familj"} for name in names)


def _is_small(lines: list[str], limit: int) -> bool:
    """True when the lines can be a signature: few, short, and none of them a sentence or a postscript."""
    filled = [line for line in lines if line.strip()]
    return len(filled) <= limit and not any(
        len(line) > SIGNATURE_LINE_CHARS
        or marks.POSTSCRIPT.match(line)
        or (_SENTENCE.search(line) and len(line.split()) > 8)
        for line in filled
    )
