"""Octets to a ``Letter``: the rooms of this package called one after the other."""

import logging
from dataclasses import dataclass, replace

from mailrouter.letter import addresses, body, fields, forms, forwarded, header, mime, nature, quotes, reports, text
from mailrouter.letter.values import Address, Letter, Nature

SHORT_CHARS = 300  # own words so few that an attached mail is what the letter is about
PASSED_ON = 4  # mails within mails without a word, opened one after the other

_MAY_BE_FORM = frozenset({Nature.HUMAN, Nature.BULK, Nature.AUTO_REPLY})

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
    octets, wide = header.narrowed(octets)
    if header.is_bare_cr(octets):
        octets = octets.replace(b"\r", b"\n")
    section = fields.read(octets)
    tree, tree_defects = mime.tree(octets, section)
    content = body.read(octets, tree)
    when, date_defect = header.date(section.raw("date"))
    sender, sender_defects = header.sender(section)
    subject = header.subject(section)
    report = reports.read(section, content, sender, subject)
    written = nature.of(section, content, sender, subject, report)
    words = _words(content, sender, subject, written)
    ident = header.message_id(section.raw("message-id"))
    defects = [*wide, *section.defects, date_defect, *sender_defects, "" if ident else "missing-message-id"]
    defects += [*tree_defects, *content.defects, *words.defects, "" if words.body else "no-text"]
    defects += ["addresses-cut" for name in ("to", "cc") if addresses.cut(section.raw(name))]
    return Letter(
        message_id=ident,
        sender=sender,
        reply_to=addresses.many(section.raw("reply-to")),
        to=addresses.many(section.raw("to")),
        cc=addresses.many(section.raw("cc")),
        subject=subject,
        date=when,
        in_reply_to=header.ids(section.raw("in-reply-to")),
        references=header.ids(section.raw("references")),
        text=words.text,
        quoted=words.quoted,
        signature=words.signature,
        body=words.body,
        html="\n".join(content.htmls)[: body.HTML_KEPT_CHARS],
        attachments=tuple(content.attachments),
        nature=Nature.FORM if words.form else written,
        report=report,
        fields=words.form.fields if words.form else (),
        forwarded_from=words.forwarded_from,
        defects=tuple(dict.fromkeys(filter(None, defects))),
        contact=forms.contact(words.form) if words.form else None,
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """Who says what in the text."""

    text: str
    quoted: str
    signature: str
    body: str
    form: forms.Form | None
    forwarded_from: Address | None
    defects: tuple[str, ...]


def _words(content: body.Content, sender: Address, subject: str, written: Nature) -> _Words:
    shown, defects = text.tidy(content.text)
    if written in _MAY_BE_FORM:
        form = forms.read(sender, subject, shown)
        if form is not None:
            return _Words(form.words or shown, "", "", shown, form, None, tuple(defects))
    passed_on = forwarded.inline(subject, shown)
    if passed_on is not None:
        own, original = passed_on
        said = "\n\n".join(filter(None, [own, original.words]))
        return _Words(said or shown, original.quoted, "", shown, None, original.sender, tuple(defects))
    split = quotes.split(shown)
    return _with_attached(
        _Words(split.own, split.quoted, split.signature, shown, None, None, tuple(defects)), content, subject, written
    )


def _with_attached(words: _Words, content: body.Content, subject: str, written: Nature) -> _Words:
    """A mail passed on as an attachment: its words are read after those of the one who passed it on."""
    mails = [octets for octets in content.embedded if octets.strip()]
    if not mails or written not in {Nature.HUMAN, Nature.AUTO_REPLY, Nature.MAILING_LIST}:
        return words
    if words.body and not forwarded.by_subject(subject) and len(words.text) >= SHORT_CHARS:
        return words  # a mail enclosed as evidence; the sender speaks for himself
    original = forwarded.attached(mails[0])
    inner = _inner(mails[0])
    said, defects = text.tidy("\n\n".join(filter(None, [words.text, inner.own])))
    whole, _ = text.tidy("\n\n".join(filter(None, [words.body, inner.own, inner.signature, inner.quoted])))
    marked = ("text-in-attached-mail", *defects) if not words.body and inner.own else tuple(defects)
    return replace(words, text=said, body=whole, forwarded_from=original, defects=(*words.defects, *marked))


def _inner(octets: bytes, depth: int = 1) -> quotes.Split:
    """The words of an attached mail; mails attached to it stay closed, unless it has no words of its own."""
    section = fields.read(octets)
    tree, _ = mime.tree(octets, section)
    content = body.read(octets, tree)
    if not content.text.strip() and content.embedded and depth < PASSED_ON:
        return _inner(content.embedded[0], depth + 1)
    return quotes.split(text.tidy(content.text)[0])


def _unreadable(octets: bytes, defect: str) -> Letter:
    known = header.head(octets)
    defects = (defect,) if defect == "empty" else (defect, *known.defects)
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
        defects=tuple(dict.fromkeys(defects)),
    )
