"""What became of a mail that was handed over, in one of three words; and to whom mail may go at all."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# Stricter than RFC 5321 4.1.2 on purpose: no quoting, no "/" (a path), no "%" and "!" (old source routes).
_ADDRESS = re.compile(r"[\w+=&'~-]+(?:\.[\w+=&'~-]+)*@[\w-]+(?:\.[\w-]+)+")
_ADDRESS_OCTETS = 254  # RFC 5321 4.5.3.1.3, without the angle brackets


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side has taken the responsibility for the mail (RFC 5321 4.2.5)."""

    reply: str
    channel: str = ""  # how the connection was secured, and what was asked of it


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: the other side said so, could not be reached, or our own settings stand in the way.

    ``held`` says that it is not the other side but we who keep the mail back, so that a person must know.
    """

    reply: str
    channel: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """Trying again is useless: a person must decide."""

    reply: str
    channel: str = ""


Outcome = Sent | Later | Never


class Smarthost(Protocol):
    """Where mails are handed over; may be used from several threads at once."""

    def send(
        self,
        envelope_sender: str,
        recipient: str,
        octets: bytes,
        *,
        outside: bool = False,
        secure: bool = False,
        envelope_id: str = "",
        confirm: bool = False,
    ) -> Outcome:
        """Hand over one mail, whose lines end with CRLF, to one recipient inside the city's domains.

        ``outside`` is for a mail to a citizen, who may be anywhere. ``secure`` keeps a mail back that would
        cross a network in clear. Delivery reports are asked for under ``envelope_id`` where the server
        offers them (RFC 3461), with ``confirm`` also one that it arrived.
        """

    def close(self) -> None:
        """Say goodbye to the server; the object may be used again."""


class Fence:
    """The city's own domains: nothing goes anywhere else, whatever a table or a caller says."""

    def __init__(self, domains: Iterable[str]) -> None:
        self._domains = frozenset(map(a_label, domains))

    def objection(self, recipient: str, *, outside: bool) -> Never | None:
        """Why nothing may be sent to ``recipient``, or None."""
        if not _ADDRESS.fullmatch(recipient) or len(recipient.encode(errors="replace")) > _ADDRESS_OCTETS:
            return Never(f"{recipient!r} är ingen adress som mejl kan skickas till.")
        if not outside and a_label(recipient.rpartition("@")[2]) not in self._domains:
            return Never(f"{recipient} ligger utanför stadens domäner (city.domains). Inget skickades.")
        return None


def a_label(domain: str) -> str:
    """The domain in the form the DNS knows (RFC 5890 2.3.2.1); empty when there is none."""
    try:
        return domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""
