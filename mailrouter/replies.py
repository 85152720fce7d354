"""What a registrator's reply says: a diarienummer, that the case is not theirs, that the citizen has an answer.

Pure, and careful: only the writer's own first lines and the subject count, a question or a "not yet" never
decides anything, and whatever is not plain is left to a person. docs/registrator.md shows what may be written.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from mailrouter import number
from mailrouter.letter import Letter
from mailrouter.letter.quotes import first_mark
from mailrouter.organisation import Organisation, Unit

LINES = 12  # of own words that are searched: who replies to a case says it first
QUOTE_CHARS = 300

# What our own mails begin with, for clients that quote without any mark.
_OURS = re.compile(
    r"\s*(?:Här är ett ärende till er från kontaktcenter|Medborgaren har skrivit igen i ärende|Så gör ni$"
    r"|Ärende \S+ (?:ska vara|skulle ha varit) besvarat)"
)
_GREETING = re.compile(r"(?:hej|hallå|tjena|god\s+(?:morgon|dag))\b.{0,30}", re.IGNORECASE)
_CLOSING = re.compile(
    r"\s*(?:mvh|m\.v\.h|med\s+vänliga?\s+hälsning\w*|vänlig\w*\s+hälsning\w*|hälsningar)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"”'(]?[A-ZÅÄÖ])|\n")

_ANSWERED = re.compile(
    r"\b(?:besvara[dt]|avsluta[dt]|slutbehandlat|åtgärda[dt]\s+och\s+klar[t]?)\b"
    r"|\b(?:svarat|återkopplat|svarade)\b"
    r"|\bsvar(?:et)?\s+(?:(?:är|har|blev|nu|redan)\s+)*(?:skickat|skickats|gått|lämnat|lämnats|meddelat|meddelats|mejlat|mejlats)\b"
    r"|\b(?:skickat|lämnat|gett|mejlat)\s+(?:ett\s+|vårt\s+|sitt\s+)?svar\b"
    r"|\bhar\s+fått\s+(?:ett\s+|sitt\s+|vårt\s+)?svar\b",
    re.IGNORECASE,
)
_NOT_YET = re.compile(
    r"\b(?:inte|ej|icke|ännu|aldrig|än|delvis|nästan|innan|tills|kommer|ska|skall|skulle|bör|borde|måste|väntar|snart"
    r"|hoppas|imorgon|i\s+morgon|utan\s+att|så\s+fort|kan|vill|önskar|önskas|får\s+ni|inom|senast|kanske|tror)\b"
    r"|^\W*(?:när|om|då|har\s+(?:ni|du))\b|[,;]\s*(?:när|om|då)\b|\bsvara(?:t|de)\s+(?:er|dig|kontaktcenter)\b",
    re.IGNORECASE,
)
_WORDS_AFTER = re.compile(r"(?:\W+\w+){0,3}")

_US = r"(?:oss|vår\w*|min\w*)"
_WRONG = re.compile(
    r"\bfel\s+(?:förvaltning|nämnd|enhet|mottagare|adress|ställe|instans|avdelning|kontor|bolag|myndighet|brevlåda)\w*"
    r"|\bfel(?:skicka|adressera|sän|dirigera)[dt]\w*|\b(?:hamnat|kommit|skickat\w*|gått|gick|kom)\s+(?:till\s+|hos\s+)?fel\b"
    rf"|\b(?:till)?hör\s+(?:inte|ej)\s+(?:\w+\s+){{0,2}}{_US}\b|\btillhör\s+(?:inte|ej)\s+{_US}\b"
    rf"|\b(?:ligger|faller|hamnar)\s+(?:inte|ej)\s+(?:\w+\s+){{0,2}}{_US}\b|\b(?:ligger|faller|är)\s+utanför\s+{_US}\b"
    r"|\b(?:inte|ej)\s+(?:något\s+|ett\s+|en\s+)?(?:för\s+oss|vår[t]?(?=\W*(?:$|[.,;!]|utan\b))"
    r"|vår[t]?\s+(?:ansvar\w*|bord|sak|fråga|uppgift|område|verksamhet\w*|ärende|uppdrag|mark|gata|väg|fastighet|bolag))"
    r"|\bvi\s+(?:ansvarar|råder|äger|sköter)\s+(?:inte|ej)\b|\b(?:inte|ej)\s+(?:vi\s+som\s+)?ansvar(?:ar|iga?)\b"
    r"|\b(?:inte|ej)\s+(?:\w+\s+)?ansvarig\b",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(
    r"\b(?:(?:ska|skall|bör|borde|måste)\s+(?:(?:gå|skickas|vidare|istället|i\s+stället|ligga|hanteras)\s+)*(?:till|hos|av)"
    r"|tillhör|hör\s+(?:hemma\s+)?(?:till|hos|under)|ligger\s+(?:hos|under|på)|rätt\s+(?:förvaltning|mottagare)\s+är)\b",
    re.IGNORECASE,
)
_ELSEWHERE_WORDS = 14  # a longer sentence that only names another unit is about something else
_MAYBE = re.compile(
    r"\b(?:inte|ej|aldrig)\s+(?:\w+\s+)?fel\b|\b(?:kanske|möjligen|eventuellt|osäker\w*|undrar|tror|tveksamt|kan\s+det)\b"
    r"|^\W*(?:om|ifall)\b|[,;]\s*(?:om|ifall)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?\W*$|\b(?:kan\s+(?:ni|du)|vänligen|var\s+vänlig|snälla|ring|hör\s+av|återkom|behöver\s+(?:vi|mer|ni|ha)|komplettera"
    r"|kompletterande|anstånd|uppskov|förläng\w*|längre\s+tid)\b",
    re.IGNORECASE,
)
_HOLDING = re.compile(  # an answer to the citizen that is none yet
    r"\b(?:återkommer|återkomma|har\s+(?:tagit\s+emot|registrerat)|handläggs|utreds|inom\s+kort|kommer\s+att\s+\w+)\b",
    re.IGNORECASE,
)

_LABELLED = re.compile(
    r"\b(?:dia(?:rie)?\.?\s?(?:nummer|nr)|d\.?\s?nr|diariefört\s+(?:som|under|med(?:\s+nummer)?)"
    r"|(?:vårt|ert)\s+(?:ärende|referens)?(?:nummer|nr))\W{0,3}(?:(?:är|blir|blev|hos\s+oss)\W{1,3})*"
    r"(?P<value>(?:[A-ZÅÄÖ]{1,8}\s|[A-Za-zÅÄÖåäö]{1,8}-)?\w{0,8}\d\w*(?:[-/.:]\w+)*(?:\s[A-ZÅÄÖ]{2,4}\b)?)",
    re.IGNORECASE,
)
# DOMAIN: KS 0263/20, SLK-2023-00155, N123-0456/21, KS 2021-00098, 2016/KS0096, 2018/29-700 SN.
_DEFAULT_NUMBERS = tuple(
    re.compile(rf"(?<![\w/-]){pattern}(?![\w:]|[-/]\w)")
    for pattern in (
        r"[A-Za-zÅÄÖåäö]{1,6}-(?:19|20)\d\d-\d{2,6}",
        r"[A-ZÅÄÖ]{2,6} (?:19|20)\d\d[-/]\d{3,6}",
        r"[A-ZÅÄÖ]\d{2,4}-\d{3,5}/\d\d",
        r"(?:19|20)\d\d/[A-ZÅÄÖ]{2,4}\d{3,6}",
        r"(?:19|20)\d\d/\d{1,4}-\d{2,4}(?: [A-ZÅÄÖ]{2,4}\b)?",
        r"(?:[A-ZÅÄÖ]{2,4} )?\d{3,5}/\d\d",
    )
)
_NO_NUMBER = (
    re.compile(r"(?:19|20)\d\d-\d\d?-\d\d?"),  # a date
    re.compile(r"(?:\d\d)?\d{6}[-+]?\d{4}"),  # a personnummer
    re.compile(r"0\d{1,3}[-/ ]?\d{2,3}(?:[ -]?\d\d)+|\+?46[\d -]+"),  # a telephone
    re.compile(r"\d{1,2}[:.]\d\d|\d{1,2}/(?:1[0-2]|0?[1-9])"),  # a time, a day
)
_ANOTHER = re.compile(
    r"\b(?:jämför|se\s+även|liknande|tidigare|förra|gamla|annat|andra|samma\s+som|koppla\w*|inte|ej)\b|\?\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a mail that came home by a token says and to whom, kept until its case is locked."""

    subject: str
    words: str  # the writer's own, never what our mail or the citizen said
    recipients: frozenset[str]  # of To and Cc, in small letters

    @property
    def quote(self) -> str:
        """The beginning of the words, on one line."""
        said = " ".join(self.words.split())
        return said if len(said) <= QUOTE_CHARS else said[: QUOTE_CHARS - 1] + "…"


