"""Mails for tests, small and each one different."""

from email.message import EmailMessage

from mailrouter.ingest import Arrival, delivery_key
from tests.clock import NOW


def octets(subject: str = "Trasig lampa", body: str = "Lampan lyser inte på Mariagatan.", key: str = "1") -> bytes:
    """A plain mail from Anna; ``key`` makes it another one."""
    mail = EmailMessage()
    mail["From"] = "Anna Berg <anna@post.example>"
    mail["To"] = "goteborg@stad.example"
    mail["Subject"] = subject
    mail["Date"] = "Mon, 02 Mar 2026 09:00:00 +0100"
    mail["Message-ID"] = f"<{key}@post.example>"
    mail.set_content(body)
    return mail.as_bytes().replace(b"\n", b"\r\n")


def arrival(content: bytes, source: str = "smtp") -> Arrival:
    """``content`` at the door."""
    return Arrival(content, source, delivery_key(), NOW, "anna@post.example", ("goteborg@stad.example",))
