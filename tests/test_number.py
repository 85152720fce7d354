"""Case numbers and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter.number import ALPHABET, NumberError, find_tokens, format_number, new_token, read_number

YEARS = st.integers(2020, 2099)
SERIALS = st.integers(1, 31**4 + 5)


@given(YEARS, SERIALS)
def test_a_number_is_read_back_however_it_is_written(year: int, serial: int) -> None:
    """Small letters, spaces and missing hyphens do no harm."""
    number = format_number(year, serial)
    assert read_number(number) == number
    assert read_number(f" {number.lower().replace('-', ' ')} ") == number


@given(YEARS, SERIALS, st.data())
def test_one_wrong_character_is_noticed(year: int, serial: int, data: st.DataObject) -> None:
    """The check character catches every single mistake, the year's digits included."""
    number = format_number(year, serial)
    place = data.draw(st.sampled_from([index for index, letter in enumerate(number) if letter != "-"]))
    alphabet = "0123456789" if place < 2 else ALPHABET
    wrong = data.draw(st.sampled_from([letter for letter in alphabet if letter != number[place]]))
    with pytest.raises(NumberError):
        read_number(number[:place] + wrong + number[place + 1 :])


@given(YEARS, SERIALS, st.integers(3, 6))
def test_swapped_characters_are_noticed(year: int, serial: int, place: int) -> None:
    """Two neighbours that change places are noticed."""
    number = format_number(year, serial)
    left, right = number[place], number[place + 1]
    if left != right and "-" not in {left, right}:
        with pytest.raises(NumberError):
            read_number(number[:place] + right + left + number[place + 2 :])


@given(SERIALS)
def test_nothing_that_can_be_misread(serial: int) -> None:
    """A number of 2026 has neither O, 0, I, 1 nor L."""
    assert not set(format_number(2026, serial)) & set("O0I1L")


def test_numbers_of_a_year_are_all_different() -> None:
    """The first ten thousand serials give ten thousand numbers."""
    assert len({format_number(2026, serial) for serial in range(1, 10_001)}) == 10_000


def test_a_token_is_found_where_mail_carries_it() -> None:
    """In a reply address, in a Message-ID, in capitals; not inside a longer word."""
    token = new_token()
    assert find_tokens(f"To: <svar+{token}@stad.example>") == [token]
    assert find_tokens(f"<{token.upper()}@stad.example>") == [token]
    assert find_tokens(f"x{token}") == []
