"""The links in a cover note by which a registrator answers without writing: one act each, signed, no login.

A link opens a page that asks first (desk/pages/links.py), since scanners follow every link in a mail.
"""

from enum import StrEnum

from mailrouter import signing
from mailrouter.config import Settings
from mailrouter.signing import Keys


class LinkAct(StrEnum):
    """What a link is for; also a part of its address and the purpose of its signature."""

    DIARIENUMMER = "diarienummer"
    RETURN = "fel-forvaltning"
    ANSWERED = "besvarat"


LABELS = {
    LinkAct.DIARIENUMMER: "Lämna diarienummer",
    LinkAct.RETURN: "Fel förvaltning",
    LinkAct.ANSWERED: "Besvarat",
}


def address(act: LinkAct, token: str, settings: Settings, keys: Keys) -> str:
    """The link of the dispatch with ``token`` for ``act``."""
    base = (settings.desk.public_url or settings.desk.base_url).rstrip("/")
    return f"{base}/svar/{act}/{token}/{signing.sign(keys, act, token)}"


def is_ours(act: LinkAct, token: str, signature: str, keys: Keys) -> bool:
    """True for the parts of a link that ``address`` made, however its letters were cased on the way."""
    return signing.verify(keys, act, token.lower(), signature.lower())


def labelled(token: str, settings: Settings, keys: Keys) -> list[tuple[str, str]]:
    """The links of a cover note with their names; none when they are switched off or there is no key."""
    if not settings.forward.links or not keys:
        return []
    return [(label, address(act, token, settings, keys)) for act, label in LABELS.items()]