@dataclass(frozen=True, slots=True)
class Understood:
    """What is plain in a reply; ``doubts`` are Swedish sentences on what a person must read."""

    diarienummer: str = ""
    returned: bool = False
    right_unit: str = ""  # the id of the unit they say is the right one
    answered: bool = False
    doubts: tuple[str, ...] = ()


def of(letter: Letter) -> Reply:
    """A reply, with nothing quoted left in its words."""
    recipients = frozenset(address.address.lower() for address in (*letter.to, *letter.cc) if address.address)
    return Reply(letter.subject, _own_words(letter), recipients)


def _own_words(letter: Letter) -> str:
    """The letter's text without a quote that nothing stands above, and without a mail that is passed on."""
    lines = (letter.body if letter.forwarded_from else letter.text).split("\n")
    mark = first_mark(lines)
    kept = lines[: mark.start] if mark else lines
    ours = next((place for place, line in enumerate(kept) if _OURS.match(line)), len(kept))
    return "\n".join(line for line in kept[:ours] if not line.lstrip().startswith(">")).strip()


def understand(reply: Reply, unit: Unit | None, organisation: Organisation | None, on: date) -> Understood:
    """What ``reply`` from ``unit`` says of its part of a case."""
    sentences = list(_sentences(reply.words))
    doubts: list[str] = []
    found, unsure = _diarienummer(reply, sentences, unit)
    answered = _decided(sentences, _ANSWERED, _not_yet, "Det är oklart om medborgaren har fått svar.", doubts)
    right = _right_unit(sentences, unit, organisation, on)
    returned = _decided(sentences, _WRONG, _maybe, "Det är oklart om ärendet är deras.", doubts) or _sent_elsewhere(
        sentences, right
    )
    if unsure:
        doubts.append("Det är oklart vilket diarienummer som gäller.")
    if answered and returned:
        doubts.append("Det står både att det är besvarat och att det är fel förvaltning.")
        answered = returned = False
    if any(_ASKS.search(sentence) for sentence in sentences):
        doubts.append("De frågar eller ber om något.")
    return Understood(found, returned, right if returned else "", answered, tuple(dict.fromkeys(doubts)))


