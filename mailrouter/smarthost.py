"""The way out: hand one mail to the smarthost and tell what became of it in one of three words.

``Sent`` is a promise of the other side, ``Later`` asks for another try, ``Never`` is for a person at the
desk. Nothing in here raises for what a server, a network or a disk does.
"""

import os
import re
import secrets
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mailrouter import config

# Stricter than RFC 5321 4.1.2 on purpose: no quoting, no "/" (a path), no "%" and "!" (old source routes).
_ADDRESS = re.compile(r"[\w+=&'~-]+(?:\.[\w+=&'~-]+)*@[\w-]+(?:\.[\w-]+)+")
_ADDRESS_OCTETS = 254  # RFC 5321 4.5.3.1.3, without the angle brackets
_AUTHENTICATION = frozenset({530, 534, 535, 538})  # RFC 4954 6: about our login, never about the mail
_CHUNK_OCTETS = 1_048_576
_REPLY_CHARS = 2_000
_TOO_LARGE = 552  # RFC 1870 6.1


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side has taken the responsibility for the mail (RFC 5321 4.2.5)."""

    reply: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: the other side said so, could not be reached, or our own settings stand in the way."""

    reply: str


@dataclass(frozen=True, slots=True)
class Never:
    """Trying again is useless: a person must decide."""

    reply: str


Outcome = Sent | Later | Never


class Smarthost(Protocol):
    """Where mails are handed over; may be used from several threads at once."""

    def send(self, envelope_sender: str, recipient: str, octets: bytes, *, outside: bool = False) -> Outcome:
        """Hand over one mail, whose lines end with CRLF, to one recipient inside the city's domains.

        ``outside`` is for a mail to a citizen, who may be anywhere.
        """

    def close(self) -> None:
        """Say goodbye to the server; the object may be used again."""


def open_smarthost(settings: config.Settings) -> Smarthost:
    """The smarthost that the settings name; connects at the first mail. Raises ConfigError for a bad CA file."""
    domains = settings.city.domains
    if settings.smarthost.kind == "maildir":
        return MaildirSmarthost(settings.smarthost.maildir, domains)
    return SmtpSmarthost(settings.smarthost, domains, settings.smtp.hostname)


class _Fence:
    """The city's own domains: nothing goes anywhere else, whatever a table or a caller says."""

    def __init__(self, domains: Iterable[str]) -> None:
        self._domains = frozenset(map(_a_label, domains))

    def objection(self, recipient: str, *, outside: bool) -> Never | None:
        """Why nothing may be sent to ``recipient``, or None."""
        if not _ADDRESS.fullmatch(recipient) or len(recipient.encode(errors="replace")) > _ADDRESS_OCTETS:
            return Never(f"{recipient!r} är ingen adress som mejl kan skickas till.")
        if not outside and _a_label(recipient.rpartition("@")[2]) not in self._domains:
            return Never(f"{recipient} ligger utanför stadens domäner (city.domains). Inget skickades.")
        return None


def _a_label(domain: str) -> str:
    """The domain in the form the DNS knows (RFC 5890 2.3.2.1); empty when there is none."""
    try:
        return domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""


class MaildirSmarthost:
    """The smarthost that is built in: each recipient is a Maildir on this machine, and nothing ever leaves it."""

    def __init__(self, root: Path, domains: Iterable[str]) -> None:
        self._root = root
        self._fence = _Fence(domains)

    def send(
        self,
        envelope_sender: str,  # noqa: ARG002 (the protocol's)
        recipient: str,
        octets: bytes,
        *,
        outside: bool = False,
    ) -> Outcome:
        """Deliver durably into ``root/RECIPIENT/new``."""
        objection = self._fence.objection(recipient, outside=outside)
        if objection:
            return objection
        try:
            name = _deliver(self._root / recipient.lower(), octets)
        except OSError as error:
            return Later(f"Den lokala brevlådan gick inte att skriva i: {error.strerror}")
        return Sent(f"250 2.0.0 delivered as {name}")

    def close(self) -> None:
        """Nothing is held open."""


