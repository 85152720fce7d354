"""Delivery reports: what became of a mail we sent, from RFC 3464 fields or from the free words of mail servers.

Sources: RFC 3464 (fields), RFC 3463 (status codes), RFC 5321 4.2 (reply codes). The free-form layouts are
those of Exchange and Microsoft 365, Postfix, Exim, qmail, Sendmail, Gmail, Domino, Courier and their kin,
with the Swedish wordings of the first and of Gmail.
"""

import re
from itertools import takewhile

from mailrouter.letter import fields
from mailrouter.letter.body import Content
from mailrouter.letter.header import ids
from mailrouter.letter.values import Address, Failure, Report

RECIPIENTS = 100
DIAGNOSTIC_CHARS = 1_000
SCANNED_CHARS = 30_000

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.@-])([45][0-5]\d)(?=[\s\-:#])(?!\s*(?:kB|KB|MB|byte|sec|min))")
_LETTER = "A-Za-z0-9\u00c0-\u024f"
_ADDRESS = rf"[{_LETTER}._%+=&'*/!#$^{{}}~-]{{1,64}}@[{_LETTER}](?:[{_LETTER}._-]{{0,250}}[{_LETTER}])?"
_ANY_ADDRESS = re.compile(_ADDRESS)
_ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}

# What only a mail system calls itself. A person who forwards a report does it under an own name.
_SYSTEM_ADDRESS = re.compile(
    r"(?:mailer-?daemon|mail-?daemon|postmaster|mailadm|majordomo|mail-?er|mdaemon|mailsystem|mail\.system|system|"
    r"microsoftexchange[0-9a-f]+|post_master|bounces?|bounce[+-].*|mail-?delivery.*|delivery.*|nobody|root|"
    r"administrator|"
    r"daemon|amavis|smtp|mta|.*-daemon|mms\w*|postoffice)(?:@.*)?",
    re.IGNORECASE,
)
_SYSTEM_NAME = re.compile(
    r"mail(?:er)?[ -]?(?:delivery|daemon|system|administrator)|delivery (?:sub)?system|postmaster|"
    r"system ?administrat|"
    r"microsoft (?:outlook|exchange)|mail ?administrator|mail deliver system|courier mail server|"
    r"mail router|mail server|system administrator|mailer.?daemon",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|not delivered|non-?delivery|"
    r"delivery (?:status|failure|has failed|notification|report|failed|problem|delayed|error)|"
    r"returned mail|mail (?:delivery|system error|returned)|failure noti|returned to sender|"
    r"could ?n[o']t? be delivered|"
    r"couldn't be delivered|bounced|rejected|undelivered|delayed mail|warning: (?:message|could not)|"
    r"message (?:delayed|status)|"
    r"olevererbart|oleverer|det gick inte att leverera|kunde inte levereras|ej levererat|"
    r"leverans(?:status|fel|rapport|problem)|"
    r"meddelandet (?:är )?(?:fördröj|försen)|fördröjd leverans|unzustellbar|zustellung|ikke leveret|"
    r"kan ikke leveres|toimitus|"
    r"nondeliverable|could not send|nicht zugestellt|delivery|failure|failed|error|denied|no such user|"
    r"unknown user",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"could ?n[o']t be delivered|can ?not be (?:delivered|reached|sent)|was(?: not|n't) delivered|"
    r"not be delivered|"
    r"(?:delivery|deliver)\b.{0,80}\bfail|failed permanently|has failed|"
    r"permanent(?:ly)? (?:fatal )?(?:error|fail)|undeliver|"
    r"did not reach|unable to deliver|wasn't able to deliver|I'm afraid I|not able to deliver|"
    r"unable to relay|"
    r"address(?:\(es\)|es)? failed|addresses had|could not be found|user unknown|unknown user|no such user|"
    r"mailbox (?:full|unavailable)|"
    r"mailbox exceeds|over quota|quota exceeded|address not found|recipient(?:s)? (?:address )?rejected|"
    r"returned (?:to you|without)|"
    r"message (?:has been |was )?(?:blocked|rejected|refused)|does(?: not|n't) exist|returned message|"
    r"not listed in|could not deliver|"
    r"det gick inte att leverera|kunde inte levereras|har inte (?:levererats|kunnat levereras)|nådde inte|"
    r"gick inte att hitta|"
    r"hittades inte|olevererbar|misslyckades|levererades inte|inte levererats|kunde ej levereras|"
    r"送信できません|配信できません|エラーのため|не может быть доставлено|не доставлено|无法投递|退信|"
    r"invalid (?:final delivery|recipient|"
    r"address|user)|delivery (?:errors|problems)|konnte nicht zugestellt|nicht zustellbar|ikke leveres|"
    r"ei voitu toimittaa|n'a pas pu être|"
    r"no se pudo entregar",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"will (?:keep trying|be retried|continue to try)|"
    r"has(?: not| n't|n't) (?:yet )?been delivered (?:yet)?|still being (?:retried|attempted)|"
    r"delivery (?:has been |is )?(?:delayed|temporarily)|warning message only|no action is required|"
    r"do not need to resend|"
    r"temporary (?:problem|failure|fatal|non-fatal)|transient|not yet been delivered|"
    r"försöker (?:igen|fortfarande)|"
    r"fördröj|försenad|har ännu inte levererats|du behöver inte skicka (?:om|meddelandet igen)",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"failed permanently|permanent (?:fatal )?error|giving up|given up|gave up|could ?n[o']t be delivered|"
    r"returned to sender|too long|retry timeout|addresses had permanent",
    re.IGNORECASE,
)
# Below these the original mail is quoted: addresses in it say nothing about the failure.
_COPY = re.compile(
    r"^[ \t]*(?:-+ ?(?:below this line|this is a copy|the body of the message|original message|unsent message|"
    r"the following text|returned (?:message|mail)|undelivered message|failed message|enclosed is a copy|"
    r"message header|the header|ursprungligt meddelande|ursprungliga meddelandehuvuden|start of|the message)|"
    r"original message (?:headers|follows)|the original message (?:headers|follows)|"
    r"ursprungliga meddelandehuvuden|"
    r"received:\s?(?:from|by) |return-path: ?<|your original message|message headers? follow|"
    r"copy of (?:the )?message)",
    re.IGNORECASE | re.MULTILINE,
)
# Who failed, by layout; each has one group for the address. The first that finds anything is taken.
_WHO = tuple(
    re.compile(pattern.replace("ADDRESS", _ADDRESS), re.IGNORECASE | re.MULTILINE)
    for pattern in (
        # Postfix, qmail, Courier, Sendmail
        r"^[ \t]*<(ADDRESS)>:?[ \t]*$|^[ \t]*<(ADDRESS)>(?:\s*\([^)\n]*\))?:[ \t]*\S",
        # Exim, Gmail, Domino, Exchange: alone on its line
        r"^[ \t]*[<'\"]?(ADDRESS)[>'\"]?[ \t]*$",
        # Gmail and Microsoft 365: within a sentence
        r"(?:delivered|leverera(?:s|de|t)?|message|meddelande)[ \t]+(?:to|till)[ \t]*:?\s*<?(ADDRESS)",
        # Exchange: Name (address)
        r"['\"]?[^\n<('\"]{0,60}['\"]? ?[<(](?:mailto:)?(ADDRESS)[)>]",
        r"\b(?:recipient|mottagare|user|userid|address|adress|to|mailbox)\b\s*:?\s*['\"<(]{0,2}(ADDRESS)",
        r"(ADDRESS)",
    )
)


def from_system(section: fields.Section, sender: Address) -> bool:
    """True when a mail system, and no person, is the sender (RFC 3464 2.1: the envelope sender is empty)."""
    if section.raw("return-path").strip() == b"<>" or section.raw("x-failed-recipients"):
        return True
    named = _SYSTEM_NAME.search(sender.name) is not None
    return named or not sender.address or _SYSTEM_ADDRESS.fullmatch(sender.address) is not None


def read(section: fields.Section, content: Content, sender: Address, subject: str) -> Report | None:
    """The delivery report that the mail is, or None when it is none."""
    status = next((text for kind, text in content.statuses if kind.endswith("delivery-status")), "")
    if status:
        return _finish(_by_fields(status), section, content, status)
    if not from_system(section, sender) or any(_OTHER_REPORT.search(kind) for kind, _ in content.statuses):
        return None
    said = content.text[:SCANNED_CHARS]
    if re.search(r"^final-recipient\s*:", said, re.IGNORECASE | re.MULTILINE):
        found = _by_fields(said)
        if found:
            return _finish(found, section, content, said)
    own, copy = _without_copy(said)
    if not _speaks_of_failure(section, content, subject, own, copy):
        return None
    delayed = _DELAYED.search(own) is not None and not _is_final(own)
    return _finish(_by_words(section, content, own, sender, delayed=delayed), section, content, copy)


_OTHER_REPORT = re.compile("feedback|disposition")


def _speaks_of_failure(section: fields.Section, content: Content, subject: str, own: str, copy: str) -> bool:
    """A mail system's mail is a report when two signs agree, one of them in its words."""
    said = _FAILED.search(own) is not None or _DELAYED.search(own) is not None
    coded = _REPLY.search(own) is not None or _STATUS.search(own) is not None
    named = _SUBJECT.search(subject) is not None or bool(section.raw("x-failed-recipients"))
    typed = b"delivery-status" in section.raw("content-type").lower()
    returned = bool(copy) or bool(content.embedded)
    return (said or coded or returned) and said + coded + named + typed + returned >= 2


def _is_final(own: str) -> bool:
    return _FINAL.search(own) is not None


def _by_fields(status: str) -> tuple[Failure, ...]:
    """The per-recipient groups (RFC 3464 2.3)."""
    failures: list[Failure] = []
    for group in re.split(r"\r?\n[ \t]*\r?\n", status.strip()):
        named = _named(group)
        recipient = _recipient(named)
        if not recipient and "action" not in named:
            continue
        code = _STATUS.search(named.get("status", "")) or _STATUS.search(named.get("diagnostic-code", ""))
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
    for name in ("final-recipient", "original-recipient", "x-actual-recipient"):
        value = named.get(name, "").partition(";")[2] or named.get(name, "")
        found = _ANY_ADDRESS.search(value)
        if found:
            return found[0]
    value = named.get("final-recipient", named.get("original-recipient", ""))
    return (value.partition(";")[2] or value).strip("<> ")[:320]


def _without_copy(said: str) -> tuple[str, str]:
    match = _COPY.search(said, 40 if len(said) > 40 else 0)
    return (said[: match.start()], said[match.start() :]) if match else (said, "")


def _by_words(
    section: fields.Section, content: Content, own: str, sender: Address, *, delayed: bool
) -> tuple[Failure, ...]:
    ours = {address.lower() for address in _ANY_ADDRESS.findall(section.text("to") + " " + sender.address)}
    named = dict.fromkeys(_ANY_ADDRESS.findall(section.text("x-failed-recipients")))
    recipients = [(address, own.find(address)) for address in named] or _who(own, ours) or _addressed(content)
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
    """Whom the returned mail was for, when the report names nobody."""
    for octets in content.embedded:
        found = _ANY_ADDRESS.search(fields.read(octets).text("to"))
        if found:
            return [(found[0], -1)]
    return []


def _who(own: str, ours: set[str]) -> list[tuple[str, int]]:
    for pattern in _WHO:
        found: dict[str, int] = {}
        for match in pattern.finditer(own):
            address = next(group for group in match.groups() if group).strip("'.")
            if address.lower() not in ours and not _SYSTEM_ADDRESS.fullmatch(address):
                found.setdefault(address, match.start() + match[0].find(address))
        if found:
            return list(found.items())
    return []


def _diagnostic(*texts: str) -> str:
    """The lines in which the server speaks: first those with a code, then those with a reason."""
    several = [[line.strip(" <>#*\t") for line in said.split("\n")] for said in texts]
    for lines in several:
        for number, line in enumerate(lines):
            if _STATUS.search(line) or _REPLY.search(line):
                return _paragraph(lines[number : number + 5])
    for lines in several:
        for number, line in enumerate(lines):
            if len(line) > 8 and _FAILED.search(line):
                return _paragraph(lines[number : number + 3])
    return next((_paragraph([line]) for line in several[0] if len(line) > 8), "")


def _paragraph(lines: list[str]) -> str:
    filled = list(takewhile(bool, lines))
    return " ".join(" ".join(filled).split())[:DIAGNOSTIC_CHARS]


def _status(*texts: str) -> str:
    for said in texts:
        enhanced = _STATUS.search(said)
        if enhanced:
            return enhanced[1]
        reply = _REPLY.search(said)
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
