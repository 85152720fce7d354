"""Delivery reports: what became of a mail we sent, from RFC 3464 fields or from the free words of mail servers.

Sources: RFC 3464 (fields), RFC 3463 (status codes), RFC 5321 4.2 (reply codes). The free-form layouts are
those of Exchange and Microsoft 365, Postfix, Exim, qmail, Sendmail, Gmail, Domino, Courier and their kin,
with the Swedish wordings of the first and of Gmail.
"""

import re
from itertools import takewhile

from mailrouter.letter import fields, notices, report_marks
from mailrouter.letter.body import Content
from mailrouter.letter.header import ids
from mailrouter.letter.values import Address, Failure, Report

RECIPIENTS = 100
DIAGNOSTIC_CHARS = 1_000
SCANNED_CHARS = 30_000

_CODED = ("status", "diagnostic-code")
_ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}


def from_system(section: fields.Section, sender: Address) -> bool:
    """True when a mail system, and no person, is the sender (RFC 3464 2.1: the envelope sender is empty)."""
    if section.raw("return-path").strip() == b"<>" or section.raw("x-failed-recipients"):
        return True
    named = report_marks.SYSTEM_NAME.search(sender.name) is not None
    address = sender.address.replace("\\", "").replace('"', "")
    nobody = not address and bool(section.raw("from").strip())
    return named or nobody or report_marks.SYSTEM_KIN.fullmatch(address) is not None


def read(section: fields.Section, content: Content, sender: Address, subject: str) -> Report | None:
    """The delivery report that the mail is, or None when it is none."""
    status = next((text for kind, text in content.statuses if kind.endswith("delivery-status")), "")
    said = content.text[:SCANNED_CHARS]
    if status:
        return _finish(_by_fields(status) or _read_words(section, content, sender, said), section, content, status)
    if any(_OTHER_REPORT.search(kind) for kind, _ in content.statuses):
        return _rejected(section, content, subject)
    return notices.read(said) or _plain(section, content, sender, subject, said)


def _plain(section: fields.Section, content: Content, sender: Address, subject: str, said: str) -> Report | None:
    """A report in the words of a mail system alone."""
    system = from_system(section, sender)
    if not system and report_marks.OWN_SUBJECT.match(subject) is None:
        return None
    own, copy = _without_copy(said)
    if system:
        found = _by_fields(said) if _FINAL_RECIPIENT.search(said) else ()
        if found:
            return _finish(found, section, content, said)
        if not _speaks_of_failure(section, content, subject, own, copy):
            return None
    elif not _is_report_itself(own):
        return None
    return _finish(_read_words(section, content, sender, said), section, content, copy)


_OTHER_REPORT = re.compile("feedback|disposition")
_INNER_RECIPIENT = re.compile(
    rb"^final-recipient\s*:[^;\r\n]{0,40};\s*<?([^\s<>;]{1,250}@[^\s<>;]{1,250})", re.I | re.M
)
_FINAL_RECIPIENT = re.compile(r"^final-recipient\s*:", re.IGNORECASE | re.MULTILINE)
_DISCARDED = re.compile(r"^disposition\s*:.*;\s*(?:deleted|denied|failed)", re.IGNORECASE | re.MULTILINE)


def _read_words(section: fields.Section, content: Content, sender: Address, said: str) -> tuple[Failure, ...]:
    own, _ = _without_copy(said)
    delayed = report_marks.DELAYED.search(own) is not None and not _is_final(own)
    return _by_words(section, content, own, sender, delayed=delayed)


def _rejected(section: fields.Section, content: Content, subject: str) -> Report | None:
    """Dovecot says that a mail was refused in the form of a receipt (RFC 8098) with the disposition "deleted"."""
    for kind, notification in content.statuses:
        discarded = "disposition" in kind and _DISCARDED.search(notification) is not None
        if discarded and re.match(r"\s*automatically rejected", subject, re.IGNORECASE):
            return _finish(_by_fields(notification), section, content, notification)
    return None


