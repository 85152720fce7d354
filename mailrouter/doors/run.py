"""Everything the doors process opens: SMTP, LMTP and the IMAP watchers, sharing one intake."""

from typing import Any

from mailrouter.config import ConfigError, Settings
from mailrouter.doors import imap
from mailrouter.doors.intake import Intake
from mailrouter.doors.smtp import SmtpDoor
from mailrouter.store import Store


class Doors:
    """The doors that ``settings`` configures. Raises ConfigError from the constructor or ``start``."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._intake = Intake(store, settings)
        self._watchers: list[imap.Watcher] = []
        try:
            self.smtp = SmtpDoor(self._intake, settings)
            self._watchers = imap.watchers(settings, store, self._intake)
        except ConfigError:
            self._intake.close()
            raise

    def start(self) -> None:
        """Open all doors."""
        try:
            self.smtp.start()
        except ConfigError:
            self._intake.close()
            raise
        for watcher in self._watchers:
            watcher.start()

    def close(self) -> None:
        """Close the doors, then commit what they took in."""
        imap.stop(self._watchers)
        self.smtp.close()
        self._intake.close()

    def alive(self) -> bool:
        """False when something inside has died, so that only a new process helps."""
        return self._intake.alive() and self.smtp.alive()

    def status(self) -> dict[str, Any]:
        """What the doors have to say about themselves, as JSON-ready values, for the heartbeat."""
        return {
            "waiting": self._intake.waiting(),
            "smtp": self.smtp.status(),
            "imap": {watcher.name: watcher.status() for watcher in self._watchers},
        }
