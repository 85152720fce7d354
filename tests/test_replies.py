"""What registrators' replies say, as real clients write them."""

import json
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter import letter, organisation, replies
from mailrouter.config import DEFAULTS
from mailrouter.number import format_number
from mailrouter.organisation import Organisation
from mailrouter.replies import Reply, Understood, understand

FOLDER = Path(__file__).parent / "replies"
ON = date(2026, 3, 3)


@cache
def city() -> Organisation:
    """The organisation as shipped."""
    return organisation.load(DEFAULTS / "rules" / "organisation.yaml")


def said(words: str, subject: str = "SV: [26-2223-G] Felanmälan", unit: str = "stadsmiljoforvaltningen") -> Understood:
    """What is understood of a reply from a unit."""
    return understand(Reply(subject, words, frozenset()), city().units[unit], city(), ON)


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.eml")))
def test_replies_of_real_clients(name: str) -> None:
    """Whatever a client quotes around it, the registrator's own words decide and nothing else."""
    expected = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    reply = replies.of(letter.parse((FOLDER / f"{name}.eml").read_bytes()))
    found = understand(reply, city().units["stadsmiljoforvaltningen"], city(), ON)
    assert {
        "diarienummer": found.diarienummer,
        "returned": found.returned,
        "right_unit": found.right_unit,
        "answered": found.answered,
        "doubts": list(found.doubts),
    } == expected


@pytest.mark.parametrize(
    "words",
    [
        "besvarat", "Besvarad 3/3", "Vi har svarat medborgaren.", "Ärendet avslutat", "Svar skickat till medborgaren.",
        "Medborgaren har fått svar.", "Hej, jag har nu svarat på detta. Mvh Eva", "Återkopplat per telefon.",
        "Vi har svarat medborgaren om lampan och att den lagas.", "Handläggaren svarade i går.", "Har lämnat svar.",
    ],
)  # fmt: skip
def test_ways_to_say_that_it_is_answered(words: str) -> None:
    """The word of the cover note, and what people write instead."""
    assert said(words) == Understood(answered=True)


@pytest.mark.parametrize(
    "words",
    [
        "inte besvarat än", "Är det besvarat?", "Vi har inte svarat ännu.", "När vi har svarat hör vi av oss.",
        "Det kommer att vara besvarat i morgon.", "Ska besvaras, ännu inte besvarat", "Om det är avslutat, säg till.",
        "Delvis besvarat.", "Har ni svarat medborgaren", "Besvarat? Jag vet inte.", "Vi har svarat er tidigare.",
    ],
)  # fmt: skip
def test_what_is_not_yet_an_answer(words: str) -> None:
    """Negations, questions and plans decide nothing and ask for a person."""
    found = said(words)
    assert (found.answered, found.returned) == (False, False)
    assert found.doubts


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("fel förvaltning", ""),
        ("Fel förvaltning, ska till Kretslopp och vatten", "kretslopp-och-vatten"),
        ("Detta hör inte hemma hos oss.", ""),
        ("inte vårt ansvar", ""),
        ("Det är inte vårt.", ""),
        ("Ska till miljöförvaltningen.", "miljoforvaltningen"),
        ("Felskickat", ""),
        ("tillhör grundskoleförvaltningen", "grundskoleforvaltningen"),
        ("Har hamnat fel. Hör till Socialförvaltning Hisingen.", "social-hisingen"),
        ("Vi ansvarar inte för kyrkogårdar.", ""),
        ("Fel nämnd! Rätt förvaltning är Stadsbyggnad", "stadsbyggnadsforvaltningen"),
        ("Detta ligger inte på vårt bord utan hos kulturförvaltningen", "kulturforvaltningen"),
        ("Fel förvaltning: antingen kulturförvaltningen eller miljöförvaltningen", ""),
        ("Fel, stadsmiljöförvaltningen är fel förvaltning", ""),
    ],
)
def test_ways_to_say_that_it_is_not_theirs(words: str, right: str) -> None:
    """The words of the cover note and its kin; the right unit when exactly one other is named."""
    assert said(words) == Understood(returned=True, right_unit=right)


@pytest.mark.parametrize(
    "words",
    [
        "Är det fel förvaltning?",
        "Kanske fel förvaltning",
        "Det är inte fel förvaltning.",
        "Om det är fel nämnd, säg till",
    ],
)
def test_what_does_not_return_a_case(words: str) -> None:
    """Who is unsure returns nothing by mail: a person reads it."""
    found = said(words)
    assert not found.returned
    assert found.doubts


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("0263/20", "0263/20"), ("SLK-2023-00155", "SLK-2023-00155"), ("N123-0456/21", "N123-0456/21"),
        ("KS 2021-00098", "KS 2021-00098"), ("2016/KS0096", "2016/KS0096"), ("2018/29-700 SN", "2018/29-700 SN"),
        ("Dnr: 1234", "1234"), ("diarienr 26/17", "26/17"), ("Diariefört som KS 0411/26.", "KS 0411/26"),
        ("dnr. smf-2026-01234", "smf-2026-01234"), ("Vårt ärendenummer är 2026:88", "2026:88"),
        ("Dnr 0263/26 (tidigare 0100/25)", ""), ("Läsåret 2024/25", ""), ("prop. 2024/25:89", ""), ("SFS 2018:1", ""),
        ("26-2223-G", ""), ("Ring 031-365 00 00", ""), ("850101-1234", ""), ("2026-03-02 kl. 10", ""), ("den 12/3", ""),
        ("Dnr 0263/26 och dnr 0264/26", ""), ("Dnr 0263/26, se vägmärke 9999/26", "0263/26"),
    ],
)  # fmt: skip
def test_diarienummer(words: str, value: str) -> None:
    """The formats that cities use are known; dates, telephones, our own number and two at once are none."""
    assert said(words).diarienummer == value


def test_a_unit_with_numbers_of_its_own() -> None:
    """A unit's own patterns take the place of the usual ones; a number with its label is taken in any case."""
    unit = replace(city().units["intraservice"], diarienummer=(r"IS\d{6}",))

    def of(words: str) -> str:
        return understand(Reply("", words, frozenset()), unit, city(), ON).diarienummer

    assert (of("IS004711"), of("0263/20"), of("Dnr 0263/20")) == ("IS004711", "", "0263/20")


def test_the_subject_counts() -> None:
    """A number behind our subject is found, and our own number in it is not."""
    assert (
        said("", subject=f"SV: [{format_number(2026, 1)}] Fråga – Bibliotek, dnr KUF-2026-00017").diarienummer
        == "KUF-2026-00017"
    )


@given(st.text(max_size=300))
def test_no_text_breaks_it(words: str) -> None:
    """Whatever is written, there is an answer, and never that a case is both returned and answered."""
    found = said(words)
    assert not (found.returned and found.answered)
