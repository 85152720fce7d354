"""One SMTP or LMTP connection: aiosmtpd's, with the hot spots, the limits and the failures made ours.

It relies on private names of aiosmtpd 1.4.6 (``_reader._buffer``, ``_getaddr``, ``_handle_client``,
``_timeout_cb``, ``_reset_timeout``); tests/test_smtp.py holds what they must do. No trace field is added
to a mail (RFC 5321 4.4): the register keeps the octets as they came, and the envelope beside them.

Timeouts follow RFC 5321 4.5.3.2: five minutes for a command, three for a piece of data. So that a client
that drips octets does not keep its place for ever, a connection must also finish a mail within an hour.
"""

import asyncio
import logging
import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ssl import SSLContext
from typing import Any, cast

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, TLSSetupException

from mailrouter.doors.bell import Bell
from mailrouter.doors.data import DataCollector
from mailrouter.doors.intake import Intake
from mailrouter.doors.recipients import Recipients
from mailrouter.ingest import Arrival, Taken, delivery_key
from mailrouter.tables import Disposition

log = logging.getLogger(__name__)
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's own lines hold addresses and content

COMMAND_OCTETS = 2_048  # RFC 5321 4.5.3.1.4 asks for 512; addresses and parameters have grown since
FLUSH_SECONDS = 10.0
CHUNK = 256 * 1024
LARGE = 1024 * 1024  # reading the header and the fingerprints of a larger mail would hold up the loop

UNAVAILABLE = "451 4.3.0 The mail cannot be taken just now, try again later"
CROWDED = "452 4.3.1 Too much mail at once, try again later"
GOODBYE = "421 4.3.2 Closing for a while, try again later"
FULL = "421 4.3.2 Too many connections, try again later"
TIMEOUT = "421 4.4.2 Waited too long, closing"

_ORDINARY = re.compile(r"<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+)>(?: +(.*))?")
_DONE = {Disposition.CASE: "registered as", Disposition.JOINED: "joined to", Disposition.DUPLICATE: "known as"}
_ENHANCED = {  # RFC 3463 codes for the replies that aiosmtpd words itself
    "221": "2.0.0", "250": "2.0.0", "454": "4.7.0", "500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "503": "5.5.1",
    "504": "5.5.4", "538": "5.7.11", "552": "5.3.4", "554": "5.7.0", "555": "5.5.4",
}  # fmt: skip


@dataclass
class Shared:
    """What the connections of a process share; only the loop's thread changes it."""

    intake: Intake
    bell: Bell
    recipients: Recipients
    hostname: str
    max_bytes: int
    max_recipients: int
    max_connections: int
    tls: SSLContext | None
    command_seconds: float = 300.0
    data_seconds: float = 180.0
    mail_seconds: float = 3_600.0
    acknowledge_seconds: float = 300.0  # a client waits ten minutes after the dot (RFC 5321 4.5.3.2.6)
    max_held: int = 512 * 1024 * 1024  # octets of unfinished mails
    sessions: "set[Session]" = field(default_factory=set)
    held: int = 0
    waiting: int = 0  # mails that are being made durable
    taken: int = 0
    deferred: int = 0
    closing: bool = False


class Hooks:
    """The decisions aiosmtpd asks for by name."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def handle_EHLO(  # noqa: N802 (aiosmtpd calls it by this name)
        self, _server: SMTP, session: Any, _envelope: Any, hostname: str, offers: list[str]
    ) -> list[str]:
        """What this door offers, as one reply. Logging in is not among it."""
        session.host_name = hostname
        names = [offer[4:] for offer in offers if not offer[4:].startswith(("AUTH", "HELP"))]
        names += ["PIPELINING", "ENHANCEDSTATUSCODES"]
        return ["\r\n".join([*(f"250-{name}" for name in names[:-1]), f"250 {names[-1]}"])]

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Take a recipient of ours; refuse all others."""
        if not self._shared.recipients.accept(address):
            return "550 5.1.1 No such recipient here"
        if len(envelope.rcpt_tos) >= self._shared.max_recipients:
            return "452 4.5.3 Too many recipients, send the others another time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Known recipient"

    async def handle_exception(self, error: Exception) -> str:
        """Our own failure is never a refusal: the mail stays with its sender, who tries again."""
        log.error("smtp-exception error=%s", type(error).__name__)
        return UNAVAILABLE


