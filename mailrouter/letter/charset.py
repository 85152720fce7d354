"""Octets to text when the label lies. What comes out has no NUL and no lone surrogate."""

import codecs
import re
from functools import lru_cache

# Labels that are common in real mail and unknown to, or narrower in, Python's codecs. A superset stands
# for its subset, because writers use the superset's letters under the subset's name.
_ALIASES = {
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "win-1252": "cp1252",
    "windows1252": "cp1252",
    "cp-1252": "cp1252",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-9": "cp1254",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "koi8-ru": "koi8-u",
    "x-mac-cyrillic": "mac_cyrillic",
    "mac-cyrillic": "mac_cyrillic",
    "macintosh": "mac_roman",
    "mac": "mac_roman",
    "x-mac-roman": "mac_roman",
    "x-mac-ce": "mac_latin2",
    "x-mac-greek": "mac_greek",
    "x-mac-turkish": "mac_turkish",
    "gb2312": "gb18030",
    "x-gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb18030-2000": "gb18030",
    "big5": "big5hkscs",
    "x-big5": "big5hkscs",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "windows-949": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-jp-1": "iso2022_jp_ext",
    "windows-874": "cp874",
    "x-windows-874": "cp874",
    "tis-620": "cp874",
    "iso-8859-11": "cp874",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "csunicode11utf7": "utf-7",
    "utf8mb4": "utf-8",
    "utf-8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-2-0-utf-8": "utf-8",
    "x-utf-8": "utf-8",
    "utf": "utf-8",
    "unicode": "utf-16",
    "ucs-2": "utf-16",
    "iso-10646-ucs-2": "utf-16",
}
# These say nothing, so the octets are asked. us-ascii is here because its 8-bit octets break the promise.
_SILENT = {"", "us-ascii", "ascii", "ansi_x3.4-1968", "x-unknown", "unknown", "unknown-8bit", "x-user-defined",
           "default", "default_charset", "_charset", "charset", "none", "null", "binary", "8bit", "7bit", "utf-8bit",
           "x-roman8", "iso-8859", "windows", "undefined"}  # fmt: skip
# Not charsets: codecs that change the meaning of text, may raise oddly or are slow on hostile input.
_NOT_CHARSETS = {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "charmap", "mbcs", "oem"}
SAMPLED_OCTETS = 20_000  # looked at to guess a charset
BROKEN_LETTERS = 20_000  # mended one by one in a text of two charsets
_BAD = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_JIS = re.compile(rb"\x1b\$[@B]|\x1b\([JIB]")
_LATIN = re.compile(rb"[A-Za-z]+")
_VOWELS = re.compile("[аеёиоуыэюя]", re.IGNORECASE)
_WESTERN = {"cp1252", "latin_1", "iso8859-1", "iso8859-15", "ascii", "mac_roman", "cp1254"}


# The octets that cp1252 leaves undefined stand for the control characters of Latin-1, as in browsers.
def _as_latin1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("mailrouter-c1", _as_latin1)


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "mailrouter-c1"), error.end


def _as_letter(error: UnicodeError) -> tuple[str, int]:
    """A single letter of cp1252 among UTF-8: gateways append their disclaimer in it. What can be the first octet
    of a common character that was cut is no letter."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    broken = error.object[error.start : error.end]
    whole = len(broken) == 1 and broken[0] >= 0xC0 and broken[0] not in _COMMON_LEADS
    return _as_cp1252(error) if whole else ("\ufffd", error.end)


_COMMON_LEADS = frozenset(b"\xc2\xc3\xd0\xd1\xe2\xef\xf0")
codecs.register_error("mailrouter-western", _as_cp1252)
codecs.register_error("mailrouter-mixed", _as_letter)


@lru_cache(maxsize=512)
def codec(label: str) -> str:
    """The Python codec for a charset label (RFC 2978), or "" when the label says nothing usable."""
    name = label.strip().strip("\"'<>;=, \t").lower().split("*", 1)[0].replace(" ", "-")[:40]
    if name in _SILENT:
        return ""
    name = _ALIASES.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: a label with a NUL
        shorter = name.removeprefix("x-").removeprefix("cs")
        return codec(shorter) if shorter != name else ""
    try:
        b"a".decode(info.name)
    except (LookupError, UnicodeError, ValueError):  # rot13, base64 and their like are no charsets
        return info.name if info.name.startswith(("utf-16", "utf-32")) else ""
    return "" if info.name.replace("-", "_") in _NOT_CHARSETS else info.name


def clean(text: str) -> str:
    """The text without NULs, with U+FFFD for lone surrogates: what databases and JSON can carry."""
    if "\0" not in text:
        if text.isascii():
            return text
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return _BAD.sub("\ufffd", text)
        return text
    return _BAD.sub(lambda match: "" if match[0] == "\0" else "\ufffd", text)


def western(octets: bytes) -> str:
    """Unlabelled octets: UTF-8 when they are, else cp1252, which no octet can break."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return _cesu8(octets) or _nearly_utf8(octets) or _cyrillic(octets) or octets.decode("cp1252", "mailrouter-c1")


def _cesu8(octets: bytes) -> str:
    """UTF-8 of surrogate pairs, as old databases and telephones write emoji (UTR 26), or ""."""
    if b"\xed\xa0" not in octets and b"\xed\xa1" not in octets:
        return ""
    try:
        return octets.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError:
        return ""


def _nearly_utf8(octets: bytes) -> str:
    """UTF-8 with a few broken characters (a cut at a buffer's end), or mixed with lines in cp1252 (a quoted
    letter pasted as it came), or "" when it is another charset."""
    text = octets.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    sound = sum(map(len, re.findall("[^\x00-\x7f\ufffd]+", text)))
    if broken > BROKEN_LETTERS:
        return text if sound > 2 * broken else ""
    if sound > 2 * broken:
        return octets.decode("utf-8", "mailrouter-mixed")
    return octets.decode("utf-8", "mailrouter-western") if sound >= broken else ""


