"""Sums over judged mails. Nothing in here grows with the number of mails, but for the lists that are cut."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailrouter.organisation import Organisation
from mailrouter.replay.judging import Judged
from mailrouter.replay.truth import Answer

_FINE = 1000  # steps of probability that the curve is made of
_BINS = 10  # of the picture that shows whether probabilities hold
_LISTED = 200  # names in a list
_EXAMPLES = 3  # of a confusion
NOBODY = ""  # no unit: the place decides and is not known, or the mail is no matter


@dataclass
class Hits:
    """How often something was right."""

    right: int = 0
    of: int = 0

    def add(self, right: bool) -> None:
        self.right += right
        self.of += 1

    @property
    def share(self) -> float:
        return self.right / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95 % (Wilson): a few mails tell little."""
        if not self.of:
            return 0.0, 1.0
        z, n, p = 1.96, self.of, self.share
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_json(self) -> dict[str, Any]:
        return {"right": self.right, "of": self.of, "share": round(self.share, 4)}


@dataclass
class Confusions:
    """What was taken for what, with a few examples by name."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # (true, suggested), also where they agree
    examples: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, true: str, suggested: str, name: str) -> None:
        self.pairs[true, suggested] += 1
        if true != suggested and len(self.examples[true, suggested]) < _EXAMPLES:
            self.examples[true, suggested].append(name)

    def worst(self, count: int) -> list[tuple[str, str, int, list[str]]]:
        """True, suggested, how often, examples: the most frequent disagreements first."""
        wrong = [(pair, number) for pair, number in self.pairs.items() if pair[0] != pair[1]]
        wrong.sort(key=lambda each: (-each[1], each[0]))
        return [(*pair, number, self.examples[pair]) for pair, number in wrong[:count]]


class Tally:
    """Everything the report tells."""

    def __init__(self, city: Organisation, promise: float, by: str, *, with_truth: bool) -> None:
        self.city, self.promise, self.by, self.with_truth = city, promise, by, with_truth
        self.broken_off = ""  # why the run ended before the source did
        self.total = self.humans = self.sure = self.no_unit = 0
        self.natures: Counter[str] = Counter()
        self.faults = 0
        self.unreadable: list[tuple[str, str]] = []  # name and why; the first ones
        self.units: Counter[str] = Counter()
        self.units_sure: Counter[str] = Counter()
        self.areas: Counter[str] = Counter()
        self.areas_sure: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.languages_sure: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.districts: Counter[str] = Counter()
        self.stated = [0.0] * _BINS  # sum of probabilities in a bin
        self.bins = [Hits() for _ in range(_BINS)]  # of: mails; right: where the area is known and was right
        self.unit_first, self.unit_three, self.unit_sure = Hits(), Hits(), Hits()
        self.area_first, self.area_three = Hits(), Hits()
        self.by_unit: dict[str, Hits] = defaultdict(Hits)
        self.by_unit_sure: dict[str, Hits] = defaultdict(Hits)
        self.unit_confusions, self.area_confusions = Confusions(), Confusions()
        self.sure_but_wrong: list[tuple[str, str, str]] = []  # name, true unit, suggested; the first ones
        self.fine = [Hits() for _ in range(_FINE)]

    def add(self, judged: Judged, answer: Answer | None) -> None:
        """Count one mail; ``answer`` is what was right, if somebody said."""
        self.total += 1
        if judged.fault:
            self.faults += 1
            if len(self.unreadable) < _LISTED:
                self.unreadable.append((judged.place, judged.fault))
            return
        self.natures[judged.nature] += 1
        if judged.human:
            self._count(judged)
            if answer is not None:
                self._compare(judged, answer)

    def _count(self, judged: Judged) -> None:
        self.humans += 1
        unit, area = judged.units[0] or NOBODY, judged.areas[0]
        self.units[unit] += 1
        self.areas[area] += 1
        self.languages[judged.language] += 1
        self.kinds[judged.kind] += 1
        self.flags.update(judged.flags)
        self.districts[judged.district or NOBODY] += 1
        if judged.sure:
            self.sure += 1
            self.units_sure[unit] += 1
            self.areas_sure[area] += 1
            self.languages_sure[judged.language] += 1

    def _compare(self, judged: Judged, answer: Answer) -> None:
        if answer.area is not None:
            right = judged.areas[0] == answer.area
            self.area_first.add(right)
            self.area_three.add(answer.area in judged.areas)
            self.area_confusions.add(answer.area, judged.areas[0], _name(judged))
            place = min(int(judged.probability * _BINS), _BINS - 1)
            self.stated[place] += judged.probability
            self.bins[place].add(right)
        if answer.unit is not None:
            self._compare_units(judged, answer.unit)

    def _compare_units(self, judged: Judged, true: str) -> None:
        suggested = judged.units[0] or NOBODY
        right = suggested == true
        self.unit_first.add(right)
        self.unit_three.add(true in judged.units)
        self.by_unit[true].add(right)
        self.unit_confusions.add(true, suggested, _name(judged))
        self.fine[min(int(judged.unit_probability * _FINE), _FINE - 1)].add(right)
        if judged.sure:
            self.unit_sure.add(right)
            self.by_unit_sure[true].add(right)
            if not right and len(self.sure_but_wrong) < _LISTED:
                self.sure_but_wrong.append((_name(judged), true, suggested))

    @property
    def robots(self) -> int:
        """Mails that programs wrote."""
        return self.total - self.faults - self.humans

    def curve(self) -> list[tuple[float, float]]:
        """Coverage and precision of the unit when everything from a probability on were called sure."""
        points, right, of = [], 0, 0
        for hits in reversed(self.fine):
            if hits.of:
                right, of = right + hits.right, of + hits.of
                points.append((of / self.unit_first.of, right / of))
        return points

    def best_coverage(self) -> float:
        """The largest share of mails that could be called sure with the promise kept."""
        return max((coverage for coverage, precision in self.curve() if precision >= self.promise), default=0.0)

    def calibration_error(self) -> float:
        """Mean distance between stated and true probability of the area, weighed by the mails in each bin."""
        gaps = [abs(stated - hits.right) for stated, hits in zip(self.stated, self.bins, strict=True)]
        return sum(gaps) / self.area_first.of if self.area_first.of else 0.0

    def as_json(self) -> dict[str, Any]:
        """The same figures for programs; shares are of one."""
        counted = {
            "mails": self.total,
            "unreadable": {
                "count": self.faults,
                "first": [dict(zip(("mail", "why"), one, strict=True)) for one in self.unreadable],
            },
            "by_programs": self.robots,
            "natures": _sorted(self.natures),
            "by_people": self.humans,
            "sure": self.sure,
            "abstained": self.humans - self.sure,
            "units": _sorted(self.units),
            "units_sure": _sorted(self.units_sure),
            "areas": _sorted(self.areas),
            "languages": _sorted(self.languages),
            "kinds": _sorted(self.kinds),
            "flags": _sorted(self.flags),
            "districts": _sorted(self.districts),
            "by": self.by,
            "promise": self.promise,
            "broken_off": self.broken_off,
        }
        return counted | ({"truth": self._truth_as_json()} if self.with_truth else {})

    def _truth_as_json(self) -> dict[str, Any]:
        return {
            "unit_top_1": self.unit_first.as_json(),
            "unit_top_3": self.unit_three.as_json(),
            "unit_of_the_sure": self.unit_sure.as_json(),
            "area_top_1": self.area_first.as_json(),
            "area_top_3": self.area_three.as_json(),
            "coverage_with_the_promise_kept": round(self.best_coverage(), 4),
            "calibration_error": round(self.calibration_error(), 4),
            "by_unit": {unit: hits.as_json() for unit, hits in sorted(self.by_unit.items())},
            "unit_confusions": _worst(self.unit_confusions),
            "area_confusions": _worst(self.area_confusions),
            "sure_but_wrong": [
                dict(zip(("mail", "true", "suggested"), one, strict=True)) for one in self.sure_but_wrong
            ],
        }


def _name(judged: Judged) -> str:
    """How a person finds a mail again."""
    return f"{judged.place} <{judged.message_id}>" if judged.message_id else judged.place


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _worst(confusions: Confusions) -> list[dict[str, Any]]:
    names = ("true", "suggested", "count", "examples")
    return [dict(zip(names, one, strict=True)) for one in confusions.worst(_LISTED)]
