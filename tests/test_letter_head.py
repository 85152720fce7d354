"""head(): what the doors know of a mail before it is registered."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailrouter.letter import head, parse

LETTERS = Path(__file__).parent / "letters"
MAIL = (
    b"Received: from a.example by b.example; Mon, 04 Mar 2024 09:15:01 +0100\r\n"
    b"From: =?utf-8?q?=C3=85sa?= <asa@bo.example>\r\n"
    b"To: kontakt@stad.example.se\r\n"
    b"Subject: Trasig lampa\r\n"
    b"Date: Mon, 04 Mar 2024 09:15:00 +0100\r\n"
    b"Message-ID: <1@bo.example>\r\n"
    b"In-Reply-To: <0@stad.example.se>\r\n"
    b"References: <x@stad.example.se> <0@stad.example.se>\r\n"
    b"\r\n"
    b"Hej!\r\nLampan \xc3\xa4r trasig.\r\n"
)


def test_a_head_carries_what_the_doors_ask_for() -> None:
    """Sender, subject, date in UTC, and references without brackets are read from the header section."""
    found = head(MAIL)
    assert (found.sender.name, found.sender.address) == ("Åsa", "asa@bo.example")
    assert found.subject == "Trasig lampa"
    assert found.message_id == "1@bo.example"
    assert found.date == datetime(2024, 3, 4, 8, 15, tzinfo=UTC)
    assert found.references == ("0@stad.example.se", "x@stad.example.se")
    assert found.auto_submitted is False
    assert found.defects == ()


@pytest.mark.parametrize(
    "other",
    [
        b"Received: from x.example by y.example; Tue, 05 Mar 2024 00:00:00 +0000\r\n" + MAIL,
        MAIL.replace(b"Received: from a.example by b.example", b"Received: from c.example\r\n\tby d.example"),
        b"Return-Path: <asa@bo.example>\r\nDelivered-To: kontakt@stad.example.se\r\nX-Spam-Status: No\r\n" + MAIL,
        b"Authentication-Results: mx; spf=pass\r\n dkim=pass\r\nARC-Seal: i=1\r\nStatus: RO\r\nX-UID: 4\r\n" + MAIL,
        MAIL.replace(b"\r\n", b"\n"),
        MAIL.replace(b"\r\n", b"\r"),
        MAIL.replace(b"Hej!\r\n", b"Hej!\r"),
        MAIL + b"\r\n\r\n",
        MAIL.rstrip(b"\r\n"),
    ],
    ids=[
        "one-more-received",
        "other-received",
        "delivered",
        "authenticated",
        "bare-lf",
        "bare-cr",
        "one-bare-cr",
        "empty-lines",
        "no-last-line-end",
    ],
)
def test_the_same_mail_by_another_road_has_the_same_identity(other: bytes) -> None:
    """Trace fields, kinds of line end and empty lines at the end do not make another mail."""
    assert head(other).identity == head(MAIL).identity


@pytest.mark.parametrize(
    "other",
    [
        MAIL.replace(b"<1@bo.example>", b"<2@bo.example>"),
        MAIL.replace(b"09:15:00", b"09:15:02"),
        MAIL.replace(b"trasig.", b"trasig!"),
        MAIL.replace(b"Hej!\r\n", b"Hej!\r\n\r\n"),
        MAIL.replace(b"Subject: Trasig", b"Subject: Hel"),
        MAIL.replace(b"\r\n\r\n", b"\r\nX-Spam-Note\r\n\r\n", 1),
    ],
    ids=["message-id", "date", "body-octet", "line-in-body", "subject", "broken-line"],
)
def test_another_mail_has_another_identity(other: bytes) -> None:
    """One differing octet that is not a trace of transport makes another mail."""
    assert head(other).identity != head(MAIL).identity


def test_a_trace_field_in_the_body_counts() -> None:
    """Only the header section is free of trace fields: words in the body are the citizen's."""
    one, two = (MAIL + line + b"\r\n" for line in (b"Received: brev", b"Received: paket"))
    assert head(one).identity != head(two).identity


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied",
        b"Auto-Submitted: auto-generated (rejected)",
        b"Precedence: bulk",
        b"Precedence: list",
        b"List-Id: <brf.listor.example>",
        b"List-Unsubscribe: <https://x.example>",
        b"X-Auto-Response-Suppress: All",
        b"X-Autoreply: yes",
        b"Return-Path: <>",
        b"X-Mailrouter-Case: GK-2024-1",
        b"X-Failed-Recipients: a@b.example",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b",
    ],
)
def test_robots_are_never_to_be_answered(field: bytes) -> None:
    """Each mark of RFC 3834 and its older kin forbids an acknowledgement."""
    assert head(field + b"\r\n" + MAIL).auto_submitted is True


