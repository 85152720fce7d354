"""A real smarthost: its connections, secured and logged in as configured."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress

from mailrouter import config
from mailrouter.smarthost.outcomes import Fence, Later, Outcome
from mailrouter.smarthost.transaction import Parcel, transact, unfit, words


class SmtpSmarthost:
    """A real smarthost: up to ``settings.connections`` connections, kept open and used again."""

    def __init__(self, settings: config.Smarthost, domains: Iterable[str], hostname: str) -> None:
        self._settings = settings
        self._fence = Fence(domains)
        self._hostname = hostname
        self._tls = _tls_context(settings)
        self._slots = threading.BoundedSemaphore(settings.connections)
        self._lock = threading.Lock()
        self._idle: list[smtplib.SMTP] = []

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
        """One mail, one recipient, one transaction."""
        objection = self._fence.objection(recipient, outside=outside) or unfit(octets)
        if objection:
            return objection
        parcel = Parcel(envelope_sender, recipient, octets, secure=secure, envelope_id=envelope_id, confirm=confirm)
        with self._slots:
            try:
                connection = self._take() or self._connect()
            except (OSError, smtplib.SMTPException) as error:
                return Later(self._why_not_connected(error))
            outcome, clean = transact(connection, parcel)
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
    return words(error.smtp_code, error.smtp_error)
