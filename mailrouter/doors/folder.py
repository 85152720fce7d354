"""A connection to an IMAP server with one folder selected: the few acts the watcher needs.

IMAPClient speaks the protocol. Two of its habits are corrected in ``_connect``: without a timeout it
hangs for ever, and it formats every response for a log nobody reads (73 % of the time of a fetch).
"""

import imaplib
import select
import socket
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from imapclient import DELETED, IMAPClient
from imapclient.exceptions import ProtocolError

from mailrouter.config import ConfigError, ImapAccount

SEARCH_WINDOW = 80_000  # UIDs asked for at once: imaplib refuses a line over 1,000,000 octets
SIZE_WINDOW = 500


class FolderError(Exception):
    """The server's mailbox cannot be used as it is; the message says why."""


class RefusedError(Exception):
    """The server said NO and the connection is sound; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One mail as the server gave it; ``size`` and ``received_at`` are None where it did not say."""

    octets: bytes = field(repr=False)
    size: int | None
    received_at: datetime | None


def client_tls(account: ImapAccount) -> ssl.SSLContext | None:
    """How the account's server is trusted; None without TLS. Raises ConfigError when the CA file is unusable."""
    if account.tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=account.tls_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"imap account {account.name}: tls_ca_file {account.tls_ca_file} cannot be used: {error.strerror or error}"
        ) from error


class Folder:
    """One folder of a server, selected by ``open``. After anything but RefusedError the connection is of no more use.

    The folder is opened for reading only unless mails are to be moved; ``\\Seen`` is never set.
    """

    def __init__(self, account: ImapAccount, name: str, tls: ssl.SSLContext | None) -> None:
        self.name = name
        self.uidvalidity = 0
        self._uidnext = 0
        self._account = account
        self._move_to = account.move_to
        self._client = _connect(account, tls)

    def open(self) -> None:
        """Log in and select the folder. Raises FolderError when its mails cannot be told apart, or not be moved."""
        if self._account.user:
            assert self._account.password is not None
            self._client.login(self._account.user, self._account.password.get_secret_value())
        if self._move_to and not self.moves:
            raise FolderError("move_to needs a server with MOVE (RFC 6851) or UIDPLUS (RFC 4315)")
        if self._move_to and not self._client.folder_exists(self._move_to):
            self._client.create_folder(self._move_to)
        selected = self._client.select_folder(self.name, readonly=not self._move_to)
        if b"UIDVALIDITY" not in selected:
            raise FolderError("the server gives no UIDVALIDITY, so its UIDs mean nothing (RFC 3501 2.3.1.1)")
        self.announced()  # what SELECT says is no news: it is looked at next
        self.uidvalidity = int(selected[b"UIDVALIDITY"])
        self._uidnext = int(selected.get(b"UIDNEXT", 0))

    @property
    def moves(self) -> bool:
        """True when mails are moved out of the folder once they are registered."""
        return bool(self._move_to) and (self._client.has_capability("MOVE") or self._client.has_capability("UIDPLUS"))

    def uids(self, first: int) -> list[int]:
        """The UIDs from ``first`` on, ascending."""
        found: set[int] = set()
        start = first
        while start + SEARCH_WINDOW < self._uidnext:
            found.update(self._client.search(["UID", f"{start}:{start + SEARCH_WINDOW - 1}"]))
            start += SEARCH_WINDOW
        # N:* names the last mail even when its UID is below N (RFC 3501 6.4.8)
        found.update(uid for uid in self._client.search(["UID", f"{start}:*"]) if uid >= start)
        return sorted(found)

    def announced(self) -> bool:
        """True when the server has said since the last call that mails came in; IDLE would not say it again."""
        return bool(self._client._imap.untagged_responses.pop("EXISTS", None))

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """RFC822.SIZE of each mail, where the server tells it."""
        found: dict[int, int] = {}
        for start in range(0, len(uids), SIZE_WINDOW):
            with suppress(RefusedError):
                answer = self._fetch(uids[start : start + SIZE_WINDOW], ["RFC822.SIZE"])
                found |= {uid: int(data[b"RFC822.SIZE"]) for uid, data in answer.items() if b"RFC822.SIZE" in data}
        return found

    def fetch(self, uids: Sequence[int]) -> dict[int, Fetched]:
        """The mails, without those that are gone or that the server does not give. Raises RefusedError."""
        answer = self._fetch(uids, ["RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]"])
        return {
            uid: Fetched(data[b"BODY[]"], data.get(b"RFC822.SIZE"), data.get(b"INTERNALDATE"))
            for uid, data in answer.items()
            if isinstance(data.get(b"BODY[]"), bytes)
        }

    def _fetch(self, uids: Sequence[int], items: list[str]) -> dict[int, dict[bytes, Any]]:
        try:
            answer: dict[int, dict[bytes, Any]] = self._client.fetch(uids, items)
        except (imaplib.IMAP4.abort, ProtocolError):
            raise
        except imaplib.IMAP4.error as error:
            self._client.noop()  # raises unless we still understand each other
            raise RefusedError(str(error)[:200]) from error
        return answer

    def move(self, uids: Collection[int]) -> None:
        """Put mails into the account's ``move_to`` folder. Raises RefusedError.

        Without MOVE it is a copy, a flag and an expunge of these UIDs alone; dying in between leaves a
        second copy in the target folder, never one too few.
        """
        try:
            if self._client.has_capability("MOVE"):
                self._client.move(uids, self._move_to)
                return
            self._client.copy(uids, self._move_to)
            self._client.add_flags(uids, [DELETED], silent=True)
            self._client.uid_expunge(uids)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            self._client.noop()
            raise RefusedError(str(error)[:200]) from error

    def wait(self, seconds: float, wake: socket.socket) -> None:
        """Return when the server has news, when ``wake`` becomes readable, or after ``seconds``.

        Uses IDLE (RFC 2177), and only time on servers without it.
        """
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        if not self._client.has_capability("IDLE"):
            poller.poll(seconds * 1000)
            return
        self._client.idle()
        poller.register(self._client.socket(), select.POLLIN)
        if not self._told_already():
            poller.poll(seconds * 1000)
        self._client.idle_done()

    def _told_already(self) -> bool:
        """True when news came in the packet that opened IDLE: they are read in already, and the socket is silent."""
        server = self._client.socket()
        server.setblocking(False)
        try:
            return bool(self._client._imap.file.peek(1))
        except OSError:  # TLS has nothing yet
            return False
        finally:
            server.settimeout(self._account.timeout_seconds)

    def cut(self) -> None:
        """Break the connection, from whichever thread: whoever waits for the server hears of it at once."""
        with suppress(OSError):
            self._client.socket().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Log out if the server still listens, and let go of the connection."""
        with suppress(OSError, imaplib.IMAP4.error):
            self._client.logout()
        with suppress(OSError, imaplib.IMAP4.error):
            self._client.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(account: ImapAccount, tls: ssl.SSLContext | None) -> IMAPClient:
    client = IMAPClient(
        account.host,
        account.port,
        ssl=account.tls == "implicit",
        ssl_context=tls,
        timeout=float(account.timeout_seconds),
    )
    client._imap.debug = 0  # IMAPClient sets 5 and so has every response formatted, logged or not
    client.normalise_times = False  # aware times, not the server process's local ones
    if account.tls == "starttls":
        client.starttls(tls)
    return client