def by_number(reply: Reply, numbers: Collection[str]) -> tuple[dict[str, Reply], str]:
    """A reply to a mail about several cases: what is said of each of ``numbers``, line by line, and the rest."""
    about: dict[str, str] = {}
    rest: list[str] = []
    lines = [line.strip() for line in reply.words.split("\n") if line.strip()]
    for place, line in enumerate(lines):
        if place and _CLOSING.match(line):
            break
        named = [one for one in number.find_numbers(line) if one in numbers]
        if len(named) == 1:
            said = re.sub(rf"\[?{named[0]}\]?\s*[:,–-]?\s*", "", line, flags=re.IGNORECASE)
            about[named[0]] = f"{about.get(named[0], '')}\n{said}".strip()
        elif not _GREETING.fullmatch(line):
            rest.append(line)
    return {key: Reply("", said, frozenset()) for key, said in about.items()}, "\n".join(rest)


def is_holding(reply: Reply) -> bool:
    """True when an answer to the citizen says that the real one is still to come."""
    return _HOLDING.search(reply.words) is not None


def _sentences(words: str) -> Iterator[str]:
    """The first lines in sentences: a line that goes on in small letters is one with the line before it."""
    lines = [line.strip() for line in words.split("\n") if line.strip()]
    closing = next((place for place, line in enumerate(lines) if place and _CLOSING.match(line)), len(lines))
    joined = ""
    for line in lines[: min(closing, LINES)]:
        joined += ("\n" if joined and not line[0].islower() else " ") + line
    for sentence in _SENTENCE_END.split(joined):
        if sentence.strip():
            yield sentence.strip()


def _decided(
    sentences: Sequence[str], says: re.Pattern[str], doubtful: "_Doubt", doubt: str, doubts: list[str]
) -> bool:
    """True when a sentence says it and none says it doubtfully."""
    hits = [(sentence, match) for sentence in sentences for match in says.finditer(sentence)]
    if any(sentence.rstrip("\"”') ").endswith("?") or doubtful(sentence, match) for sentence, match in hits):
        doubts.append(doubt)
        return False
    return bool(hits)


