"""Case numbers and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrouter.number import ALPHABET, NumberError, find_numbers, find_tokens, format_number, new_token, read_number

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


def test_a_token_survives_what_mail_servers_do() -> None:
    """Folded header lines, quoted-printable breaks, encoded plus signs, and addresses rewritten around it."""
    token = new_token()
    folded = f"References: <a@b.example>\r\n <{token[:12]}\r\n {token[12:]}@stad.example>"
    broken = f"To: svar+{token[:20]}=\r\n{token[20:]}@stad.example"
    rewritten = f"SRS0=HHH=TT=stad.example=svar+{token}@post.example prvs=1=svar%2B{token}@stad.example svar_{token}@x"
    assert find_tokens(folded) == find_tokens(broken) == find_tokens(rewritten) == [token]


def test_a_token_has_no_character_that_looks_like_another() -> None:
    """Neither l nor 1 nor o nor 0 can stand in one, so that nothing needs to be guessed."""
    assert not set("l1io0") & set("".join(new_token().removeprefix("mr") for _ in range(200)))


def test_numbers_in_a_text() -> None:
    """The numbers that people write are found; what only looks like one is not."""
    first, second = format_number(2026, 1), format_number(2026, 77)
    assert find_numbers(f"SV: [{first}] som {second.lower()}, {first}") == [first, second]
    assert find_numbers(f"26-2223-X x{first} {first}9 2026-03-02 26-2222-2") == []
