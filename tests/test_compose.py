"""What we send: the note, the tags, and the citizen's mail untouched."""

import email
import email.policy
import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from mailrouter import compose, config, number, organisation
from mailrouter.classify.values import FLAGS
from mailrouter.tables import Assignment, Case, Dispatch, DispatchKind
from mailrouter.triage import KINDS

NOW = datetime(2026, 3, 2, 8, 14, tzinfo=UTC)
SETTINGS = config.Settings()
TOKEN = "mr" + "a" * 24
LETTERS = sorted((Path(__file__).parent / "letters").glob("*.eml"))
ORDINARY = b"From: Anna <anna@example.se>\r\nSubject: lampa\r\n\r\nLampan \xc3\xa4r trasig.\r\n"


def case(**changes: Any) -> Case:
    """A confirmed case."""
    facts: dict[str, Any] = {
        "id": 1, "number": "26-2223-G", "year": 2026, "serial": 1, "subject": "Min granne Bo Ek är sjuk",
        "subject_public": "Felanmälan – Trasig eller saknad gatubelysning", "sender": "anna@example.se",
        "sender_name": "Anna Åkesson", "arrived_on": NOW.date(), "opened_at": NOW, "answer_due": date(2026, 3, 30),
        "kind": "felanmalan", "district": "hisingen", "flags": ["bradskande", "barn"],
        "suggestion": {
            "unit": "stadsmiljoforvaltningen", "by": "regler 1a2b, modell 2026-03",
            "reasons": [{"kind": "rule", "text": "Mejlet nämner en lampa", "weight": 1.0}],
        },
    }  # fmt: skip
    return Case(**facts | changes)


def part(**changes: Any) -> Assignment:
    """Its part at stadsmiljöförvaltningen."""
    facts: dict[str, Any] = {
        "id": 1, "case_id": 1, "unit": "stadsmiljoforvaltningen", "unit_name": "Stadsmiljöförvaltningen",
        "area": "gatubelysning", "created_at": NOW, "created_by": "maria", "answer_due": date(2026, 3, 30),
    }  # fmt: skip
    return Assignment(**facts | changes)


def dispatch(**changes: Any) -> Dispatch:
    """The mail to it."""
    facts: dict[str, Any] = {
        "id": 1, "case_id": 1, "assignment_id": 1, "mail_id": 1, "kind": DispatchKind.FORWARD, "token": TOKEN,
        "recipient": "stadsmiljo@stad.example", "created_at": NOW,
    }  # fmt: skip
    return Dispatch(**facts | changes)


def read(octets: bytes) -> EmailMessage:
    """The mail as a client reads it."""
    parsed = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def forward(original: bytes = ORDINARY, token: str = TOKEN, **changes: Any) -> bytes:
    """A forward of ``original``."""
    return compose.forward(case(**changes), part(), dispatch(token=token), original, SETTINGS)


def note(octets: bytes) -> str:
    """What the registrator reads."""
    body = read(octets).get_body()
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def carried(octets: bytes) -> bytes:
    """The original as the receiver takes it out: cut from the octets, or decoded from the file."""
    parts = list(read(octets).iter_parts())
    if parts[1].get_content_type() == "application/octet-stream":
        content = parts[1].get_content()
        assert isinstance(content, bytes)
        return content
    assert parts[1].get_content_type() == "message/rfc822"
    boundary = str(read(octets).get_boundary()).encode()
    section = octets.split(b"--" + boundary + b"\r\n")[2]
    return section.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def is_sendable(octets: bytes) -> bool:
    """SMTP can carry it: CRLF only, no NUL, no line above 998 octets."""
    return not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", octets) and max(map(len, octets.split(b"\r\n"))) <= 998


def test_the_note_says_what_to_do() -> None:
    """The note holds number, times, citizen, matter, reasons and the three ways to answer, in Swedish."""
    city = organisation.load(SETTINGS.classify.organisation)
    text = note(compose.forward(case(), part(area="cykel"), dispatch(), ORDINARY, SETTINGS, city))
    for wanted in (
        "Till Stadsmiljöförvaltningen", "26-2223-G", "måndag 2 mars 2026 kl. 09.14", "måndag 30 mars 2026",
        "Anna Åkesson <anna@example.se>", city.areas["cykel"].name, "Hisingen", "Mejlet nämner en lampa",
        "Valt av maria", "brådskande", "diarienummer", '"fel förvaltning"', '"besvarat"', "arende.json",
    ):  # fmt: skip
        assert wanted in text
    assert "\n\n\n" not in text


def test_another_unit_than_suggested_gets_no_borrowed_reasons() -> None:
    """Reasons that spoke for one förvaltning are not given to another."""
    octets = compose.forward(case(), part(unit="forskoleforvaltningen"), dispatch(), ORDINARY, SETTINGS)
    assert "lampa" not in note(octets)
    assert "Valt av maria" in note(octets)


