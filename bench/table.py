"""Figures as a table, and whether they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """What was measured: (theirs, ours) for each round, in mails a second."""

    what: str
    other: str
    rates: Sequence[tuple[float, float]]
    floor: float  # the ratio below which the bench fails
    ambition: float

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours to theirs: both of a round met the same noise."""
        return median(ours / theirs for theirs, ours in self.rates)

    def __str__(self) -> str:
        theirs, ours = (_spread(column) for column in zip(*self.rates, strict=True))
        return _line(
            self.what, self.other, theirs, ours, f"{self.ratio:.1f}x", f"{self.floor:.1f}x", f"{self.ambition:.1f}x"
        )


def _line(what: str, other: str, theirs: str, ours: str, ratio: str, floor: str, wish: str) -> str:
    return f"{what:<46} {other:<16} {theirs:>20} {ours:>20} {ratio:>6} {floor:>6} {wish:>6}"


HEADER = _line("mails a second: median [least-most]", "beside", "theirs", "ours", "ratio", "floor", "wish")


def _spread(rates: Sequence[float]) -> str:
    return f"{median(rates):,.0f} [{min(rates):,.0f}-{max(rates):,.0f}]"