class _Doubt:
    """Words that take back what a match says: anywhere before it, and in the few words that follow."""

    def __init__(self, words: re.Pattern[str], *, after: bool) -> None:
        self._words = words
        self._after = after

    def __call__(self, sentence: str, match: re.Match[str]) -> bool:
        end = match.end()
        if self._after and (following := _WORDS_AFTER.match(sentence, end)):
            end = following.end()
        return self._words.search(sentence[:end]) is not None


_not_yet = _Doubt(_NOT_YET, after=True)
_maybe = _Doubt(_MAYBE, after=False)


def _diarienummer(reply: Reply, sentences: Sequence[str], unit: Unit | None) -> tuple[str, bool]:
    """The one diarienummer that is named, and whether a person must look which one it is."""
    patterns = tuple(map(re.compile, unit.diarienummer)) if unit and unit.diarienummer else _DEFAULT_NUMBERS
    labelled: dict[str, None] = {}
    plain: dict[str, None] = {}
    unsure = False
    for said in (reply.subject, *sentences):
        marked = [match["value"] for match in _LABELLED.finditer(said)]
        bare = [match[0] for pattern in patterns for match in pattern.finditer(said)]
        good = [value.strip(" .,;") for value in (*marked, *bare) if not _is_another_kind(value.strip(" .,;"))]
        if good and _ANOTHER.search(said):
            unsure = True
            continue
        labelled |= dict.fromkeys(value for value in good if value in {one.strip(" .,;") for one in marked})
        plain |= dict.fromkeys(good)
    chosen = list(labelled) or _longest(plain)
    if len(chosen) == 1:
        return chosen[0], False
    return "", unsure or len(chosen) > 1


def _longest(values: Sequence[str] | dict[str, None]) -> list[str]:
    """Without those that only repeat a part of another, as 0263/20 in KS 0263/20."""
    return [one for one in values if not any(one != other and one in other for other in values)]


def _is_another_kind(value: str) -> bool:
    """True for what looks like a number of theirs and is none: our own, a date, a telephone, a school year."""
    if number.find_numbers(value) or sum(letter.isdigit() for letter in value) < 2:
        return True
    years = re.fullmatch(r"((?:19|20)\d\d)/(\d\d)", value)
    if years and int(years[2]) == (int(years[1]) + 1) % 100:
        return True
    return any(pattern.fullmatch(value) for pattern in _NO_NUMBER)


def _sent_elsewhere(sentences: Sequence[str], right: str) -> bool:
    """ "Ska till Park och natur": short, and it names a unit that we know."""
    return bool(right) and any(
        _ELSEWHERE.search(sentence)
        and len(sentence.split()) <= _ELSEWHERE_WORDS
        and not sentence.endswith("?")
        and not _MAYBE.search(sentence)
        and "svar" not in sentence.casefold()
        for sentence in sentences
    )


def _right_unit(sentences: Sequence[str], unit: Unit | None, organisation: Organisation | None, on: date) -> str:
    """The unit that they name beside their own, in a sentence about where the case belongs; empty unless it is one."""
    if organisation is None:
        return ""
    said = " ".join(s for s in sentences if _WRONG.search(s) or _ELSEWHERE.search(s) or len(s.split()) <= 5)
    text = f" {_plain(said)} "
    names = [(name, one.id) for one in organisation.units.values() for name in _names(one)]
    found: list[str] = []
    for name, key in sorted(names, key=lambda named: -len(named[0])):
        if f" {name} " in text:
            text = text.replace(f" {name} ", " ")
            found.append(organisation.successor(key, on) or key)
    others = {key for key in found if unit is None or key != unit.id}
    return others.pop() if len(others) == 1 else ""


_OFFICE = re.compile(r"förvaltning(?:en|s)?\b|\bkontoret\b|kontoret\b|\bnämnden\b|nämnden\b")


def _names(unit: Unit) -> set[str]:
    """What people call a unit: its names, and those without the word for office."""
    full = {_plain(re.sub(r"\(.*?\)", "", name)) for name in (unit.name, *unit.aliases)}
    short = {" ".join(_OFFICE.sub("", name).removeprefix("för ").split()) for name in full}
    short |= {name.removeprefix("för ").removesuffix("s") for name in short}
    return {name for name in full | short if len(name) >= 4}


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w]+", " ", text.casefold()).split())
