"""Plain text as it came to text as it was meant: line ends, format=flowed (RFC 3676), odd spaces, åäö."""

import re

from mailrouter.letter import charset

TEXT_CHARS = 200_000  # goes to a database column and a page; the whole mail is kept as octets

_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad\u200e\u200f\u202a-\u202e\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GAPS = re.compile(r"\n[ \t]*(?:\n[ \t]*){3,}\n")


def tidy(text: str) -> tuple[str, list[str]]:
    """Text for people: one kind of line end, no invisible characters, åäö repaired; and the defects found."""
    defects = []
    text = charset.clean(text).replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\u00a0", " ").replace("\u202f", " ")
        text, repaired = charset.repair(text)
        if repaired:
            defects.append("double-encoded")
    text = _INVISIBLE.sub("", text)
    text = "\n".join(line if line == "-- " else line.rstrip() for line in text.split("\n"))
    text = _GAPS.sub("\n\n\n", text).strip("\n")
    if len(text) > TEXT_CHARS:
        text = text[:TEXT_CHARS]
        defects.append("text-cut")
    return text, defects


_SIGNED = re.compile(r"^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n(?:[A-Za-z]+: [^\n]*\n)*[ \t]*\r?\n", re.MULTILINE)
_ARMOR = re.compile(
    r"^-----BEGIN PGP SIGNATURE-----[ \t]*\r?$(?:.*?^-----END PGP SIGNATURE-----[ \t]*\r?\n?|.*)",
    re.MULTILINE | re.DOTALL,
)


def unsigned(text: str) -> tuple[str, str]:
    """Text without the armor of a cleartext signature (RFC 9580 7), and the defect found."""
    begin = _SIGNED.search(text)
    if begin is None:
        return text, "encrypted" if "-----BEGIN PGP MESSAGE-----" in text else ""
    armor = _ARMOR.search(text, begin.end())
    end = armor.start() if armor else len(text)
    words = re.sub(r"^- ", "", text[begin.end() : end], flags=re.MULTILINE)
    return text[: begin.start()] + words + (text[armor.end() :] if armor else ""), "signed-inline"


def unflow(text: str, *, delsp: bool) -> str:
    """Lines that the sender's client broke are joined again (RFC 3676 4.2). ``delsp``: the space goes too."""
    paragraphs: list[list[str]] = []
    open_depth = -1  # quote depth of the paragraph that goes on, or -1
    for line in text.replace("\r\n", "\n").split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        signature = content == "-- "
        flowed = content.endswith(" ") and not signature
        body = content[:-1] if flowed and delsp else content
        if open_depth == depth and not signature:
            paragraphs[-1].append(body)
        else:
            paragraphs.append([">" * depth + " " if depth else "", body])
        open_depth = depth if flowed else -1
    return "\n".join(map("".join, paragraphs))
