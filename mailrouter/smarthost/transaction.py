"""One mail transaction (RFC 5321 3.3), and what its replies mean."""

import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mailrouter.smarthost.outcomes import Later, Never, Outcome, Sent, a_label

_AUTHENTICATION = frozenset({530, 534, 535, 538})  # RFC 4954 6: about our login, never about the mail
_CHUNK_OCTETS = 1_048_576
_REPLY_CHARS = 2_000
_TOO_LARGE = 552  # RFC 1870 6.1
_FULL = re.compile(r"5\d\d 5\.2\.2 ")  # a full mailbox (RFC 3463 3.3), which somebody will empty


@dataclass(frozen=True, slots=True)
class Parcel:
    """A mail with its envelope and what is asked for it."""

    sender: str
    recipient: str
    octets: bytes = field(repr=False)
    secure: bool = False
    envelope_id: str = ""
    confirm: bool = False


def words(code: int, text: bytes | str) -> str:
    """A reply in the server's own words, on one line, without what a database or a page could not hold."""
    said = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    shown = "".join(letter if letter.isprintable() else " " for letter in said)
    return f"{code} {' '.join(shown.split())}"[:_REPLY_CHARS]


def unfit(octets: bytes) -> Never | None:
    """SMTP carries lines that end with CRLF and nothing else (RFC 5321 2.3.8); a bare LF can be made to smuggle."""
    if octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r"):
        return None
    return Never("Mejlet har radslut som inte kan skickas med SMTP.")


def transact(connection: smtplib.SMTP, parcel: Parcel) -> tuple[Outcome, bool]:
    """One mail transaction (RFC 5321 3.3), and whether the connection may be used again."""
    channel = _channel(connection, parcel)  # before the connection may break
    outcome, clean = _transact(connection, parcel)
    return replace(outcome, channel=channel), clean


def _transact(connection: smtplib.SMTP, parcel: Parcel) -> tuple[Outcome, bool]:
    lacking = _lacking(connection, parcel)
    if lacking:
        return lacking, True
    under_way = False
    try:
        refused = _open_transaction(connection, _commands(connection, parcel))
        if refused:
            return refused, False
        under_way = True
        for chunk in _chunks(_stuffed(parcel.octets)):
            connection.send(chunk)
        connection.send(b".\r\n" if parcel.octets.endswith(b"\r\n") else b"\r\n.\r\n")
        code, text = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        doubt = " Mejlet kan ändå ha kommit fram." if under_way else ""
        return Later(f"Förbindelsen med smarthosten bröts: {error}{doubt}"), False
    if code // 100 == 2:
        return Sent(words(code, text)), True
    return _refusal("DATA", code, text), True


def _lacking(connection: smtplib.SMTP, parcel: Parcel) -> Outcome | None:
    """What the connection does not offer and this mail needs."""
    if parcel.secure and not _is_private(connection):
        return Later(
            "Mejlet är märkt som känsligt och hålls kvar: förbindelsen till smarthosten är inte krypterad"
            " (smarthost.tls).",
            held=True,
        )
    octets, recipient = parcel.octets, parcel.recipient
    largest = connection.esmtp_features.get("size", "")
    if largest.isdigit() and 0 < int(largest) < len(octets):  # RFC 1870 4: 0 means no limit
        return Never(f"Mejlet är {len(octets)} byte och smarthosten tar emot högst {largest}.")
    if not octets.isascii() and not connection.has_extn("8bitmime"):
        return Later("Smarthosten erbjuder inte 8BITMIME, som det här mejlet behöver (RFC 6152).")
    if not recipient.isascii() and not connection.has_extn("smtputf8"):
        return Never(f"Smarthosten kan inte skicka till {recipient}: den erbjuder inte SMTPUTF8 (RFC 6531).")
    return None


def _is_private(connection: smtplib.SMTP) -> bool:
    """True when nobody on a network can read along: by TLS, or since the smarthost is this machine itself."""
    if isinstance(connection.sock, ssl.SSLSocket):
        return True
    if not isinstance(connection.sock, socket.socket):
        return False
    host = str(connection.sock.getpeername()[0])
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _channel(connection: smtplib.SMTP, parcel: Parcel) -> str:
    """How the connection was secured and what was asked of it, for whoever must prove it later."""
    said = ["okrypterad"]
    if isinstance(connection.sock, ssl.SSLSocket):
        cipher = connection.sock.cipher()
        said = [f"{connection.sock.version()} {cipher[0] if cipher else ''}".strip()]
    if _asks_for_report(connection, parcel):
        said.append("DSN")
    if _asks_for_tls(connection, parcel):
        said.append("REQUIRETLS")
    return "; ".join(said)