@pytest.mark.parametrize("sender", [b"MAILER-DAEMON@mx.example", b"noreply@form.example", b"no-reply@x.example", b""])
def test_senders_that_read_no_mail_are_never_to_be_answered(sender: bytes) -> None:
    """A no-reply address, a mail system or no address at all gets no acknowledgement."""
    mail = MAIL.replace(b"=?utf-8?q?=C3=85sa?= <asa@bo.example>", sender)
    assert head(mail).auto_submitted is True


@pytest.mark.parametrize(
    "field", [b"Auto-Submitted: no", b"X-Spam-Status: No", b"X-Priority: 1", b"Precedence: special-delivery"]
)
def test_a_person_may_be_answered(field: bytes) -> None:
    """Fields that people's programs set do not forbid the acknowledgement."""
    assert head(field + b"\r\n" + MAIL).auto_submitted is False


@pytest.mark.parametrize("path", sorted(LETTERS.glob("*.eml")), ids=lambda path: path.stem)
def test_head_and_letter_agree(path: Path) -> None:
    """The doors and the work room read the same sender, subject, date and Message-ID out of every fixture."""
    octets = path.read_bytes()
    known, letter = head(octets), parse(octets)
    assert (known.sender, known.subject, known.date) == (letter.sender, letter.subject, letter.date)
    assert known.message_id == letter.message_id
    assert set(known.references) == {*letter.in_reply_to, *letter.references}


def test_a_header_without_end_is_cut() -> None:
    """A header section of many megabytes is read up to its bound, and that is said."""
    found = head(b"From: asa@bo.example\r\nSubject: x\r\n" + b"X-A: b\r\n" * 1_000_000)
    assert found.sender.address == "asa@bo.example"
    assert "headers-cut" in found.defects


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("Max Ek @ Bo AB <max@bo.example>", "Max Ek @ Bo AB", "max@bo.example"),
        ("Max@Bo <max@bo.example>", "Max@Bo", "max@bo.example"),
        ("Bo AB: Max <max@bo.example>", "Bo AB: Max", "max@bo.example"),
        ("Max, Bo AB, 031-000 <max@bo.example>", "Max, Bo AB, 031-000", "max@bo.example"),
        ("Max Ek <mailto:max@bo.example>", "Max Ek", "max@bo.example"),
        ("max@bo.example [mailto:max@bo.example]", "", "max@bo.example"),
        ("Max Ek max@bo.example", "Max Ek", "max@bo.example"),
        ("Max Ek </O=BO/OU=EX/CN=RECIPIENTS/CN=MAX>", "Max Ek", ""),
        ("'Max Ek' via Info <info@bo.example>", "'Max Ek' via Info", "info@bo.example"),
        ("'Max Ek' <max@bo.example>", "Max Ek", "max@bo.example"),
        ('"Max Ek <max@bo.example>" <robot@lista.example>', "Max Ek <max@bo.example>", "robot@lista.example"),
        ('Max "Maxe" Ek <max@bo.example>', 'Max "Maxe" Ek', "max@bo.example"),
        ('"max ek"@bo.example', "", '"max ek"@bo.example'),
        ("max@bo.example, Eva <eva@bo.example>", "", "max@bo.example"),
        ("undisclosed-recipients:;, Max <max@bo.example>", "Max", "max@bo.example"),
        ("=?windows-1252?Q?=C5sa_=D6berg_<asa@bo.example>?=", "Åsa Öberg", "asa@bo.example"),
    ],
)
def test_a_sender_is_found_however_it_is_written(written: str, name: str, address: str) -> None:
    """The mailbox in brackets is the sender's, and what stands before it is the name."""
    sender = head(b"From: " + written.encode() + b"\r\n\r\nHej\r\n").sender
    assert (sender.name, sender.address) == (name, address)
