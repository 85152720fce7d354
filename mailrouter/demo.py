"""The demo: a dozen sample mails, sent to the SMTP door the way a mail server would."""

import shlex
import smtplib
from importlib import resources

from sqlmodel import col, select

from mailrouter import letter
from mailrouter.config import ConfigError, Settings
from mailrouter.store import Store
from mailrouter.tables import Mail

TIMEOUT_SECONDS = 30
ENVELOPE_SENDER = "demo@avsandare.example"


class DoorClosedError(ConnectionRefusedError):
    """Nobody listens at the SMTP door, or not yet."""


class DemoError(Exception):
    """The door did not take a sample mail; the message says why."""


def demo_mails() -> dict[str, bytes]:
    """The sample mails by file name, in order: varied matters, clients, charsets and languages; all invented."""
    folder = resources.files("mailrouter") / "demo_mails"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".eml")), key=lambda entry: entry.name)
    return {file.name: file.read_bytes() for file in files}


def feed(settings: Settings, store: Store) -> int:
    """Send the sample mails that the register does not have yet; how many were sent.

    Raises DoorClosedError while nobody listens, DemoError when the door refuses a mail.
    """
    missing = _missing(store)
    if not missing:
        return 0
    host, port, recipient = _door(settings)
    try:
        with smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS) as door:
            for octets in missing:
                door.sendmail(ENVELOPE_SENDER, [recipient], octets)
    except ConnectionRefusedError as error:
        raise DoorClosedError(f"nobody listens on {settings.smtp.listen}; `mailrouter run` opens the door") from error
    except (OSError, smtplib.SMTPException) as error:
        raise DemoError(f"the SMTP door on {settings.smtp.listen} did not take the sample mails: {error}") from error
    return len(missing)


def send_command(settings: Settings) -> str:
    """A shell command that sends one mail to the door with nothing but Python."""
    host, port, recipient = _door(settings)
    script = (
        "import smtplib, email.message, email.utils; m = email.message.EmailMessage(); "
        f'm["From"], m["To"], m["Subject"] = "anna@avsandare.example", "{recipient}", "Oplogad gata"; '
        'm["Message-ID"] = email.utils.make_msgid(domain="avsandare.example"); '
        'm.set_content("Ingen har plogat Mariagatan i Majorna på tre dagar."); '
        f'smtplib.SMTP("{host}", {port}).send_message(m)'
    )
    return f"python3 -c {shlex.quote(script)}"


def _missing(store: Store) -> list[bytes]:
    """The mails whose Message-ID the register does not know: a second start adds nothing."""
    by_message_id = {letter.head(octets).message_id: octets for octets in demo_mails().values()}
    with store.read() as session:
        known = set(session.exec(select(Mail.message_id).where(col(Mail.message_id).in_(by_message_id))))
    return [octets for message_id, octets in by_message_id.items() if message_id not in known]


def _door(settings: Settings) -> tuple[str, int, str]:
    """Host and port of the SMTP door, and an address it takes mail for."""
    if not settings.smtp.listen or not settings.smtp.recipients:
        raise ConfigError("the sample mails need smtp.listen and an address in smtp.recipients")
    host, _, port = settings.smtp.listen.rpartition(":")
    return host.strip("[]"), int(port), settings.smtp.recipients[0]