class Session(SMTP):
    """One SMTP connection."""

    source = "smtp"
    greeting = "ESMTP"
    line_length_limit = 64 * 1024  # of the reader's buffer, so that data comes in large pieces
    command_size_limit = COMMAND_OCTETS

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            Hooks(shared),
            data_size_limit=shared.max_bytes,
            enable_SMTPUTF8=True,
            hostname=shared.hostname,
            ident=self.greeting,
            tls_context=shared.tls,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
            loop=loop,
        )
        self.command_size_limits = defaultdict(lambda: COMMAND_OCTETS)  # aiosmtpd shares one among all connections
        self.in_data = False
        self._shared = shared
        self._deadline = self._armed_for = math.inf
        self._renew_patience()

    # ---- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called again when STARTTLS is done."""
        self._shared.sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End. A mail whose end mark was seen is registered all the same."""
        self._shared.sessions.discard(self)
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        """The client has said all it will say, and may still wait for our replies: finish what is here."""
        self._reader.feed_eof()
        return self._tls_protocol is None

    def dismiss(self, reply: str) -> None:
        """Say goodbye and close; a client that does not listen is cut off."""
        transport = cast(asyncio.Transport | None, self.transport)
        if transport is None or transport.is_closing():
            return
        transport.write(reply.encode() + b"\r\n")
        transport.close()
        self.loop.call_later(FLUSH_SECONDS, transport.abort)

    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        except ConnectionError:
            log.debug("smtp-connection-lost")

    async def handle_exception(self, error: Exception) -> str:
        """The reply to an exception in a command."""
        if isinstance(error, asyncio.IncompleteReadError | TLSSetupException):
            if self.transport is not None:
                self.transport.close()
            return "421 4.4.2 Connection closed"
        return str(await super().handle_exception(error))

    def _timeout_cb(self) -> None:
        if self.loop.time() < self._deadline:
            self._arm()
        else:
            self.dismiss(TIMEOUT)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Move the deadline; the timer is left alone unless it would ring too late, since this is done all the time."""
        self._deadline = min(self.loop.time() + (duration or self._shared.command_seconds), self._patience_ends)
        if self._deadline < self._armed_for:
            self._arm()

    def _arm(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._armed_for = self._deadline
        self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _renew_patience(self) -> None:
        self._patience_ends = self.loop.time() + self._shared.mail_seconds

    # ---- commands

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        ordinary = _ORDINARY.fullmatch(arg)  # the full grammar costs a quarter of a small mail's time
        if ordinary:
            return ordinary[1], ordinary[2] or ""
        address, rest = super()._getaddr(arg)
        return address, rest

    async def push(self, status: str) -> None:  # type: ignore[override]  # aiosmtpd itself pushes nothing but text
        """Send a reply, with an enhanced status code where aiosmtpd gives none (RFC 2034)."""
        assert self.session is not None
        code = status[:3]
        if code in _ENHANCED and status[3:4] == " " and status[5:6] != "." and self.session.extended_smtp:
            status = f"{code} {_ENHANCED[code]} {status[4:]}"
        await super().push(status)

    async def smtp_VRFY(self, _arg: str | None) -> None:  # noqa: N802
        """Tell nobody who exists here (RFC 5321 7.3)."""
        await self.push("252 2.5.0 Send the mail and see")

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        """Take a mail. 250 is said when it is durable, and never otherwise."""
        if await self.check_helo_needed():
            return
        assert self.envelope is not None
        recipients = tuple(self.envelope.rcpt_tos)
        if not recipients:
            await self.push("503 5.5.1 No valid recipients")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        self.in_data = True
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            collector = await self._collect()
            status = await self._take(collector, self.envelope.mail_from or "", recipients)
            await self.push("\r\n".join([status] * self._replies(recipients)))
        finally:
            self.in_data = False
        self.envelope = self._create_envelope()
        self._renew_patience()
        self._reset_timeout()
        if self._shared.closing:
            self.dismiss(GOODBYE)

    def _replies(self, _recipients: tuple[str, ...]) -> int:
        return 1

    async def _collect(self) -> DataCollector:
        """Read up to the end mark; what was sent behind it is the next command."""
        collector, held = DataCollector(self._shared.max_bytes), 0
        try:
            while chunk := await self._reader.read(CHUNK):
                rest = collector.feed(chunk)
                if rest is not None:
                    self._reader._buffer[:0] = rest  # type: ignore[attr-defined]  # private, see above
                    return collector
                if self._shared.held > self._shared.max_held:
                    collector.discard(CROWDED)
                self._shared.held += collector.held - held
                held = collector.held
                self._reset_timeout(self._shared.data_seconds)
        finally:
            self._shared.held -= held
        raise ConnectionResetError("the client left in the middle of its mail")

    async def _take(self, collector: DataCollector, sender: str, recipients: tuple[str, ...]) -> str:
        """Hand a mail to the intake; the reply says what became of it."""
        octets = collector.octets()
        if collector.refusal:
            return collector.refusal
        arrival = Arrival(
            octets=octets,
            source=self.source,
            source_key=delivery_key(),
            received_at=datetime.now(UTC),
            envelope_sender="" if sender == "<>" else sender,
            envelope_recipients=recipients,
        )
        self._shared.waiting += 1
        try:
            taken = await self._durable(arrival)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is our failure: the sender keeps the mail)
            self._shared.deferred += 1
            log.error("smtp-deferred source=%s error=%s", self.source, type(error).__name__)  # noqa: TRY400
            return UNAVAILABLE
        finally:
            self._shared.waiting -= 1
        self._shared.taken += 1
        log.info("smtp-taken source=%s case=%s as=%s", self.source, taken.number, taken.disposition)
        return f"250 2.0.0 {_DONE[taken.disposition]} {taken.number}"

    async def _durable(self, arrival: Arrival) -> Taken:
        """Wait until the mail is committed. Raises what the intake raises, and TimeoutError.

        A mail that is committed after the client was told to try again is known by its identity when it does.
        """
        self._renew_patience()
        self._reset_timeout(self._shared.acknowledge_seconds * 2)
        async with asyncio.timeout(self._shared.acknowledge_seconds):
            if len(arrival.octets) > LARGE:
                future = await asyncio.to_thread(self._shared.intake.submit, [arrival])
            else:
                future = self._shared.intake.submit([arrival])
            (taken,) = await self._shared.bell.wait(future)
        return taken


class LmtpSession(Session, LMTP):
    """One LMTP connection (RFC 2033)."""

    source = "lmtp"
    greeting = "LMTP"

    def _replies(self, recipients: tuple[str, ...]) -> int:
        return len(recipients)  # RFC 2033 4.2: one reply for each recipient


class Refusal(asyncio.Protocol):
    """A connection there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so and close."""
        leaving = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        leaving.write(FULL.encode() + b"\r\n")
        leaving.close()