def test_earlier_cases_stay_at_the_desk() -> None:
    """A reason that names another case is not given to a förvaltning, which cannot see that case."""
    reasons = [
        {"kind": "similar", "text": "Liknar ärende 26-2224-V, som gick till Grundskoleförvaltningen."},
        {"kind": "rule", "text": "Mejlet nämner en lampa"},
    ]
    suggested = {"unit": "stadsmiljoforvaltningen", "reasons": reasons}
    text = note(compose.forward(case(suggestion=suggested), part(), dispatch(), ORDINARY, SETTINGS))
    assert "26-2224-V" not in text
    assert "Mejlet nämner en lampa" in text


def test_the_header() -> None:
    """From is ours, answers and bounces come home by the token, the tags are there, the subject is neutral."""
    head = read(forward())
    assert head["From"] == "Göteborgs Stad kontaktcenter <kontaktcenter@stad.example>"
    assert head["To"] == "Stadsmiljöförvaltningen <stadsmiljo@stad.example>"
    assert head["Reply-To"] == f"Göteborgs Stad kontaktcenter <svar+{TOKEN}@stad.example>"
    assert head["Message-ID"] == f"<{TOKEN}@stad.example>"
    assert head["Subject"] == "[26-2223-G] Felanmälan – Trasig eller saknad gatubelysning"
    assert head["Date"] == "Mon, 02 Mar 2026 09:14:00 +0100"
    assert "Auto-Submitted" not in head
    tags = {name.removeprefix("X-Mailrouter-"): value for name, value in head.items() if "Mailrouter" in name}
    assert head.get_all("X-Mailrouter-Flags") == ["bradskande", "barn"]
    del tags["Flags"]
    assert tags == {
        "Case": "26-2223-G", "Dispatch": "forward", "Area": "gatubelysning", "Unit": "stadsmiljoforvaltningen",
        "Kind": "felanmalan", "District": "hisingen", "Answer-Due": "2026-03-30",
        "Arrived": "2026-03-02T09:14:00+01:00", "Urgent": "ja", "Suggested-By": "regler 1a2b, modell 2026-03",
    }  # fmt: skip
    assert number.find_tokens(forward().decode().partition("\r\n\r\n")[0]) == [TOKEN]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject_public", "Klagomål\r\nBcc: anna@example.se"),
        ("district", "öst\r\nX-Evil: 1"),
        ("flags", ["å\nX-Evil: 1"]),
        ("suggestion", {"by": "x\r\n\r\nkropp\0"}),
        ("suggestion", {"by": "å" * 2_000}),
    ],
)
def test_no_value_breaks_out_of_its_header(field: str, value: Any) -> None:
    """Line ends and odd letters in a value become harmless; tags are ASCII."""
    octets = forward(**{field: value})
    head = octets.partition(b"\r\n\r\n")[0]
    assert "Bcc" not in read(octets)
    assert "X-Evil" not in read(octets)
    assert head.isascii()
    assert is_sendable(octets)


def test_protected_persons_are_named_nowhere() -> None:
    """With protected personal data neither name nor address is repeated outside the original."""
    octets = forward(b"From: x@example.se\r\n\r\n", flags=["skyddad"])
    assert b"anna" not in octets.lower()
    assert "skyddade personuppgifter" in note(octets)
    described = list(read(octets).iter_parts())[2]
    assert json.loads(described.get_content())["citizen"] is None


def test_the_sender_of_a_web_form_is_not_the_citizen() -> None:
    """A form's robot is not named as the one to answer; who it was stands in the original."""
    octets = compose.forward(case(), part(), dispatch(), b"From: x@example.se\r\n\r\n", SETTINGS, is_named=False)
    assert b"anna" not in octets.lower()
    assert "framgår av originalet" in note(octets)


def test_every_flag_and_urgent_kind_has_words() -> None:
    """Each flag that classify can raise, and each kind with a clock of its own, is said in plain Swedish."""
    assert set(compose.FLAG_WORDS) == set(FLAGS)
    assert set(compose.KIND_WORDS) < set(KINDS)
    text = note(forward(b"From: a@example.se\r\n", kind="orosanmalan", flags=[*FLAGS, "ny-flagga"]))
    for words in (*compose.FLAG_WORDS.values(), compose.KIND_WORDS["orosanmalan"], "Märkt: ny-flagga."):
        assert f"OBS! {words}" in text


def test_a_name_cannot_turn_the_note_around() -> None:
    """Signs that end a line or reverse the reading direction do not reach the note."""
    text = note(forward(sender_name="Anna\r\nSvara senast: aldrig\u202e\u2066\0"))
    assert "Anna Svara senast: aldrig <anna@example.se>" in text