def _asks_for_report(connection: smtplib.SMTP, parcel: Parcel) -> bool:
    return bool(parcel.envelope_id) and connection.has_extn("dsn")


def _asks_for_tls(connection: smtplib.SMTP, parcel: Parcel) -> bool:
    """RFC 8689: the servers after this one must not send it in clear either."""
    return parcel.secure and connection.has_extn("requiretls") and isinstance(connection.sock, ssl.SSLSocket)


def _commands(connection: smtplib.SMTP, parcel: Parcel) -> tuple[str, str, str]:
    local, _, domain = parcel.recipient.rpartition("@")
    recipient = f"{local}@{a_label(domain)}"
    mail, rcpt = f"MAIL FROM:<{parcel.sender}>", f"RCPT TO:<{recipient}>"
    if connection.has_extn("size"):
        mail += f" SIZE={len(parcel.octets)}"
    if not parcel.octets.isascii():
        mail += " BODY=8BITMIME"
    if not local.isascii():
        mail += " SMTPUTF8"
    if _asks_for_tls(connection, parcel):
        mail += " REQUIRETLS"
    if _asks_for_report(connection, parcel):
        mail += f" RET=HDRS ENVID={_xtext(parcel.envelope_id)}"
        rcpt += f" NOTIFY={'SUCCESS,' if parcel.confirm else ''}FAILURE,DELAY"
        if local.isascii():
            rcpt += f" ORCPT=rfc822;{_xtext(recipient)}"
    return mail, rcpt, "DATA"


def _xtext(text: str) -> str:
    """RFC 3461 4: "+", "=" and whatever is not printable as +HH."""
    return "".join(sign if "!" <= sign <= "~" and sign not in "+=" else f"+{ord(sign):02X}" for sign in text)


def _open_transaction(connection: smtplib.SMTP, commands: tuple[str, str, str]) -> Outcome | None:
    """Say MAIL, RCPT and DATA; the refusal, if any of them is refused."""
    for command, (code, text) in zip(commands, _replies(connection, commands), strict=True):
        verb = command[:4]
        if code != 354 if verb == "DATA" else code not in {250, 251}:
            return _refusal(verb, code, text)
    return None


def _replies(connection: smtplib.SMTP, commands: tuple[str, ...]) -> Iterator[tuple[int, bytes]]:
    """The replies to ``commands``, which go out as one packet where the server allows it (RFC 2920)."""
    if connection.has_extn("pipelining"):
        connection.send("".join(f"{command}\r\n" for command in commands).encode())
        for _ in commands:
            yield connection.getreply()
    else:
        for command in commands:
            connection.send(f"{command}\r\n".encode())
            yield connection.getreply()


def _refusal(verb: str, code: int, text: bytes) -> Outcome:
    """Temporary or permanent, with the server's words (RFC 5321 4.2.1).

    A permanent no to our login or to our sender address is about our settings: every mail would meet it,
    so they all wait until somebody mends it. A mail that is too large stays too large.
    """
    said = words(code, text)
    if code // 100 != 5 or code in _AUTHENTICATION or _FULL.match(said):
        return Later(said)
    if verb == "MAIL" and code != _TOO_LARGE:
        return Later(f"Smarthosten godtar inte vår avsändaradress (forward.reply_address): {said}")
    return Never(said)


def _chunks(octets: bytes) -> Iterator[memoryview]:
    """A mail in pieces: the time limit of a socket is for one whole send, however much it is."""
    view = memoryview(octets)
    for start in range(0, len(view), _CHUNK_OCTETS):
        yield view[start : start + _CHUNK_OCTETS]


def _stuffed(octets: bytes) -> bytes:
    """The mail with the dot at the start of a line doubled (RFC 5321 4.5.2)."""
    if b"\r\n." in octets:
        octets = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + octets if octets.startswith(b".") else octets