def _speaks_of_failure(section: fields.Section, content: Content, subject: str, own: str, copy: str) -> bool:
    """A mail system's mail is a report when two signs agree, one of them in its words."""
    said = report_marks.FAILED.search(own) is not None or report_marks.DELAYED.search(own) is not None
    coded = report_marks.REPLY.search(own) is not None or report_marks.STATUS.search(own) is not None
    named = report_marks.SUBJECT.search(subject) is not None or bool(section.raw("x-failed-recipients"))
    typed = b"delivery-status" in section.raw("content-type").lower()
    returned = bool(copy) or bool(content.embedded)
    return (said or coded or returned or typed) and said + coded + named + typed + returned >= 2


def _is_report_itself(own: str) -> bool:
    """A report under a sender that looks like a person, with the subject of one: its text is a mail system's, word
    for word, and nobody tells of it. (Subjects with "Sv:" or "VB:" do not come here: those are a person's.)"""
    told = report_marks.TOLD.search(own) is not None
    return not told and bool(report_marks.OWN_WORDS.search(own[:1_500]) and report_marks.ANY_ADDRESS.search(own))


def _is_final(own: str) -> bool:
    return report_marks.FINAL.search(own) is not None and report_marks.GOES_ON.search(own) is None


def _by_fields(status: str) -> tuple[Failure, ...]:
    """The per-recipient groups (RFC 3464 2.3)."""
    failures: list[Failure] = []
    for group in re.split(r"\r?\n[ \t]*\r?\n", status.strip()):
        named = _named(group)
        recipient = _recipient(named)
        if not recipient and "action" not in named:
            continue
        code = next(filter(None, (report_marks.STATUS.search(named.get(name, "")) for name in _CODED)), None)
        action = named.get("action", "failed").split("(")[0].split()[:1]
        diagnostic = re.sub(
            r"^\s*(?:smtp|x-[\w-]+|x400|unix)\s*;\s*", "", named.get("diagnostic-code", ""), flags=re.IGNORECASE
        )
        failures.append(
            Failure(
                recipient=recipient,
                action=action[0].lower() if action and action[0].lower() in _ACTIONS else "failed",
                status=code[1] if code else "",
                diagnostic=" ".join(diagnostic.split())[:DIAGNOSTIC_CHARS],
            )
        )
        if len(failures) >= RECIPIENTS:
            break
    return tuple(failures)


def _named(group: str) -> dict[str, str]:
    unfolded = re.sub(r"\r?\n[ \t]+", " ", group)
    named: dict[str, str] = {}
    for line in unfolded.splitlines():
        name, colon, value = line.partition(":")
        if colon and " " not in name.strip():
            named.setdefault(name.strip().lower(), fields.decode(value.encode("utf-8", "replace")))
    return named


def _recipient(named: dict[str, str]) -> str:
    given = []
    for name in ("final-recipient", "original-recipient", "x-actual-recipient"):
        value = named.get(name, "").partition(";")[2] or named.get(name, "")
        found = report_marks.ANY_ADDRESS.search(value)
        if found:
            given.append(found[0])
    if given:  # one within the mail system itself ("eva@tcp-daemon") says nothing to the sender
        return next((address for address in given if "." in address.rpartition("@")[2]), given[0])
    value = named.get("final-recipient", named.get("original-recipient", ""))
    return (value.partition(";")[2] or value).strip("<> ")[:320]


def _without_copy(said: str) -> tuple[str, str]:
    match = report_marks.COPY.search(said, 40 if len(said) > 40 else 0)
    return (said[: match.start()], said[match.start() :]) if match else (said, "")


def _by_words(
    section: fields.Section, content: Content, own: str, sender: Address, *, delayed: bool
) -> tuple[Failure, ...]:
    ours = {address.lower() for address in report_marks.ANY_ADDRESS.findall(section.text("to") + " " + sender.address)}
    named = dict.fromkeys(report_marks.ANY_ADDRESS.findall(section.text("x-failed-recipients")))
    recipients = (
        [(address, own.find(address)) for address in named]
        or _who(own, ours, sender.address.rpartition("@")[2])
        or _addressed(content)
    )
    failures = []
    for number, (address, position) in enumerate(recipients[:RECIPIENTS]):
        following = recipients[number + 1][1] if number + 1 < len(recipients) else len(own)
        said = own[position + len(address) : following if following > position else len(own)] if position >= 0 else own
        texts = (said, own) if len(recipients) == 1 else (said,)
        diagnostic = _diagnostic(*texts)
        status = _status(diagnostic, *texts)
        failures.append(Failure(address, "delayed" if delayed else "failed", status, diagnostic))
    return tuple(failures)


