"""From labelled mails to a model: its planes, its calibration, and what it reached on mails it did not see."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailrouter import learning
from mailrouter.classify import features, model
from mailrouter.classify import text as texts
from mailrouter.classify.rules import Rules, Seen
from mailrouter.classify.trust import Trust, families, measures
from mailrouter.classify.values import FLAGS, KINDS
from mailrouter.corpus import Labelled
from mailrouter.learning import Examples, Planes
from mailrouter.network import Network
from mailrouter.organisation import Organisation

Progress = Callable[[str], None]
Figures = dict[str, float]
NOTE = (
    "The seed corpus is synthetic: composed under written briefs by a language model, nobody's real mail, all names "
    "and numbers invented. What it measures on itself says little about real mail; see docs/model.md."
)
PROMISE = 0.98  # the promise whose coverage stands on the card; the operator's is a setting
FLAG_RECALL = {
    "bradskande": 0.87,
    "hot": 0.92,
    "skyddad": 0.92,
    "overklagande-frist": 0.95,
    "kanslig": 0.88,
    "barn": 0.88,
}
# Danger has few examples and many shapes: held back much, its model relies on what all examples share.
_FLAG_COST = {"bradskande": 0.005, "hot": 0.005}
_USUAL_COST = 0.05
_SHORT = ("snippets", "words", "extra-short")  # sources whose texts are a sentence or less
# Mails as most are. The others were composed to mislead, or so that no two are alike: they would overstate the doubt.
_PLAIN = ("proposals", "confirmed")
_LEAST_FLAGGED = 10  # mails with a flag below which a model of it would be noise


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from. ``tested`` are the rows that figures are made of: labelled mails of more than a sentence."""

    rows: Sequence[Labelled]
    vocabulary: features.Vocabulary
    areas: tuple[str, ...]
    family: NDArray[Any]  # each area's unit, as a number
    examples: Examples
    groups: NDArray[Any]  # near-duplicates have the same; a group never straddles a fold
    tested: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model that is not written yet. The card has no version and no hash."""

    card: model.ModelCard
    vocabulary: features.Vocabulary
    planes: Sequence[Planes]
    network: Network  # added to the first of the planes
    heads: Mapping[str, tuple[str, ...]]
    learnt: Lessons
    scores: NDArray[Any]  # of the areas, out of fold, for the tested rows
    likely: NDArray[Any]  # the probabilities they give


def lessons(rows: Sequence[Labelled], city: Organisation) -> Lessons:
    """Texts as numbers, with folds that keep near-duplicates together."""
    grams = [features.grams(texts.readable(row.query.subject, row.query.body)) for row in rows]
    vocabulary = features.learn_vocabulary(grams)
    matrix = vocabulary.matrix(grams)
    short = np.array([row.source.startswith(_SHORT) for row in rows])
    labelled = np.array([row.source != "words" for row in rows])
    areas = tuple(sorted({row.area for row in rows}))
    examples = Examples(matrix, np.array([areas.index(row.area) for row in rows]), short, len(areas))
    groups = learning.near_duplicates(matrix, examples.labels)
    return Lessons(rows, vocabulary, areas, families(areas, city), examples, groups, np.flatnonzero(labelled & ~short))


def fit(rows: Sequence[Labelled], city: Organisation, known: Rules, progress: Progress, *, now: datetime) -> Fitted:
    """Learn everything; the figures on the card are out of fold."""
    progress(f"läser {len(rows)} märkta mejl")
    learnt = lessons(rows, city)
    progress("lär sig ansvarsområden")
    areas = learning.fit_areas(learnt.examples, learnt.family)
    progress("prövar ansvarsområden på mejl som modellen inte sett")
    scores = area_scores(learnt)
    labels = learnt.examples.labels[learnt.tested]
    temperature, likely, trust, curve, figures = calibration(learnt, scores)
    progress("lär sig ärendetyp")
    kind_plane, figures["kind"] = _fit_kind(rows, learnt.examples, learnt.groups)
    progress("lär sig varningarna")
    flag_planes, thresholds, flag_figures = _fit_flags(rows, learnt.examples, learnt.groups, known)
    figures |= flag_figures | _district(rows, city)
    card = model.ModelCard(
        version="",
        made_at=now.isoformat(timespec="seconds"),
        sha256="",
        note=NOTE,
        data=dict(Counter(row.source.rpartition("-")[0] or row.source for row in rows)),
        window=_window(rows),
        temperature=temperature,
        trust=trust,
        curve=curve,
        measures={f"out of fold, {name}": round(value, 4) for name, value in figures.items()},
        areas=_by_area(likely.argmax(axis=1), labels, learnt.areas),
        thresholds=thresholds,
    )
    heads = {"area": learnt.areas, "kind": KINDS, "flag": FLAGS}
    planes = [areas.planes, kind_plane, *flag_planes]
    return Fitted(card, learnt.vocabulary, planes, areas.network, heads, learnt, scores, likely)


def area_scores(learnt: Lessons) -> NDArray[Any]:
    """Scores of the tested rows, each from a model that never saw their group."""
    return learning.out_of_fold(
        learnt.examples, learnt.groups, learnt.tested, partial(learning.fit_areas, families=learnt.family)
    )


def calibration(
    learnt: Lessons, scores: NDArray[Any]
) -> tuple[float, NDArray[Any], Trust, tuple[tuple[float, float], ...], Figures]:
    """Temperature, probabilities, trust, the promises' curve and the figures that out-of-fold scores give."""
    labels = learnt.examples.labels[learnt.tested]
    temperature = learning.temperature_of(scores, labels)
    likely = model.softmax(scores, temperature)
    plain = np.array([learnt.rows[int(index)].source.startswith(_PLAIN) for index in learnt.tested])
    return temperature, likely, *_trust(likely, labels, learnt.family, plain)


