"""How good the suggestions are on labelled mails, in figures a person can hold against a promise."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np

from mailrouter import classify, learning
from mailrouter.classify.values import FLAGS, Verdict
from mailrouter.corpus import Labelled
from mailrouter.organisation import Organisation


def measure(classifier: classify.Classifier, rows: Sequence[Labelled], on: date) -> dict[str, float]:
    """Every figure of docs/model.md for labelled mails, as shares of one.

    The unit of a place-split area counts as right when the area is right, since the place is judged by itself.
    """
    verdicts = classifier.classify([row.query for row in rows], on)
    return {
        **_routes(verdicts, rows, classifier.organisation),
        **_promise(verdicts, rows, classifier.organisation, classifier.promise),
        **_flags(verdicts, rows),
        **_others(verdicts, rows),
    }


def _unit_key(area: str, organisation: Organisation) -> str:
    return area if organisation.areas[area].place_split else str(organisation.areas[area].unit)


def _units(verdict: Verdict, organisation: Organisation) -> list[str]:
    return [_unit_key(candidate.area, organisation) for candidate in verdict.candidates]


def _routes(verdicts: Sequence[Verdict], rows: Sequence[Labelled], organisation: Organisation) -> dict[str, float]:
    pairs = list(zip(verdicts, rows, strict=True))
    keys = [_unit_key(row.area, organisation) for row in rows]
    units = [_units(verdict, organisation) for verdict in verdicts]
    return {
        "area top-1": _share(verdict.area == row.area for verdict, row in pairs),
        "area top-3": _share(row.area in [one.area for one in verdict.candidates[:3]] for verdict, row in pairs),
        "unit top-1": _share(found[0] == key for found, key in zip(units, keys, strict=True)),
        "unit top-3": _share(key in found[:3] for found, key in zip(units, keys, strict=True)),
    }


def _promise(
    verdicts: Sequence[Verdict], rows: Sequence[Labelled], organisation: Organisation, promise: float
) -> dict[str, float]:
    pairs = list(zip(verdicts, rows, strict=True))
    likely = np.array([verdict.probability for verdict in verdicts])
    certain = np.array([verdict.unit_probability for verdict in verdicts])
    right = np.array([verdict.area == row.area for verdict, row in pairs])
    units = np.array([_units(one, organisation)[0] == _unit_key(row.area, organisation) for one, row in pairs])
    sure = np.array([not verdict.abstain for verdict in verdicts])
    best = learning.threshold_for_precision(certain, units, promise)
    return {
        "sure, share of all": float(sure.mean()),
        "sure, area right": float(right[sure].mean()) if sure.any() else 1.0,
        "sure, unit right": float(units[sure].mean()) if sure.any() else 1.0,
        f"coverage at {promise:.0%} unit precision": float((certain >= best).mean()),
        "calibration error of the area": learning.calibration_error(likely, right),
        "the same, bins of equal size": learning.calibration_error(likely, right, equal_size=True),
        "calibration error of the unit": learning.calibration_error(certain, units),
        "the same for units, equal size": learning.calibration_error(certain, units, equal_size=True),
        "chance alone would give": learning.chance_error(likely),
    }


def _flags(verdicts: Sequence[Verdict], rows: Sequence[Labelled]) -> dict[str, float]:
    """Recall and precision of the flags that some row has; rows whose flags nobody told are left out."""
    told = [(verdict.flags, row.flags) for verdict, row in zip(verdicts, rows, strict=True) if row.flags is not None]
    figures = {}
    for flag in FLAGS:
        true = sum(flag in flags for _, flags in told)
        raised = sum(flag in found for found, _ in told)
        both = sum(flag in found and flag in flags for found, flags in told)
        if true:
            figures[f"recall of {flag}"] = both / true
            figures[f"precision of {flag}"] = both / max(raised, 1)
    return figures


def _others(verdicts: Sequence[Verdict], rows: Sequence[Labelled]) -> dict[str, float]:
    pairs = list(zip(verdicts, rows, strict=True))
    kinds = [verdict.kind == row.kind for verdict, row in pairs if row.kind]
    return ({"kind": _share(kinds)} if kinds else {}) | {
        "district": _share(verdict.district == row.district for verdict, row in pairs)
    }


def _share(answers: Iterable[bool]) -> float:
    """Share of true ones; 1 when there is none to be wrong about."""
    listed = list(answers)
    return sum(listed) / len(listed) if listed else 1.0


def unit_confusions(
    classifier: classify.Classifier, rows: Sequence[Labelled], on: date
) -> tuple[list[str], list[list[int]]]:
    """Names of the units that are true or suggested, and how often each true one (row) got each suggested (column)."""
    city = classifier.organisation
    verdicts = classifier.classify([row.query for row in rows], on)
    pairs = Counter((_unit_key(row.area, city), _units(one, city)[0]) for row, one in zip(rows, verdicts, strict=True))
    keys = sorted({key for pair in pairs for key in pair}, key=lambda key: _unit_name(key, city))
    return [_unit_name(key, city) for key in keys], [[pairs[true, found] for found in keys] for true in keys]


def _unit_name(key: str, city: Organisation) -> str:
    """A unit's name; of an area whose unit a place decides, its own."""
    return city.units[key].name if key in city.units else city.areas[key].name if key in city.areas else "ingen"


def table(figures: Mapping[str, float]) -> str:
    """The figures as aligned lines of per cent."""
    return "\n".join(f"{name:36} {value:6.1%}" for name, value in figures.items())


def confused(classifier: classify.Classifier, rows: Sequence[Labelled], on: date) -> list[tuple[tuple[str, str], int]]:
    """Pairs of true and suggested area that differ, the commonest first."""
    verdicts = classifier.classify([row.query for row in rows], on)
    pairs = Counter(
        (row.area, verdict.area) for row, verdict in zip(rows, verdicts, strict=True) if row.area != verdict.area
    )
    return pairs.most_common()
