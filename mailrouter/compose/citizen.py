"""What citizens read: that it has come in, who has it, and an answer that a servicevägledare wrote.

Nothing that they wrote is repeated, nor anything about them: the address may be somebody else's by now, and a
confirmation is read on screens in hallways (DOMAIN: outgoing mail is ours to protect). The header says that a
program wrote it (RFC 3834 5), so that no absence note answers.
"""

from datetime import date
from email.headerregistry import Address

from babel import Locale
from babel.dates import format_date

from mailrouter import signing
from mailrouter.compose.common import basic_header, day, one_line, render, text_part
from mailrouter.config import Settings
from mailrouter.signing import Keys
from mailrouter.tables import Case, Dispatch, DispatchKind, Mail
from mailrouter.translations import SOURCE, catalogue

LANGUAGES = {"sv": "sv_SE", "en": "en_GB", "fi": "fi_FI"}  # Finnish: the city is a Finnish administrative area
STATUS = "status"  # the purpose of a status link's signature
ELSE = "en"  # beside Swedish, for everybody else

# Kinds that no four weeks are promised for: they are due at once, or by another law.
WITHOUT_A_DAY = frozenset({"begaran-handling", "overklagande", "orosanmalan", "skadestand"})


def languages_of(case: Case) -> tuple[str, ...]:
    """The languages that a citizen is written to in: their own if we have it, else Swedish and English."""
    if not case.language or case.language in LANGUAGES:
        return (case.language or SOURCE,)
    return (SOURCE, ELSE)


def status_address(case: Case, keys: Keys, settings: Settings) -> str:
    """The page that shows where the case is, for whoever has the mail; empty before there is a key."""
    if not keys:
        return ""
    base = (settings.desk.public_url or settings.desk.base_url).rstrip("/")
    return f"{base}/mitt-arende/{case.number}/{signing.sign(keys, STATUS, case.number)}"


def acknowledgement(case: Case, dispatch: Dispatch, answered: Mail, settings: Settings, keys: Keys) -> bytes:
    """It has come in: number, what happens next, the last day for an answer, and that it is a public document."""
    return _automatic("acknowledgement", case, dispatch, answered, settings, keys)


def notice(case: Case, dispatch: Dispatch, answered: Mail, settings: Settings, keys: Keys) -> bytes:
    """Who has it; ``dispatch.detail["names"]`` are the units."""
    return _automatic("notice", case, dispatch, answered, settings, keys)


def _automatic(template: str, case: Case, dispatch: Dispatch, answered: Mail, settings: Settings, keys: Keys) -> bytes:
    texts = []
    for code in languages_of(case):
        facts = {
            "city": settings.city.name,
            "number": case.number,
            "answer_due": "" if case.kind in WITHOUT_A_DAY else _day(case.answer_due, code),
            "units": dispatch.detail.get("names", []),
            "link": status_address(case, keys, settings),
            "sender": settings.forward.from_name,
        }
        texts.append(render(f"citizen/{template}.txt", facts, code))
    fields = (
        "Auto-Submitted: auto-replied\r\nPrecedence: bulk\r\n"  # the latter for what is older than RFC 3834
        f"{_thread(answered)}MIME-Version: 1.0\r\n"
    )
    return b"".join(
        (_header(case, dispatch, _subject(case, dispatch), settings), fields.encode(), *text_part(_joined(texts)))
    )


def answer(case: Case, dispatch: Dispatch, answered: Mail, settings: Settings) -> bytes:
    """What a servicevägledare wrote, as she wrote it; a person's mail, so it does not say that a program wrote it."""
    facts = {"text": dispatch.text.strip(), "number": case.number, "sender": settings.forward.from_name}
    text = render("citizen/answer.txt", facts, languages_of(case)[0])
    fields = f"{_thread(answered)}MIME-Version: 1.0\r\n"
    return b"".join((_header(case, dispatch, _subject(case, dispatch), settings), fields.encode(), *text_part(text)))


def _header(case: Case, dispatch: Dispatch, subject: str, settings: Settings) -> bytes:
    return basic_header(dispatch, Address(addr_spec=dispatch.recipient), f"[{case.number}] {subject}", settings)


def _subject(case: Case, dispatch: Dispatch) -> str:
    _ = catalogue("citizen", languages_of(case)[0]).gettext
    if dispatch.kind is DispatchKind.ACKNOWLEDGEMENT:
        return _("Vi har tagit emot ditt mejl")
    if dispatch.kind is DispatchKind.NOTICE:
        return _("Ditt ärende har kommit till den som svarar")
    return _("Svar från kontaktcenter")


def _thread(answered: Mail) -> str:
    """So that clients show it beside what it answers (RFC 5322 3.6.4); an odd Message-ID is left alone."""
    identity = one_line(answered.message_id)
    plain = identity.isascii() and " " not in identity and "<" not in identity and 0 < len(identity) < 250
    return f"In-Reply-To: <{identity}>\r\nReferences: <{identity}>\r\n" if plain else ""


def _joined(texts: list[str]) -> str:
    return f"\n{'-' * 40}\n\n".join(texts)


def _day(of: date, code: str) -> str:
    if code == SOURCE:
        return day(of)
    return format_date(of, "full", locale=Locale.parse(LANGUAGES[code]))
