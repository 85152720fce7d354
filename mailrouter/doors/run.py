"""Everything the doors process opens: SMTP, LMTP and the IMAP watchers, sharing one intake."""

from typing import Any

from mailrouter.config import ConfigError, Settings
from mailrouter.doors.imap import Watcher, watchers
from mailrouter.doors.intake import Intake
from mailrouter.doors.smtp import SmtpDoor
from mailrouter.store import Store


class Doors:
    """The doors that ``settings`` configures. Raises ConfigError from the constructor or ``start``."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._intake = Intake(store, settings)
        self._watchers: list[Watcher] = []
        try:
            self.smtp = SmtpDoor(self._intake, settings)
            self._watchers = watchers(settings, store, self._intake)
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
        for watcher in self._watchers:
            watcher.stop()
        self.smtp.close()
        for watcher in self._watchers:
            watcher.join()
        self._intake.close()

    def status(self) -> dict[str, Any]:
        """What the doors have to say about themselves, as JSON-ready values, for the heartbeat."""
        return {
            "smtp": self.smtp.status(),
            "imap": {watcher.name: watcher.status() for watcher in self._watchers},
        }