def _addressed(content: Content) -> list[tuple[str, int]]:
    """Whom the returned mail was for, when the report names nobody; or whom a report within it names."""
    for octets in content.embedded:
        inner = _INNER_RECIPIENT.search(octets, 0, SCANNED_CHARS)
        if inner:
            return [(inner[1].decode("ascii", "replace"), -1)]
        found = report_marks.ANY_ADDRESS.search(fields.read(octets).text("to"))
        if found:
            return [(found[0], -1)]
    return []


def _who(own: str, ours: set[str], domain: str) -> list[tuple[str, int]]:
    """Who failed: looked for below the words that announce it, then anywhere."""
    announced = report_marks.ANNOUNCED.search(own)
    for start in [announced.start(), 0] if announced else [0]:
        for pattern in report_marks.WHO:
            found: dict[str, int] = {}
            for match in pattern.finditer(own, start):
                address = next(group for group in match.groups() if group).strip("'.").removeprefix("SMTP=")
                address = address.partition("..")[0]
                if address.lower() not in ours and not report_marks.SYSTEM_ADDRESS.fullmatch(address):
                    found.setdefault(address, match.start() + match[0].find(address))
            if found:
                return list(found.items())
    local = report_marks.LOCAL_NAME.search(own)
    return [(f"{local[1]}@{domain}", local.start(1))] if local and domain else []


def _diagnostic(*texts: str) -> str:
    """The lines in which the server speaks: first those with a code, then those with a reason."""
    several = [[line.strip(" <>#*\t") for line in said.split("\n")] for said in texts]
    for lines in several:
        for number, line in enumerate(lines):
            if report_marks.STATUS.search(line) or report_marks.REPLY.search(line):
                return _paragraph(lines[number : number + 5])
    for lines in several:
        for number, line in enumerate(lines):
            if len(line) > 8 and report_marks.FAILED.search(line):
                return _paragraph(lines[number : number + 3])
    return next((_paragraph([line]) for line in several[0] if len(line) > 8), "")


def _paragraph(lines: list[str]) -> str:
    filled = list(takewhile(bool, lines))
    return " ".join(" ".join(filled).split())[:DIAGNOSTIC_CHARS]


def _status(*texts: str) -> str:
    for said in texts:
        enhanced = report_marks.STATUS.search(said)
        if enhanced:
            return enhanced[1]
        reply = report_marks.REPLY.search(said)
        if reply:
            return f"{reply[1][0]}.0.0"
    return ""


_ID_LINE = re.compile(r"^[ \t>]*message-id[ \t]*:[ \t]*(<[^<>\s]+>)", re.IGNORECASE | re.MULTILINE)


def _finish(failures: tuple[Failure, ...], section: fields.Section, content: Content, said: str) -> Report:
    envelope = re.search(r"^original-envelope-id\s*:\s*(\S{1,200})", said, re.IGNORECASE | re.MULTILINE)
    return Report(failures, _original_id(section, content, said), envelope[1] if envelope else "")


def _original_id(section: fields.Section, content: Content, said: str) -> str:
    for octets in content.embedded:
        found = ids(fields.read(octets).raw("message-id"))
        if found:
            return found[0]
    match = _ID_LINE.search(said) or _ID_LINE.search(content.text[:SCANNED_CHARS])
    if match:
        return match[1].strip("<>")
    earlier = (
        ids(section.raw("in-reply-to"))
        or ids(section.raw("x-ms-exchange-parent-message-id"))
        or ids(section.raw("references"))[-1:]
    )
    return earlier[0] if earlier else ""
