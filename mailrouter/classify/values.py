"""What a suggestion is, as frozen values that serialise to JSON and stay explainable for years."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that spoke for or against, in plain Swedish. ``kind`` is rule, word, place or similar."""

    kind: str
    text: str
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An area with the unit it leads to; ``unit`` is None when the place that decides it is not known."""

    area: str
    unit: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What classify says of a letter. ``by`` names the rules' hash and the model's version."""

    candidates: tuple[Candidate, ...]  # best first, at least three
    kind: str
    district: str | None
    flags: tuple[str, ...]
    language: str
    reasons: tuple[Reason, ...]
    abstain: bool
    by: str

    @property
    def area(self) -> str:
        """The likeliest area."""
        return self.candidates[0].area

    @property
    def unit(self) -> str | None:
        """The unit of the likeliest area."""
        return self.candidates[0].unit

    @property
    def probability(self) -> float:
        """The calibrated probability that ``area`` is right."""
        return self.candidates[0].probability

    def as_json(self) -> dict[str, Any]:
        """The keys that other programs build on: area, unit, probability, abstain, candidates, kind, ..."""
        first = {"area": self.area, "unit": self.unit, "probability": self.probability}
        return first | asdict(self)
