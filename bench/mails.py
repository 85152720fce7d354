"""Mails to measure with: the same ones in every run, each one different."""

import random
from email.message import EmailMessage

LEAST, MOST = 3 * 1024, 50 * 1024
WORDS = (
    "hej", "lampan", "på", "gatan", "lyser", "inte", "sedan", "i", "måndags", "och", "det", "är", "mörkt",
    "när", "barnen", "går", "till", "skolan", "därför", "undrar", "jag", "om", "någon", "kan", "komma", "och",
    "laga", "den", "tack", "på", "förhand", "med", "vänlig", "hälsning",
)  # fmt: skip


def generated(count: int) -> list[bytes]:
    """``count`` mails of 3 to 50 KiB, some with an attachment."""
    chance = random.Random(20260301)
    return [_mail(chance, index) for index in range(count)]


def _mail(chance: random.Random, index: int) -> bytes:
    mail = EmailMessage()
    mail["From"] = f"Anna Berg <anna{index}@post.example>"
    mail["To"] = "goteborg@stad.example"
    mail["Subject"] = f"Trasig gatlykta nummer {index}"
    mail["Date"] = "Mon, 02 Mar 2026 09:00:00 +0100"
    mail["Message-ID"] = f"<{index}@post.example>"
    size = int(LEAST * (MOST / LEAST) ** chance.random())
    mail.set_content("\n".join(" ".join(chance.choices(WORDS, k=10)) for _ in range(size // 120)))
    if index % 3 == 0:
        mail.add_attachment(chance.randbytes(size // 3), maintype="image", subtype="jpeg", filename="bild.jpg")
    return mail.as_bytes().replace(b"\n", b"\r\n")