def _trust(
    likely: NDArray[Any], labels: NDArray[Any], family: NDArray[Any], plain: NDArray[Any]
) -> tuple[Trust, tuple[tuple[float, float], ...], Figures]:
    """Calibration, the promises' curve and the figures, out of fold.

    Both are learnt from the ``plain`` mails.
    """
    chosen = likely.argmax(axis=1)
    right, unit_right = chosen == labels, family[chosen] == family[labels]
    best = np.argsort(-likely, axis=1)[:, :3]
    measured = measures(likely, family)
    fitted = plain if plain.any() else np.ones(len(labels), dtype=bool)
    trust = learning.fit_trust(measured[fitted], right[fitted], unit_right[fitted])
    stated, certainty = trust.of_area(measured), trust.of_unit(measured)
    curve = learning.promise_curve(certainty[fitted], unit_right[fitted])
    sure = certainty >= dict(curve)[PROMISE]
    figures = {
        "area top-1": right.mean(),
        "area top-3": (best == labels[:, None]).any(axis=1).mean(),
        "unit top-1": unit_right.mean(),
        "unit top-3": _among_three(likely, family, labels).mean(),
        "area top-1, plain mails": right[fitted].mean(),
        "unit top-1, plain mails": unit_right[fitted].mean(),
        "calibration error": learning.calibration_error(stated, right),
        "calibration error, plain mails": learning.calibration_error(stated[fitted], right[fitted]),
        "calibration error of the unit, plain mails": learning.calibration_error(certainty[fitted], unit_right[fitted]),
        "sure, share of plain mails": sure[fitted].mean(),
        "sure, share of all": sure.mean(),
        "sure, unit right": unit_right[sure].mean() if sure.any() else 1.0,
    }
    return trust, curve, {name: float(value) for name, value in figures.items()}