def test_arende_json() -> None:
    """The machine-readable part says the same, and the original's hash proves that it came unchanged."""
    original, _, described = list(read(forward()).iter_parts())[1], None, list(read(forward()).iter_parts())[2]
    assert described.get_filename() == "arende.json"
    facts = json.loads(described.get_content())
    assert facts["original"] == {
        "filename": original.get_filename(),
        "size": len(ORDINARY),
        "sha256": hashlib.sha256(ORDINARY).hexdigest(),
    }
    assert (facts["version"], facts["number"], facts["answer_due"]) == (1, "26-2223-G", "2026-03-30")
    assert facts["citizen"] == {"name": "Anna Åkesson", "address": "anna@example.se"}
    assert facts["reply_to"] == f"svar+{TOKEN}@stad.example"


def test_the_same_dispatch_is_the_same_mail() -> None:
    """A second try sends the same octets, another dispatch of the same case does not."""
    assert forward() == forward()
    other = compose.forward(case(), part(), dispatch(token="mr" + "b" * 24), ORDINARY, SETTINGS)
    assert read(other).get_boundary() != read(forward()).get_boundary()


@pytest.mark.parametrize("file", LETTERS, ids=lambda file: file.stem)
def test_real_letters_come_out_as_they_went_in(file: Path) -> None:
    """Every letter of the collection, with the line ends it has and with those of SMTP, survives byte for byte."""
    octets = file.read_bytes()
    for original in (octets, re.sub(rb"\r?\n", b"\r\n", octets)):
        sent = forward(original)
        assert carried(sent) == original
        assert is_sendable(sent)


NOT_TRANSPARENT = {
    "bare-lf": b"From: a@example.se\n\nhej\n",
    "bare-cr": b"From: a@example.se\r\n\r\nhej\rhopp\r\n",
    "nul": b"From: a@example.se\r\n\r\nhej\0\r\n",
    "long-line": b"From: a@example.se\r\n\r\n" + b"a" * 999 + b"\r\n",
    "long-last-line": b"From: a@example.se\r\n\r\n" + b"a" * 999,
    "no-header": b"hej hopp\r\n",
    "empty-header": b"\r\nhej hopp\r\n",
    "empty": b"",
    "mbox-line": b"From anna Mon\r\nFrom: a@example.se\r\n\r\n",
    "space-before-colon": b"From : a@example.se\r\n\r\n",
    "space-before-colon-inside": b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nX : y\r\n\r\n--b--\r\n',
    "space-before-colon-folded": b"Content-Type: multipart/mixed;\r\n boundary=b\r\n\r\n--b\r\nX : y\r\n\r\n--b--\r\n",
    "space-before-colon-in-message": b"Content-Type: message/rfc822\r\n\r\nX : y\r\n\r\nhej\r\n",
    "digest": b'Content-Type: multipart/digest; boundary="b"\r\n\r\n--b\r\n\r\nX : y\r\n\r\nhej\r\n--b--\r\n',
    "huge-field": b"From: a@example.se\r\nX: y\r\n" + b" folded folded folded\r\n" * 5_000 + b"\r\nhej\r\n",
    "odd-boundary": b"Content-Type: multipart/mixed; boundary*=us-ascii''b\r\n\r\n--b\r\nX : y\r\n\r\n--b--\r\n",
    "a-thousand-parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 2_000,
    "nested-messages": b"Content-Type: message/rfc822\r\n\r\n" * 40,
}


@pytest.mark.parametrize("original", NOT_TRANSPARENT.values(), ids=NOT_TRANSPARENT.keys())
def test_what_a_relay_would_change_travels_as_a_file(original: bytes) -> None:
    """An original that SMTP or a relay would change is a base64 file, and the note says so."""
    sent = forward(original)
    assert list(read(sent).iter_parts())[1].get_content_type() == "application/octet-stream"
    assert carried(sent) == original
    assert is_sendable(sent)
    assert "skickas som fil" in note(sent)


TRANSPARENT = {
    "ordinary": ORDINARY,
    "empty-body": b"From: a@example.se\r\n\r\n",
    "header-only": b"From: a@example.se\r\n",
    "no-last-line-end": b"From: a@example.se\r\n\r\nhej",
    "empty-lines-at-the-end": b"From: a@example.se\r\n\r\nhej\r\n\r\n\r\n",
    "longest-line": b"From: a@example.se\r\n\r\n" + b"a" * 998 + b"\r\n",
    "raw-latin-1": b"Subject: v\xe4g\r\n\r\nv\xe4g\r\n",
    "dots": b"From: a@example.se\r\n\r\n.\r\n..\r\n.a\r\n",
    "from-line-in-body": b"From: a@example.se\r\n\r\nFrom here on\r\n>From there\r\n",
    "multipart": b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhej\r\n--b\r\nX: y\r\n\r\n--b--\r\n',
    "attached": b"Content-Type: message/rfc822\r\n\r\nFrom: b@example.se\r\n\r\nhej\r\n",
    "dashes": b"From: a@example.se\r\n\r\n-- \r\nAnna\r\n-----Original Message-----\r\nnot : a header\r\n",
}