def _cyrillic(octets: bytes) -> str:
    """Octets without a label in whole words of high letters, which no western language has, or "": then they are
    windows-1251 or KOI8-R, told apart by where their small letters stand."""
    words = re.findall(rb"[\xa3\xb3\xb8\xa8\xc0-\xff]+", octets[:SAMPLED_OCTETS])
    high = sum(map(len, words))
    latin = sum(map(len, _LATIN.findall(octets[:SAMPLED_OCTETS])))
    letters = b"".join(words)
    if high < 12 or len(set(letters)) < 9 or high < 3 * len(words) or high * 2 < latin:
        return ""
    upper = sum(octet >= 0xE0 for octet in letters)
    name = "cp1251" if upper * 2 > high else "koi8-r"
    text = octets.decode(name, "replace")
    vowels = len(_VOWELS.findall(text, 0, SAMPLED_OCTETS))
    return text if high * 3 < vowels * 10 < high * 6 else ""


def decode(octets: bytes, label: str = "") -> tuple[str, str]:
    """The text and the defect found ("" | charset-unknown | charset-wrong). Never raises.

    Precedence: a byte order mark, then UTF-8 that is valid although something western was promised (real
    Latin-1 text is practically never valid UTF-8), then the label, then a guess.
    """
    if octets.isascii() and b"\x1b" not in octets and b"\0" not in octets and not _seven_bit(label):
        return octets.decode("ascii"), ""
    if octets.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        marked = "utf-8-sig" if octets.startswith(codecs.BOM_UTF8) else "utf-16"
        return clean(octets.decode(marked, "replace")), ""
    name = codec(label)
    if not name:
        return _guess(octets, label)
    if name.startswith(("utf-16", "utf-32")):
        return _wide(octets, name)
    if name in _WESTERN or name == "utf-8":
        return _utf8_or(octets, name)
    return _strict_or_repaired(octets, name)


def _seven_bit(label: str) -> bool:
    return codec(label).startswith(("utf-7", "utf-16", "utf-32", "iso2022", "hz"))


def _guess(octets: bytes, label: str) -> tuple[str, str]:
    if _ESCAPED_JIS.search(octets):
        return clean(octets.decode("iso2022_jp_ext", "replace")), "charset-unknown"
    if b"\0" in octets and octets.count(b"\0") * 3 > len(octets):
        return _wide(octets, "utf-16")
    silent = label.strip("\"' ").lower() in {"", "us-ascii", "ascii"}
    return clean(western(octets)), "" if octets.isascii() or (silent and _is_utf8(octets)) else "charset-unknown"


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _utf8_or(octets: bytes, name: str) -> tuple[str, str]:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        if name == "utf-8":
            return clean(western(octets)), "charset-wrong"
        return clean(octets.decode(name, "mailrouter-c1")), ""
    return clean(text), "" if name == "utf-8" or octets.isascii() else "charset-wrong"


def _wide(octets: bytes, name: str) -> tuple[str, str]:
    """UTF-16/32: without a mark the side on which the zero octets stand tells the byte order (RFC 2781 4.3)."""
    if b"\0" not in octets[:4096]:
        return clean(western(octets)), "charset-wrong"
    if name == "utf-16":
        sample = octets[:4096]
        name = "utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"
    return clean(octets.decode(name, "replace")).lstrip("\ufeff"), ""


def _strict_or_repaired(octets: bytes, name: str) -> tuple[str, str]:
    try:
        return clean(octets.decode(name)), ""
    except (UnicodeError, ValueError, OverflowError):
        pass
    if _is_utf8(octets):
        return clean(octets.decode("utf-8")), "charset-wrong"
    try:
        text = octets.decode(name, "replace")
    except (UnicodeError, ValueError, OverflowError):
        return clean(western(octets)), "charset-wrong"
    # A multi-byte charset that fails on more than one character in twenty was a lie.
    lie = text.count("\ufffd") * 20 > len(text)
    return clean(western(octets) if lie else text), "charset-wrong"


# UTF-8 that was read as cp1252 and written again: a lead letter and its continuation letters.
_C1252 = "".join(bytes([i]).decode("cp1252", "ignore") or chr(i) for i in range(0x80, 0xC0))
_DOUBLED = re.compile(
    f"[\u00c2-\u00df][{re.escape(_C1252)}]|[\u00e0-\u00ef][{re.escape(_C1252)}]{{2}}"
    f"|[\u00f0-\u00f4][{re.escape(_C1252)}]{{3}}"
)
_DOUBLED_MARK = re.compile("Ã[¥¤¶…„–©¼¸¦\u0085\u0084\u0096]|â€|Ã\u0083Â")
_BACK = {ord(char): bytes([0x80 + i]) for i, char in enumerate(_C1252)}


def _undouble(match: re.Match[str]) -> str:
    octets = b"".join(_BACK.get(ord(char)) or char.encode("latin-1") for char in match[0])
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return match[0]


def repair(text: str) -> tuple[str, bool]:
    """åäö brought back in text that was encoded twice ("snÃ¶" -> "snö"); whether anything was repaired."""
    repaired = text
    if "Ã" not in text and "â€" not in text:
        return text, False
    for _ in range(3):  # gateways in a row: each may have doubled it once more
        if not _DOUBLED_MARK.search(repaired):
            break
        before, repaired = repaired, _DOUBLED.sub(_undouble, repaired)
        if before == repaired:
            break
    return repaired, repaired != text
