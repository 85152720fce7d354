"""The moment at which tests without a running service take place."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Stockholm")
