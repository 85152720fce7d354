"""Numbers that must not be shown are found, and others are left."""

import pytest

from mailrouter.classify import sensitive


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Mitt nummer är 811228-9874.", "Mitt nummer är [personnummer]."),
        ("19811228-9874 och 198112289874", "[personnummer] och [personnummer]"),
        ("8112289874", "[personnummer]"),
        ("811228+9874", "[personnummer]"),  # over a hundred years old
        ("811228 9874", "[personnummer]"),
        ("samordningsnummer 701063-2391", "samordningsnummer [personnummer]"),  # day + 60
        ("811228-9873", "811228-9873"),  # the check digit is wrong
        ("811328-9874", "811328-9874"),  # no such month
        ("Ring 031-365 00 00 eller 070-174 06 05", "Ring 031-365 00 00 eller 070-174 06 05"),
        ("ärende 0263/20 den 2024-05-12", "ärende 0263/20 den 2024-05-12"),
        ("kortet 4111 1111 1111 1111 drogs", "kortet [kortnummer] drogs"),
        ("4111-1111-1111-1112", "4111-1111-1111-1112"),
        ("", ""),
    ],
)
def test_numbers_are_masked(text: str, shown: str) -> None:
    """Personnummer of every writing and card numbers are masked when their check digit holds."""
    assert sensitive.masked(text) == shown


def test_places_are_told() -> None:
    """Each finding says what it is and where it stands."""
    (found,) = sensitive.find("nr 811228-9874!")
    assert (found.kind, found.start, found.end) == ("personnummer", 3, 14)
