"""Mails about cases that are urgent, or that few may know of."""

import email.policy
import json
from email import message_from_bytes
from typing import Any

import pytest

from mailrouter import compose
from mailrouter.tables import DispatchKind
from tests.test_compose import SETTINGS, case, dispatch, forward, note, part, read

# Nothing of the person: name, address, place, and the words that the suggestion rests on.
PERSON = ("Anna", "Åkesson", "anna@example.se", "hisingen", "Hisingen", "lampa")


def ours(octets: bytes) -> str:
    """All that we say ourselves in a forward: header, note and arende.json."""
    parts = list(read(octets).iter_parts())
    header = str(message_from_bytes(octets.partition(b"\r\n\r\n")[0], policy=email.policy.default))
    return "\n".join([header, note(octets), parts[2].get_content().decode()])


@pytest.mark.parametrize("changes", [{"flags": ["skyddad"]}, {"restricted": "skyddad", "flags": []}])
def test_nothing_of_a_protected_person_is_repeated(changes: dict[str, Any]) -> None:
    """Neither subject, note, tags nor arende.json; the original holds it all."""
    octets = forward(**changes)
    assert not any(word in ours(octets) for word in PERSON)
    assert read(octets)["Subject"] == "[26-2223-G] Ärende med begränsad insyn"
    assert b"Lampan" in octets


def test_a_report_of_concern_tells_nothing_in_its_subject() -> None:
    """It is marked as urgent and asks for a telephone call; reporter and words stand in the original alone."""
    octets = forward(kind="orosanmalan", flags=["barn"], subject_public="Orosanmälan – Barn som far illa")
    assert read(octets)["Subject"] == "[26-2223-G] Skyndsamt ärende, läs genast"
    assert "helst per telefon" in note(octets)
    assert "Anna" not in ours(octets)
    reminder = compose.reminder(
        case(kind="orosanmalan"), part(), dispatch(kind=DispatchKind.REMINDER), dispatch(), SETTINGS
    )
    assert "Påminnelse: Skyndsamt ärende" in read(reminder)["Subject"]
    assert "gatubelysning" not in str(read(reminder)["Subject"])


@pytest.mark.parametrize(
    ("changes", "urgent"),
    [
        ({"kind": "overklagande"}, True), ({"kind": "begaran-handling"}, True), ({"kind": "orosanmalan"}, True),
        ({"flags": ["bradskande"]}, True), ({"flags": ["hot"]}, True), ({"flags": ["barn", "kanslig"]}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_what_is_urgent_says_so_to_the_mail_program(changes: dict[str, Any], urgent: bool) -> None:
    """Importance, the old X-Priority and a tag for rules; a plain case has none of the three."""
    mail = read(forward(**{"flags": [], **changes}))
    said = [mail["Importance"], mail["X-Priority"], mail["X-Mailrouter-Urgent"]]
    assert said == (["high", "1", "ja"] if urgent else [None] * 3)


def test_an_appeal_has_its_arrival_printed() -> None:
    """To the minute in the note and to the second in tag and arende.json, since a time limit hangs on it."""
    octets = forward(kind="overklagande", flags=["overklagande-frist"])
    assert "Kom in:        måndag 2 mars 2026 kl. 09.14" in note(octets)
    assert read(octets)["X-Mailrouter-Arrived"] == "2026-03-02T09:14:00+01:00"
    described = json.loads(list(read(octets).iter_parts())[2].get_content())
    assert described["arrived_at"] == "2026-03-02T09:14:00+01:00"
