"""Counts that single nobody out: restricted cases and small numbers are told without what they are about.

A restricted case is counted, but never under its kind, place or language (OSL 21 and 26 kap.). A value that only
a few cases have goes into the row REST, and so does the smallest value beside it while REST itself is small:
otherwise the total would tell it by subtraction.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

FEWEST = 5  # what fewer cases have in common could be somebody


@dataclass(frozen=True, slots=True)
class Row:
    """How many cases have ``value``; "" are those whose value is not known, small, or not told."""

    value: str
    count: int


REST = ""


def discreet(counted: Iterable[tuple[str, bool, int]]) -> list[Row]:
    """Rows of a table, the largest first and REST last, from (value, restricted, count)."""
    told: Counter[str] = Counter()
    for value, restricted, count in counted:
        told[REST if restricted else value] += count
    rest = told.pop(REST, 0)
    rows = [Row(value, count) for value, count in told.most_common() if count]
    while rows and (rows[-1].count < FEWEST or 0 < rest < FEWEST):
        rest += rows.pop().count
    return [*rows, Row(REST, rest)] if rest else rows


def told(count: int) -> int | None:
    """A number of restricted cases as it may be told: None means that there are fewer than FEWEST, but some."""
    return None if 0 < count < FEWEST else count
