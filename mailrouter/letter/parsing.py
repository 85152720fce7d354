"""Octets to a ``Letter``: the rooms of this package called one after the other."""

import logging

from mailrouter.letter import addresses, body, fields, header, mime, nature, quotes, text
from mailrouter.letter.values import Letter, Nature

log = logging.getLogger(__name__)


def parse(octets: bytes) -> Letter:
    """Read a mail. Total: whatever breaks inside yields a Letter with the defect ``unreadable``, whose octets
    wait in the register for a person."""
    if not octets.strip():
        return _unreadable(octets, "empty")
    try:
        return _parse(octets)
    except Exception:
        # The one guard of this package: a mail is never lost because a library met something new in it.
        log.exception("a mail could not be read")
        return _unreadable(octets, "unreadable")


def _parse(octets: bytes) -> Letter:
    if header.is_bare_cr(octets):
        octets = octets.replace(b"\r", b"\n")
    section = fields.read(octets)
    tree, tree_defects = mime.tree(octets, section)
    content = body.read(octets, tree)
    shown, text_defects = text.tidy(content.text)
    split = quotes.split(shown)
    when, date_defect = header.date(section.raw("date"))
    sender, sender_defects = header.sender(section)
    ident = header.message_id(section.raw("message-id"))
    defects = [*section.defects, date_defect, *sender_defects, "" if ident else "missing-message-id"]
    defects += [*tree_defects, *content.defects, *text_defects, "" if shown else "no-text"]
    return Letter(
        message_id=ident,
        sender=sender,
        reply_to=addresses.many(section.raw("reply-to")),
        to=addresses.many(section.raw("to")),
        cc=addresses.many(section.raw("cc")),
        subject=header.subject(section),
        date=when,
        in_reply_to=header.ids(section.raw("in-reply-to")),
        references=header.ids(section.raw("references")),
        text=split.own,
        quoted=split.quoted,
        signature=split.signature,
        body=shown,
        html="\n".join(content.htmls)[: body.HTML_KEPT_CHARS],
        attachments=tuple(content.attachments),
        nature=Nature.AUTO_REPLY if nature.forbids_answer(section, sender) else Nature.HUMAN,
        report=None,
        fields=(),
        forwarded_from=None,
        defects=tuple(dict.fromkeys(filter(None, defects))),
    )


def _unreadable(octets: bytes, defect: str) -> Letter:
    known = header.head(octets)
    return Letter(
        message_id=known.message_id,
        sender=known.sender,
        reply_to=(),
        to=(),
        cc=(),
        subject=known.subject,
        date=known.date,
        in_reply_to=(),
        references=known.references,
        text="",
        quoted="",
        signature="",
        body="",
        html="",
        attachments=(),
        nature=Nature.HUMAN,
        report=None,
        fields=(),
        forwarded_from=None,
        defects=tuple(dict.fromkeys((defect, *known.defects))),
    )