def _among_three(likely: NDArray[Any], family: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Whether the unit is among the three that a suggestion shows first: the likeliest area's, then the likeliest."""
    units = np.zeros((len(likely), int(family.max()) + 1))
    np.add.at(units.T, family, likely.T)
    units[np.arange(len(likely)), family[likely.argmax(axis=1)]] = 2.0
    return np.asarray((np.argsort(-units, axis=1)[:, :3] == family[labels][:, None]).any(axis=1))


def _by_area(chosen: NDArray[Any], labels: NDArray[Any], areas: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rows, recall and precision of each area that has rows."""
    right = chosen == labels
    return {
        area: {
            "rows": int((labels == index).sum()),
            "recall": round(float(right[labels == index].mean()), 3),
            "precision": round(float(right[chosen == index].mean()) if (chosen == index).any() else 0.0, 3),
        }
        for index, area in enumerate(areas)
        if (labels == index).any()
    }


def _fit_kind(rows: Sequence[Labelled], examples: Examples, groups: NDArray[Any]) -> tuple[Planes, float]:
    """A plane whose scores are logarithms of probabilities but for a constant, and the share that was right."""
    known = np.flatnonzero(np.array([row.kind in KINDS for row in rows]))
    labels = np.array([KINDS.index(row.kind) for row in rows if row.kind in KINDS])
    kinds = Examples(examples.matrix[known], labels, examples.snippet[known], len(KINDS))
    tested = np.flatnonzero(~kinds.snippet)
    scores = learning.out_of_fold(kinds, groups[known], tested, learning.fit_several)
    temperature = learning.temperature_of(scores, labels[tested])
    plane = learning.fit_several(kinds)
    right = float((scores.argmax(axis=1) == labels[tested]).mean())
    return Planes(plane.weights / temperature, plane.intercept / temperature), right


def _fit_flags(
    rows: Sequence[Labelled], examples: Examples, groups: NDArray[Any], known: Rules
) -> tuple[list[Planes], dict[str, float], Figures]:
    """A plane a flag whose score is the log of the odds, the threshold that keeps the wanted recall, and figures.

    The rules' weights are added before the threshold is chosen, as they are in a suggestion. Mails whose flags
    nobody labelled teach nothing here.
    """
    told = np.flatnonzero(np.array([row.flags is not None for row in rows]))
    flagged = [rows[int(index)] for index in told]
    tested = np.flatnonzero(~examples.snippet[told])
    hits = _flag_weights([flagged[int(index)] for index in tested], known)
    planes, thresholds, figures = [], {}, {}
    for flag in FLAGS:
        labels = np.array([int(flag in (row.flags or ())) for row in flagged])
        if labels[tested].sum() < _LEAST_FLAGGED:  # too few to learn from: the rules alone decide
            planes.append(Planes(np.zeros((examples.matrix.shape[1], 1)), np.full(1, -1.0)))
            thresholds[flag] = 0.0
            continue
        raised = Examples(examples.matrix[told], labels, examples.snippet[told], 2)
        fit_flag = partial(learning.fit_binary, cost=_FLAG_COST.get(flag, _USUAL_COST))
        scores = learning.out_of_fold(raised, groups[told], tested, fit_flag)[:, 0]
        slope, offset = learning.log_odds(scores, labels[tested])
        odds = slope * scores + offset + hits[flag]
        thresholds[flag] = round(learning.threshold_for_recall(odds, labels[tested], FLAG_RECALL[flag]), 4)
        found = odds >= thresholds[flag]
        figures[f"recall of {flag}"] = float(found[labels[tested] == 1].mean())
        figures[f"precision of {flag}"] = float(labels[tested][found].mean())
        plane = fit_flag(raised)
        planes.append(Planes(plane.weights * slope, plane.intercept * slope + offset))
    return planes, thresholds, figures


def _flag_weights(rows: Sequence[Labelled], known: Rules) -> Mapping[str, NDArray[Any]]:
    """What the rules add to each flag's log odds, a row each."""
    weights = {flag: np.zeros(len(rows)) for flag in FLAGS}
    for index, row in enumerate(rows):
        for rule in known.hits(Seen(row.query)):
            if rule.then.flag is not None:
                weights[rule.then.flag][index] += rule.then.weight
    return weights


def _district(rows: Sequence[Labelled], city: Organisation) -> Figures:
    """How often the place is read as labelled; a confirmed case does not tell its place, nor does a phrase."""
    placed = [row for row in rows if row.district is not None]
    found = [city.district_of(f"{row.query.subject}\n{row.query.body}").district == row.district for row in placed]
    return {"district, where one is named": sum(found) / len(found)} if found else {}


def _window(rows: Sequence[Labelled]) -> tuple[str, str]:
    days = sorted(row.day for row in rows if row.day)
    return (days[0], days[-1]) if days else ("", "")
