"""The IMAP watchers: one thread for each folder, which never gives up.

IDLE tells of new mail at once (RFC 2177); a look every ``poll_seconds`` finds what IDLE did not tell.
A broken connection is made anew after 0.5, 1, 2 ... seconds, at most five minutes, with jitter.
"""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from imapclient.exceptions import ProtocolError
from sqlalchemy.exc import SQLAlchemyError

from mailrouter.config import ConfigError, ImapAccount, Settings
from mailrouter.doors.folder import Folder, client_tls
from mailrouter.doors.intake import Intake
from mailrouter.doors.pull import FolderState, Puller
from mailrouter.store import Store

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 300.0
LOOKS = 5  # without finding anything, before waiting although news are announced
STOP_SECONDS = 2.0  # time to finish what is under way before the connection is cut
_JITTER = secrets.SystemRandom()


class Watcher:
    """Watches one folder of one account in a thread. Raises ConfigError when its CA file is unusable."""

    def __init__(self, account: ImapAccount, folder: str, store: Store, intake: Intake) -> None:
        self._account = account
        self.name = f"{account.name}/{folder}"
        self._box = folder
        self._tls = client_tls(account)
        self._store = store
        self._intake = intake
        self._state = FolderState()
        self._folder: Folder | None = None
        self._connected_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._failures = 0
        self._error = ""
        self._stopping = threading.Event()
        self._wake, self._alarm = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"imap {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to watch; connecting happens in the thread, and is tried for ever."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it leaves IDLE at once and finishes the batch it is registering."""
        self._stopping.set()
        self._alarm.send(b"!")

    def ended(self, deadline: float) -> bool:
        """Wait until the monotonic clock shows ``deadline`` for a watcher that was told to stop."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def cut(self) -> None:
        """Break the connection of a watcher whose server does not answer."""
        folder = self._folder
        if folder is not None:
            folder.cut()

    def status(self) -> dict[str, Any]:
        """For the heartbeat: since when it is connected, how far it has read, what is wrong."""
        return {
            "alive": self._thread.is_alive(),
            "connected_at": self._connected_at and self._connected_at.isoformat(timespec="seconds"),
            "looked_at": self._looked_at and self._looked_at.isoformat(timespec="seconds"),
            "last_uid": self._state.last_uid,
            "taken": self._state.taken,
            "held": {str(uid): held.reason for uid, held in self._state.held.copy().items()},
            "last_error": self._error or self._state.move_error,
        }

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with Folder(self._account, self._box, self._tls) as folder:
                    self._folder = folder
                    folder.open()
                    self._watch(folder)
            except Exception as error:  # noqa: BLE001 (whatever broke this connection, the box is watched on)
                self._failures += 1
                self._error = _describe(error)
                log.warning("imap-lost account=%s folder=%s error=%s", self._account.name, self._box, self._error)
            self._folder = self._connected_at = None
            self._stopping.wait(_pause(self._failures))

    def _watch(self, folder: Folder) -> None:
        """Take what is there, then wait for more, until told to stop or the connection breaks."""
        self._connected_at = datetime.now(UTC)
        puller = Puller(self._account.name, folder, self._store, self._intake, self._state, self._stopping)
        log.info("imap-watching account=%s folder=%s", self._account.name, self._box)
        looks = 0
        while not self._stopping.is_set():
            found = puller.pull()
            self._failures, self._error, self._looked_at = 0, "", datetime.now(UTC)
            looks = 0 if found else looks + 1
            # What came in while we looked was announced already, and IDLE would not say it again. A server
            # that announces with every answer is not looked at for ever.
            if not found and not (folder.announced() and looks < LOOKS):
                folder.wait(min(self._account.poll_seconds, self._account.idle_seconds), self._wake)
                looks = 0


def stop(watching: Sequence[Watcher]) -> None:
    """End watchers together. Those that wait for a silent server are cut off; nothing of theirs is under way."""
    for watcher in watching:
        watcher.stop()
    deadline = time.monotonic() + STOP_SECONDS
    hanging = [watcher for watcher in watching if not watcher.ended(deadline)]
    for watcher in hanging:
        watcher.cut()
    deadline = time.monotonic() + STOP_SECONDS
    for watcher in hanging:
        watcher.ended(deadline)


def watchers(settings: Settings, store: Store, intake: Intake) -> list[Watcher]:
    """One for each configured folder, not started. Raises ConfigError."""
    boxes = [(account, folder) for account in settings.imap for folder in account.folders]
    names = [(account.name, folder) for account, folder in boxes]
    for name, folder in names:
        if names.count((name, folder)) > 1:
            raise ConfigError(f"imap: folder {folder} of account {name} is configured twice; names must differ")
    return [Watcher(account, folder, store, intake) for account, folder in boxes]


def _pause(failures: int) -> float:
    """Seconds until the next connection."""
    return (
        min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)) * _JITTER.uniform(0.8, 1.2) if failures else 0.0
    )


def _describe(error: Exception) -> str:
    """What went wrong, for a person; a server's broken answer may hold pieces of a mail, and is not shown."""
    if isinstance(error, ProtocolError):
        return "the server's answer could not be understood"
    if isinstance(error, SQLAlchemyError):
        return f"database: {type(error).__name__}"
    return f"{type(error).__name__}: {str(error)[:200]}"