def _deliver(maildir: Path, octets: bytes) -> str:
    """Write into tmp, rename into new: a reader never meets half a mail, a power cut never takes a whole one."""
    if not (maildir / "cur").is_dir():
        for folder in ("tmp", "new", "cur"):
            (maildir / folder).mkdir(parents=True, exist_ok=True)
        _sync_folder(maildir)
        _sync_folder(maildir.parent)
    host = socket.gethostname().replace("/", r"\057").replace(":", r"\072")
    name = f"{time.time_ns() // 1_000_000_000}.{secrets.token_hex(10)}.{host}"
    unfinished = maildir / "tmp" / name
    try:
        with unfinished.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(maildir / "new" / name)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(maildir / "new")
    return name


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class SmtpSmarthost:
    """A real smarthost: up to ``settings.connections`` connections, kept open and used again."""

    def __init__(self, settings: config.Smarthost, domains: Iterable[str], hostname: str) -> None:
        self._settings = settings
        self._fence = _Fence(domains)
        self._hostname = hostname
        self._tls = _tls_context(settings)
        self._slots = threading.BoundedSemaphore(settings.connections)
        self._lock = threading.Lock()
        self._idle: list[smtplib.SMTP] = []

    def send(self, envelope_sender: str, recipient: str, octets: bytes, *, outside: bool = False) -> Outcome:
        """One mail, one recipient, one transaction."""
        objection = self._fence.objection(recipient, outside=outside) or _unfit(octets)
        if objection:
            return objection
        with self._slots:
            try:
                connection = self._take() or self._connect()
            except (OSError, smtplib.SMTPException) as error:
                return Later(self._why_not_connected(error))
            outcome, clean = _transact(connection, envelope_sender, recipient, octets)
            if clean:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()
            return outcome

    def try_out(self) -> str | None:
        """Why no connection can be had, or None: for whoever sets it up. No mail is sent."""
        try:
            connection = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            return self._why_not_connected(error)
        with self._lock:
            self._idle.append(connection)
        return None

    def close(self) -> None:
        """QUIT every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(OSError, smtplib.SMTPException):  # it is going away in any case
                connection.quit()

    def _take(self) -> smtplib.SMTP | None:
        """An open connection that still answers."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            try:
                if connection.rset()[0] == 250:
                    return connection
            except (OSError, smtplib.SMTPException):
                pass  # the server ended it while it lay idle
            connection.close()

    def _connect(self) -> smtplib.SMTP:
        """A new connection, secured and logged in as configured."""
        settings, timeout = self._settings, self._settings.timeout_seconds
        connection: smtplib.SMTP
        if settings.tls == "implicit":
            connection = smtplib.SMTP_SSL(
                settings.host, settings.port, self._hostname, timeout=timeout, context=self._tls
            )
        else:
            connection = smtplib.SMTP(settings.host, settings.port, self._hostname, timeout=timeout)
        try:
            if connection.sock is not None:  # the last dot is a small packet: it must not wait for others
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.ehlo_or_helo_if_needed()
            if settings.tls == "starttls":
                connection.starttls(context=self._tls)
                connection.ehlo_or_helo_if_needed()
            if settings.user and settings.password is not None:
                connection.login(settings.user, settings.password.get_secret_value())
        except (OSError, smtplib.SMTPException):
            connection.close()
            raise
        return connection

    def _why_not_connected(self, error: OSError | smtplib.SMTPException) -> str:
        where = f"{self._settings.host}:{self._settings.port}"
        match error:
            case smtplib.SMTPAuthenticationError():
                return f"Smarthosten {where} godtar inte vår inloggning (smarthost.user): {_answer(error)}"
            case smtplib.SMTPNotSupportedError():
                return f"Smarthosten {where} saknar något som inställningarna kräver: {error}"
            case smtplib.SMTPResponseException():
                return f"Smarthosten {where} tog inte emot oss: {_answer(error)}"
            case ssl.SSLCertVerificationError():
                return f"Smarthosten {where} har ett certifikat som inte godtas: {error.verify_message}"
            case OSError():
                return f"Smarthosten {where} går inte att nå: {error.strerror or error}"
            case _:
                return f"Smarthosten {where} svarar inte som den ska: {error}"


