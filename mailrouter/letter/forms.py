"""Web forms whose answers arrive as a mail: labelled fields out of layouts that are data (``forms.yaml``)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from mailrouter.letter.values import Address, Contact

FIELD_CHARS = 20_000
SIGN_CHARS = 600
CONTACT_CHARS = 200

_LABEL_LINE = re.compile(r"\s{0,4}(?:[>*•-]\s+)?(?:\d{1,2}[.)]\s+)?[*_]{0,2}([^\n:|?*\t]{1,80}?)\s*[*_]{0,2}\s*"
                         r"(?:(?P<mark>[:|?]|\t)[*_:|?\s]*(?P<value>.*))?$")  # fmt: skip

_MAILBOX = re.compile(r"[^\s<>\"'(),:;@\[\]]+@[^\s<>\"'(),:;@\[\]]+\.[^\W\d_]{2,}")
_PHONE = re.compile(r"\+?\d[\d \t()/.–-]{4,20}\d")
_NO = re.compile(
    r"\W*(?:nej|inte|inget|nope|no|ei|anonym\w*|jag vill (?:inte|vara anonym)|0|false|falskt)\b", re.IGNORECASE
)
_YES = re.compile(
    r"\W*(?:ja|japp|jo|gärna|absolut|yes|kyllä|x|on|1|true|sant|jag vill|återkoppla|kontakta mig)\b|"
    r".*\b(?:via|per|på|med|genom) (?:e-?post|mejl|mail|e-?mail|telefon|brev|sms)\b|"
    r"\W*(?:e-?post|mejl|mail|telefon|brev|sms)\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """One form: see the head of ``forms.yaml``. ``labels`` leads from a folded wording to the name shown."""

    id: str
    signs: re.Pattern[str]
    least: int
    labels: Mapping[str, str]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The answers in order, and the citizen's own words among them."""

    layout: str
    fields: tuple[tuple[str, str], ...]
    words: str


@cache
def layouts() -> tuple[Layout, ...]:
    """The layouts that come with the program."""
    return load(files("mailrouter.letter").joinpath("forms.yaml").read_text("utf-8"))


def load(text: str) -> tuple[Layout, ...]:
    """Layouts out of YAML text. Raises KeyError, ValueError, re.error or yaml.YAMLError on a bad file."""
    return tuple(
        Layout(
            id=entry["id"],
            signs=re.compile("|".join(f"(?:{sign})" for sign in entry["signs"])),
            least=int(entry["least"]),
            labels={_fold(wording): name for name, wordings in entry["labels"].items() for wording in wordings},
            words=tuple(entry["words"]),
        )
        for entry in yaml.safe_load(text)
    )


def read(sender: Address, subject: str, body: str, known: tuple[Layout, ...] | None = None) -> Form | None:
    """The form that the mail is, or None: then it is a plain mail."""
    face = f"{sender.address}\n{sender.name}\n{subject}\n{body[:SIGN_CHARS]}\n{body[-SIGN_CHARS // 2 :]}".casefold()
    for layout in layouts() if known is None else known:
        if layout.signs.search(face):
            found = _fields(body, layout)
            if len({name for name, _ in found}) >= layout.least:
                return Form(layout.id, found, _words(found, layout))
    return None


def _fold(label: str) -> str:
    return " ".join(re.sub(r"[^\w/,-]+", " ", label.casefold()).split())


def _fields(body: str, layout: Layout) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, list[str]]] = []
    for line in body.split("\n"):
        match = _LABEL_LINE.match(line[:2_000])
        name = layout.labels.get(_fold(match[1])) if match else None
        # A word alone on its line is a label only where the form can start a new answer.
        if match is None or name is None or (match["mark"] is None and name in {known for known, _ in found}):
            if found:
                found[-1][1].append(line)
            continue
        found.append((name, [match["value"] or ""]))
    return tuple((name, "\n".join(lines).strip()[:FIELD_CHARS]) for name, lines in found)


def _words(found: tuple[tuple[str, str], ...], layout: Layout) -> str:
    return "\n\n".join(value for wanted in layout.words for name, value in found if name == wanted and value)


def contact(form: Form) -> Contact:
    """The citizen behind the form, out of the labels that every layout names alike."""
    given: dict[str, str] = {}
    for name, value in form.fields:
        if value and name not in given:
            given[name] = " ".join(value.split("\n\n", 1)[0].split())[:CONTACT_CHARS]
    mailbox = _MAILBOX.search(given.get("E-post", "")[:CONTACT_CHARS])
    phone = _PHONE.search(given.get("Telefon", ""))
    return Contact(
        name=" ".join(filter(None, (given.get("Namn"), given.get("Efternamn")))),
        address=mailbox[0].rstrip(".") if mailbox else "",
        phone=phone[0].strip() if phone else "",
        wants_answer=_wants(given.get("Vill ha svar", "")),
        place=given.get("Var", given.get("Adress", "")),
    )


def _wants(answer: str) -> bool | None:
    if _NO.match(answer):
        return False
    return True if _YES.match(answer) else None
