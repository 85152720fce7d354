"""Everything the doors process opens: SMTP, LMTP and the IMAP watchers, sharing one intake."""

from typing import Any

from mailrouter.config import Settings
from mailrouter.doors.intake import Intake
from mailrouter.doors.smtp import SmtpDoor
from mailrouter.store import Store


class Doors:
    """The doors that ``settings`` configures. Raises ConfigError from the constructor or ``start``."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._intake = Intake(store, settings)
        self.smtp = SmtpDoor(self._intake, settings)

    def start(self) -> None:
        """Open all doors."""
        self.smtp.start()

    def close(self) -> None:
        """Close the doors, then commit what they took in."""
        self.smtp.close()
        self._intake.close()

    def status(self) -> dict[str, Any]:
        """What the doors have to say about themselves, as JSON-ready values, for the heartbeat."""
        return {"smtp": self.smtp.status()}