def _tls_context(settings: config.Smarthost) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.tls_ca_file)
    except OSError as error:
        raise config.ConfigError(
            f"smarthost.tls_ca_file: cannot use {settings.tls_ca_file}: {error.strerror or error}"
        ) from error


def _answer(error: smtplib.SMTPResponseException) -> str:
    return _words(error.smtp_code, error.smtp_error)


def _words(code: int, text: bytes | str) -> str:
    """A reply in the server's own words, on one line, without what a database or a page could not hold."""
    said = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    shown = "".join(letter if letter.isprintable() else " " for letter in said)
    return f"{code} {' '.join(shown.split())}"[:_REPLY_CHARS]


def _unfit(octets: bytes) -> Never | None:
    """SMTP carries lines that end with CRLF and nothing else (RFC 5321 2.3.8); a bare LF can be made to smuggle."""
    if octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r"):
        return None
    return Never("Mejlet har radslut som inte kan skickas med SMTP.")


def _transact(connection: smtplib.SMTP, sender: str, recipient: str, octets: bytes) -> tuple[Outcome, bool]:
    """One mail transaction (RFC 5321 3.3), and whether the connection may be used again."""
    lacking = _lacking(connection, recipient, octets)
    if lacking:
        return lacking, True
    under_way = False
    try:
        refused = _open_transaction(connection, _commands(connection, sender, recipient, octets))
        if refused:
            return refused, False
        under_way = True
        for chunk in _chunks(_stuffed(octets)):
            connection.send(chunk)
        connection.send(b".\r\n" if octets.endswith(b"\r\n") else b"\r\n.\r\n")
        code, text = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        doubt = " Mejlet kan ändå ha kommit fram." if under_way else ""
        return Later(f"Förbindelsen med smarthosten bröts: {error}{doubt}"), False
    if code // 100 == 2:
        return Sent(_words(code, text)), True
    return _refusal("DATA", code, text), True


def _lacking(connection: smtplib.SMTP, recipient: str, octets: bytes) -> Outcome | None:
    """What the server does not offer and this mail needs."""
    largest = connection.esmtp_features.get("size", "")
    if largest.isdigit() and 0 < int(largest) < len(octets):  # RFC 1870 4: 0 means no limit
        return Never(f"Mejlet är {len(octets)} byte och smarthosten tar emot högst {largest}.")
    if not octets.isascii() and not connection.has_extn("8bitmime"):
        return Later("Smarthosten erbjuder inte 8BITMIME, som det här mejlet behöver (RFC 6152).")
    if not recipient.isascii() and not connection.has_extn("smtputf8"):
        return Never(f"Smarthosten kan inte skicka till {recipient}: den erbjuder inte SMTPUTF8 (RFC 6531).")
    return None


def _commands(connection: smtplib.SMTP, sender: str, recipient: str, octets: bytes) -> tuple[str, str, str]:
    local, _, domain = recipient.rpartition("@")
    mail = f"MAIL FROM:<{sender}>"
    if connection.has_extn("size"):
        mail += f" SIZE={len(octets)}"
    if not octets.isascii():
        mail += " BODY=8BITMIME"
    if not local.isascii():
        mail += " SMTPUTF8"
    return mail, f"RCPT TO:<{local}@{_a_label(domain)}>", "DATA"


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
    words = _words(code, text)
    if code // 100 != 5 or code in _AUTHENTICATION:
        return Later(words)
    if verb == "MAIL" and code != _TOO_LARGE:
        return Later(f"Smarthosten godtar inte vår avsändaradress (forward.reply_address): {words}")
    return Never(words)


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
