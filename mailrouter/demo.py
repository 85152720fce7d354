"""The demo: a dozen sample mails, sent to the SMTP door the way a mail server would."""

import smtplib
import time
from importlib import resources

from sqlmodel import col, select

from mailrouter import letter, store
from mailrouter.config import Settings
from mailrouter.tables import Mail

TIMEOUT_SECONDS = 30
ENVELOPE_SENDER = "demo@avsandare.example"


class DemoError(Exception):
    """The sample mails cannot be sent; the message says why."""


def demo_mails() -> dict[str, bytes]:
    """The sample mails by file name, in order: varied matters, clients, charsets and languages; all invented."""
    folder = resources.files("mailrouter") / "demo_mails"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".eml")), key=lambda entry: entry.name)
    return {file.name: file.read_bytes() for file in files}


def feed(settings: Settings, *, wait_seconds: float = 0) -> int:
    """Send the sample mails that the register does not have yet; how many were sent.

    ``wait_seconds`` is how long a door that does not answer yet is tried again. The schema must be in place.
    Raises DemoError when the door is closed or refuses, ConfigError when the store's address is unusable.
    """
    missing = _missing(settings)
    if not missing:
        return 0
    if not settings.smtp.listen or not settings.smtp.recipients:
        raise DemoError("the sample mails need smtp.listen and an address in smtp.recipients")
    try:
        with _door(settings.smtp.listen, time.monotonic() + wait_seconds) as door:
            for octets in missing:
                door.sendmail(ENVELOPE_SENDER, settings.smtp.recipients[:1], octets)
    except (OSError, smtplib.SMTPException) as error:
        raise DemoError(f"the SMTP door at {settings.smtp.listen} did not take the sample mails: {error}") from error
    return len(missing)


def _missing(settings: Settings) -> list[bytes]:
    """The mails whose Message-ID the register does not know: a second start adds nothing."""
    by_message_id = {letter.head(octets).message_id: octets for octets in demo_mails().values()}
    opened = store.connect(settings.store)
    try:
        with opened.read() as session:
            known = set(session.exec(select(Mail.message_id).where(col(Mail.message_id).in_(by_message_id))))
    finally:
        opened.dispose()
    return [octets for message_id, octets in by_message_id.items() if message_id not in known]


def _door(listen: str, until: float) -> smtplib.SMTP:
    host, _, port = listen.rpartition(":")
    while True:
        try:
            return smtplib.SMTP(host.strip("[]"), int(port), timeout=TIMEOUT_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
