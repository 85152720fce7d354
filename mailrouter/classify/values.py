"""What a suggestion is, as frozen values that serialise to JSON and stay explainable for years."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

KINDS = (
    "klagomal",
    "fraga",
    "berom",
    "forslag",
    "felanmalan",
    "begaran-handling",
    "overklagande",
    "skadestand",
    "orosanmalan",
    "ovrigt",
)
FLAGS = ("bradskande", "hot", "skyddad", "overklagande-frist", "kanslig", "barn")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked about: a mail reduced to what the suggestion may look at."""

    id: str
    subject: str
    body: str
    sender: str = ""  # address of the sender, or empty
    fields: tuple[tuple[str, str], ...] = ()  # labelled fields of a web form
    automatic: bool = False  # written by a program: auto-reply, delivery report, newsletter

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Query":
        """A JSON Lines object with id, subject, body and optionally from. Raises ValueError naming the fault."""
        for key in ("subject", "body", "from"):
            if not isinstance(line.get(key) or "", str):
                raise ValueError(f'"{key}" is not a text')  # noqa: TRY004 (a fault of the data)
        return cls(
            id=str(line.get("id", "")),
            subject=line.get("subject") or "",
            body=line.get("body") or "",
            sender=line.get("from") or "",
        )


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that spoke for or against, in plain Swedish. ``kind`` is rule, word, place or similar."""

    kind: str
    text: str
    weight: float = 0.0
    words: tuple[str, ...] = ()  # what of the mail it rests on, as written there; for word and place
    cases: tuple[str, ...] = ()  # numbers of the earlier cases it rests on; for similar


@dataclass(frozen=True, slots=True)
class Candidate:
    """An area with the unit it leads to; ``unit`` is None when the place that decides it is not known."""

    area: str
    unit: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What classify says of a letter. ``by`` names the rules' hash and the model's version."""

    candidates: tuple[Candidate, ...]  # best first, at least three; the first three lead to different units
    kind: str
    district: str | None
    flags: tuple[str, ...]
    language: str
    reasons: tuple[Reason, ...]
    abstain: bool
    by: str
    unit_probability: float = 0.0  # calibrated probability that the likeliest area's unit is right

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
        first = {"area": self.area, "unit": self.unit, "probability": self.probability, "abstain": self.abstain}
        return first | asdict(self)
