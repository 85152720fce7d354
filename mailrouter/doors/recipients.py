"""For whom mail is taken in: the configured addresses and our own reply tokens, nobody else (no open relay)."""

import unicodedata

from mailrouter import number
from mailrouter.config import Settings


class Recipients:
    """The addresses mail is accepted for."""

    def __init__(self, settings: Settings) -> None:
        self._addresses = frozenset(fold(address) for address in settings.smtp.recipients)
        self._reply_local, _, self._reply_domain = fold(settings.forward.reply_address).rpartition("@")

    def accept(self, address: str) -> bool:
        """True for a configured address, and for the reply address with +TOKEN before its @."""
        folded = fold(address)
        return folded in self._addresses or self._is_reply(folded)

    def _is_reply(self, folded: str) -> bool:
        local, _, domain = folded.rpartition("@")
        base, plus, tag = local.partition("+")
        ours = (base, plus, domain) == (self._reply_local, "+", self._reply_domain)
        return ours and number.find_tokens(tag) == [tag]


def fold(address: str) -> str:
    """An address in the form it is compared by: no letter case, and an IDN domain as its ASCII form (RFC 6531 3.2)."""
    local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:  # no domain name at all: it will equal nothing but itself
        ascii_domain = domain.lower()
    return f"{local.casefold()}{at}{ascii_domain}"