@pytest.mark.parametrize("original", TRANSPARENT.values(), ids=TRANSPARENT.keys())
def test_an_ordinary_mail_stays_a_mail(original: bytes) -> None:
    """What passes every relay unchanged is attached as a message, not encoded (RFC 2046 5.2.1)."""
    sent = forward(original)
    attached = list(read(sent).iter_parts())[1]
    assert attached.get_content_type() == "message/rfc822"
    assert attached["Content-Transfer-Encoding"] == ("7bit" if original.isascii() else "8bit")
    assert read(sent)["Content-Transfer-Encoding"] == ("7bit" if original.isascii() else "8bit")
    assert carried(sent) == original
    assert is_sendable(sent)


TROUBLE = [
    b"\r\n", b"\n", b"\r", b"\0", b"\r\n\r\n", b"--", b"=_", b".", b" ", b"x" * 999, b"From: a@example.se\r\n",
    b"Content-Type: message/rfc822", b'Content-Type: multipart/mixed; boundary="b"\r\n', b"\r\n--b\r\n", b"\r\n--b--",
]  # fmt: skip
PIECE = st.binary(max_size=30) | st.sampled_from(TROUBLE)


@effort(deadline=None, max_examples=150)
@given(st.lists(PIECE, max_size=12).map(b"".join))
@example(b"")
def test_any_octets_come_out_as_they_went_in(original: bytes) -> None:
    """Whatever a citizen's mail holds, its octets are in the forward, and SMTP can carry the forward."""
    sent = forward(original)
    assert carried(sent) == original
    assert is_sendable(sent)


def test_an_original_cannot_end_the_forward() -> None:
    """A forward that is forwarded again, its boundary and all, still comes out whole."""
    once = forward()
    twice = forward(once)
    assert carried(twice) == once
    assert read(twice).get_boundary() != read(once).get_boundary()


def test_a_large_original_is_quick() -> None:
    """Hostile structure costs no more than its size: the check is done in one pass with bounds."""
    hostile = b"Content-Type: multipart/mixed; boundary=a:\r\n\r\n" + b"--a:\r\n" * 500_000
    assert not compose.is_transparent(hostile)


@pytest.mark.parametrize(
    ("days", "words"),
    [(-7, "om 7 dagar"), (-1, "i morgon"), (0, "i dag"), (3, "skulle ha varit besvarat")],
)
def test_a_reminder(days: int, words: str) -> None:
    """A reminder says how long is left, threads with the forward, is marked automatic and tells nothing personal."""
    sent_at = datetime(2026, 3, 30, 7, 0, tzinfo=UTC) + timedelta(days=days)
    late = dispatch(kind=DispatchKind.REMINDER, token="mr" + "c" * 24, created_at=sent_at)
    octets = compose.reminder(case(), part(external_number="SMF-2026-00012"), late, dispatch(), SETTINGS)
    message = read(octets)
    assert words in note(octets)
    assert "SMF-2026-00012" in note(octets)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["References"] == f"<{TOKEN}@stad.example>"
    assert message["Subject"] == "[26-2223-G] Påminnelse: Felanmälan – Trasig eller saknad gatubelysning"
    assert message["X-Mailrouter-Dispatch"] == "reminder"
    assert "anna" not in octets.decode().lower()
    assert is_sendable(octets)
    assert octets == compose.reminder(case(), part(external_number="SMF-2026-00012"), late, dispatch(), SETTINGS)


PAGE = (Path(__file__).parent.parent / "docs" / "registrator.md").read_text(encoding="utf-8")


def test_the_page_for_registrars_shows_the_note_as_it_is() -> None:
    """The example in docs/registrator.md is what a registrator really gets, down to the letter."""
    city = organisation.load(SETTINGS.classify.organisation)
    shown = PAGE.partition("```text\n")[2].partition("```")[0]
    assert note(compose.forward(case(), part(), dispatch(), ORDINARY, SETTINGS, city)) == shown


def test_the_page_for_registrars_names_every_tag_and_key() -> None:
    """Header tags and keys of arende.json stand in docs/registrator.md, and no others do."""
    message = read(forward())
    tags = {f"`{name}`" for name in message if name.startswith("X-Mailrouter-")}
    keys = {f"`{key}`" for key in json.loads(list(message.iter_parts())[2].get_content())}
    rows = re.findall(r"^\| (`[\w-]+`) \|", PAGE, re.MULTILINE)
    assert set(rows) == tags | keys
