"""The digest as a mail: what it says, that it is the same at every try, and that the page for registrars shows it."""

from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from mailrouter import compose, config
from mailrouter.tables import Dispatch, DispatchKind
from tests.test_compose import NOW, TOKEN, is_sendable, note, read

SETTINGS = config.Settings()
KEYS = (b"k" * 32,)
PAGE = (Path(__file__).parent.parent / "docs" / "registrator.md").read_text(encoding="utf-8")


def line(number: str, subject: str, due: str, left: int, own: str = "") -> dict[str, Any]:
    """A case in a digest."""
    return {
        "case": 1, "assignment": 1, "number": number, "subject": subject, "unit": "Stadsmiljöförvaltningen",
        "answer_due": due, "days_left": left, "diarienummer": own, "token": TOKEN,
    }  # fmt: skip


CASES = (
    line("26-2223-G", "Felanmälan – Trasig eller saknad gatubelysning", "2026-03-30", -8, "SMF-2026-00012"),
    line("26-2226-9", "", "2026-04-07", 0, "SMF-2026-00019"),
    line("26-2224-X", "Klagomål – Cykelvägar", "2026-04-14", 7),
)


def digest(*cases: dict[str, Any], to: str = "registrator", keys: tuple[bytes, ...] = ()) -> bytes:
    """A digest of the seventh of April."""
    dispatch = Dispatch(
        case_id=1, assignment_id=1, kind=DispatchKind.DIGEST, recipient="stadsmiljo@stad.example", token=TOKEN,
        created_at=NOW, detail={"to": to, "cases": list(cases)},
    )  # fmt: skip
    return compose.digest(dispatch, SETTINGS, keys)


def test_the_page_for_registrars_shows_the_digest_as_it_is() -> None:
    """The example in docs/registrator.md is what a registrator really gets, down to the letter."""
    shown = PAGE.partition("## Påminnelser")[2].partition("```text\n")[2].partition("```")[0]
    assert note(digest(*CASES)) == shown


def test_the_header() -> None:
    """A program's mail about several cases, each named in a tag; its subject tells how many."""
    octets = digest(*CASES)
    message = read(octets)
    assert message["Subject"] == "Påminnelse: 3 ärenden väntar på er"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Mailrouter-Dispatch"] == "digest"
    assert message.get_all("X-Mailrouter-Case") == ["26-2223-G", "26-2226-9", "26-2224-X"]
    assert message["In-Reply-To"] is None
    assert is_sendable(octets)
    assert octets == digest(*CASES)


def test_one_case_stays_in_its_thread() -> None:
    """A digest of one case threads with its forward."""
    message = read(digest(CASES[0]))
    assert message["Subject"] == "Påminnelse: 1 ärende väntar på er"
    assert message["References"] == message["In-Reply-To"] == f"<{TOKEN}@stad.example>"


def test_the_head_is_told_so() -> None:
    """The head reads what is late, and that the registrator was told too."""
    octets = digest(CASES[0], to="chef")
    assert read(octets)["Subject"] == "Till chefen: 1 ärende är inte besvarat i tid"
    assert "inte besvarade i tid" in note(octets)


def test_links_are_signed_for_each_case() -> None:
    """With a key each case has its link; without one, or when they are switched off, there are none."""
    assert note(digest(*CASES, keys=KEYS)).count("/svar/besvarat/") == 3
    assert "/svar/" not in note(digest(*CASES))


def test_no_subject_breaks_out_of_its_line() -> None:
    """Line ends and signs that turn text around do no harm; a mail of hostile words is still one mail."""
    octets = digest(line("26-2223-G", "Lampa\r\nBcc: x@y.example\u202e", "2026-03-30", 1, "1\r\n\r\n2"))
    assert message_from_bytes(octets, policy=policy.default)["Bcc"] is None
    assert "26-2223-G  Lampa Bcc: x@y.example\n" in note(octets)
    assert "i morgon" in note(octets)
