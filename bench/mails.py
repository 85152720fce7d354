"""Mails to measure with: the same ones in every run, each one different."""

import random
from email import policy
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


def ordinary(count: int) -> list[bytes]:
    """``count`` mails of 1 to 19 KiB (median 7) as citizens' programs write them.

    Half have HTML beside the text, many are answers with a quoted thread and a signature, some carry a picture, a
    few are HTML alone.
    """
    chance = random.Random(20260302)
    return [_ordinary(chance, index) for index in range(count)]


def _ordinary(chance: random.Random, index: int) -> bytes:
    kind = index % 20
    own = _lines(chance, chance.randrange(8, 30))
    thread = _lines(chance, chance.randrange(4, 20)) if kind % 2 else []
    mail = EmailMessage()
    mail["Received"] = f"from post.example (post.example [192.0.2.1]) by mx.stad.example with ESMTPS id {index:08x}"
    mail["Return-Path"] = f"<anna{index}@post.example>"
    mail["DKIM-Signature"] = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=post.example; s=s1; b=" + "Zm9v" * 60
    mail["From"] = f"Åsa Öberg <anna{index}@post.example>"
    mail["To"] = "Göteborgs Stad <goteborg@stad.example>"
    mail["Subject"] = f"{'Sv: ' if thread else ''}Gatlyktan på Älvgatan {index} är trasig"
    mail["Date"] = "Mon, 02 Mar 2026 09:00:00 +0100"
    mail["Message-ID"] = f"<{index}.ordinary@post.example>"
    if thread:
        mail["In-Reply-To"] = f"<{index}.before@stad.example>"
    plain, html = _plain(own, thread), _html(chance, own, thread)
    if kind < 8:
        mail.set_content(plain, cte="8bit" if kind < 4 else "quoted-printable")
    elif kind < 18:
        mail.set_content(plain, cte="quoted-printable")
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
    else:
        mail.set_content(html, subtype="html", cte="base64")
    if kind in {3, 16, 17}:
        picture = chance.randbytes(4_000)
        mail.add_attachment(picture, maintype="image", subtype="jpeg", filename=f"bild {index}.jpg")
    return mail.as_bytes(policy=policy.SMTP)


def _lines(chance: random.Random, count: int) -> list[str]:
    return ["Lampan " + " ".join(chance.choices(WORDS, k=chance.randrange(6, 13))) + "." for _ in range(count)]


def _plain(own: list[str], thread: list[str]) -> str:
    said = ["Hej!", "", *own, "", "Med vänlig hälsning", "Åsa Öberg", "070-000 00 00"]
    if thread:
        said += ["", "Den mån 2 mars 2026 kl 08:12 skrev Göteborgs Stad <goteborg@stad.example>:", ""]
        said += [f"> {line}" for line in thread]
    return "\n".join(said) + "\n"


def _html(chance: random.Random, own: list[str], thread: list[str]) -> str:
    style = "font-family:Calibri,Arial,sans-serif;font-size:11pt;color:#1f497d;margin:0 0 6pt 0"
    said = [f'<p class="MsoNormal" style="{style}"><span lang="SV">{line}</span></p>' for line in own]
    quote = "".join(f'<div dir="ltr">{line}<br></div>' for line in thread)
    if quote:
        quote = f'<div class="gmail_quote"><blockquote type="cite" style="margin:0 0 0 .8ex">{quote}</blockquote></div>'
    styles = "".join(f".x{n} {{margin:{chance.randrange(9)}pt; color:#{n:06x}}}\n" for n in range(chance.randrange(40)))
    return (
        f'<html><head><meta charset="utf-8"><style>{styles}</style></head><body><p>Hej!</p>{"".join(said)}'
        f"<p>Med vänlig hälsning<br>Åsa Öberg</p>{quote}</body></html>\n"
    )
