"""Make a new model version from the seed corpus and the confirmed cases, and let it in only if it is better."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailrouter import classify, config, corpus, evaluate, learning, organisation
from mailrouter.classify import features, model, rules
from mailrouter.classify import text as texts
from mailrouter.classify.rules import Rules, Seen
from mailrouter.classify.trust import Trust, families, measures
from mailrouter.classify.values import FLAGS, KINDS
from mailrouter.corpus import Labelled
from mailrouter.learning import Examples, Planes
from mailrouter.organisation import Organisation

Progress = Callable[[str], None]
NOTE = (
    "The seed corpus is synthetic: composed under written briefs by a language model, nobody's real mail, all names "
    "and numbers invented. What it measures on itself says little about real mail; see docs/model.md."
)
PROMISE = 0.98  # the promise whose coverage stands on the card; the operator's is a setting
FLAG_RECALL = {
    "bradskande": 0.92,
    "hot": 0.95,
    "skyddad": 0.93,
    "overklagande-frist": 0.95,
    "kanslig": 0.88,
    "barn": 0.88,
}
_SHORT = ("snippets", "words", "extra-short")  # sources whose texts are a sentence or less
_MISLEADING = ("indirect",)  # mails composed to mislead
_RECENT = 0.2  # share of the confirmed cases, the newest, that a new version is judged on
_ENOUGH = 50  # confirmed cases below which the validation mails judge instead
_LEAST_FLAGGED = 10  # mails with a flag below which a model of it would be noise
_LEAST_WEIGHT = 0.03  # of a column's largest weight; smaller ones are noise and cost space


def train(
    settings: config.Classify,
    confirmed: Iterable[Labelled],
    progress: Progress,
    *,
    now: datetime,
) -> model.ModelCard:
    """Train a version, write it to models/<version>/, and use it if it beats the current one.

    Whether it did stands in the card's measures as ``used`` (1 or 0).
    """
    city = organisation.load(settings.organisation)
    known = [row for row in confirmed if row.area in city.areas]
    teach, held = _split(known)
    rows = corpus.seed(settings.models / "corpus", city) + corpus.words(settings.models / "corpus", city) + teach
    version = _fit(settings, rows, city, progress, now)
    judged_on = held or corpus.validation(settings.models / "corpus")
    return _judge(settings, version, judged_on, progress, now)


def use(models: Path, version: str) -> None:
    """Make a version the one in use; also the way back to an older one. Raises ModelError when it is not sound."""
    model.load(models, version)
    aside = models / f"{model.CURRENT}.new"
    aside.write_text(version + "\n", encoding="ascii")
    aside.replace(models / model.CURRENT)


def _split(confirmed: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """What to learn from, and the newest cases to be judged on (none when there are few)."""
    if len(confirmed) < _ENOUGH:
        return list(confirmed), []
    ordered = sorted(confirmed, key=lambda row: row.day)
    border = round(len(ordered) * (1 - _RECENT))
    return ordered[:border], ordered[border:]


def _fit(
    settings: config.Classify, rows: Sequence[Labelled], city: Organisation, progress: Progress, now: datetime
) -> str:
    progress(f"läser {len(rows)} märkta mejl")
    grams = [features.grams(texts.readable(row.query.subject, row.query.body)) for row in rows]
    vocabulary = features.learn_vocabulary(grams)
    matrix = vocabulary.matrix(grams)
    short = np.array([row.source.startswith(_SHORT) for row in rows])
    labelled = np.array([row.source != "words" for row in rows])
    areas = tuple(sorted({row.area for row in rows}))
    examples = Examples(matrix, np.array([areas.index(row.area) for row in rows]), short, len(areas))
    groups = learning.near_duplicates(matrix, examples.labels)
    tested = np.flatnonzero(labelled & ~short)

    progress("lär sig ansvarsområden")
    family = families(areas, city)
    fit_areas = partial(learning.fit_areas, families=family)
    planes = [fit_areas(examples)]
    progress("prövar ansvarsområden på mejl som modellen inte sett")
    scores = learning.out_of_fold(examples, groups, tested, fit_areas)
    plain = np.array([not rows[int(index)].source.startswith(_MISLEADING) for index in tested])
    temperature = learning.temperature_of(scores, examples.labels[tested])
    likely = model.softmax(scores, temperature)
    trust, curve, area_figures = _trust(likely, examples.labels[tested], family, plain)
    by_area = _by_area(likely.argmax(axis=1), examples.labels[tested], areas)

    progress("lär sig ärendetyp")
    kind_plane, kind_right = _fit_kind(rows, examples, groups)
    planes.append(kind_plane)
    area_figures["kind"] = kind_right

    progress("lär sig varningarna")
    flag_planes, thresholds = _fit_flags(rows, examples, groups, rules.load(settings.rules, city))
    planes += flag_planes
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
        measures={f"out of fold, {name}": round(value, 4) for name, value in area_figures.items()},
        areas=by_area,
        thresholds=thresholds,
    )
    return _write(settings.models, card, vocabulary, planes, {"area": areas, "kind": KINDS, "flag": FLAGS})


def _trust(
    likely: NDArray[Any], labels: NDArray[Any], family: NDArray[Any], plain: NDArray[Any]
) -> tuple[Trust, tuple[tuple[float, float], ...], dict[str, float]]:
    """Calibration, the promises' curve and the figures, out of fold.

    Both are learnt from the ``plain`` mails: those composed to mislead would overstate the doubt in all others.
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
        "area top-1, plain mails": right[fitted].mean(),
        "unit top-1, plain mails": unit_right[fitted].mean(),
        "calibration error": learning.calibration_error(stated, right),
        "calibration error, plain mails": learning.calibration_error(stated[fitted], right[fitted]),
        "sure, share of plain mails": sure[fitted].mean(),
        "sure, share of all": sure.mean(),
        "sure, unit right": unit_right[sure].mean() if sure.any() else 1.0,
    }
    return trust, curve, {name: float(value) for name, value in figures.items()}


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
) -> tuple[list[Planes], dict[str, float]]:
    """A plane a flag whose score is the log of the odds, and the threshold that keeps the wanted recall.

    The rules' weights are added before the threshold is chosen, as they are in a suggestion. Mails whose flags
    nobody labelled teach nothing here.
    """
    told = np.flatnonzero(np.array([row.flags is not None for row in rows]))
    flagged = [rows[int(index)] for index in told]
    tested = np.flatnonzero(~examples.snippet[told])
    hits = _flag_weights([flagged[int(index)] for index in tested], known)
    planes, thresholds = [], {}
    for flag in FLAGS:
        labels = np.array([int(flag in (row.flags or ())) for row in flagged])
        if labels[tested].sum() < _LEAST_FLAGGED:  # too few to learn from: the rules alone decide
            planes.append(Planes(np.zeros((examples.matrix.shape[1], 1)), np.full(1, -1.0)))
            thresholds[flag] = 0.0
            continue
        raised = Examples(examples.matrix[told], labels, examples.snippet[told], 2)
        scores = learning.out_of_fold(raised, groups[told], tested, learning.fit_binary)[:, 0]
        slope, offset = learning.log_odds(scores, labels[tested])
        odds = slope * scores + offset + hits[flag]
        thresholds[flag] = round(learning.threshold_for_recall(odds, labels[tested], FLAG_RECALL[flag]), 4)
        plane = learning.fit_binary(raised)
        planes.append(Planes(plane.weights * slope, plane.intercept * slope + offset))
    return planes, thresholds


def _flag_weights(rows: Sequence[Labelled], known: Rules) -> Mapping[str, NDArray[Any]]:
    """What the rules add to each flag's log odds, a row each."""
    weights = {flag: np.zeros(len(rows)) for flag in FLAGS}
    for index, row in enumerate(rows):
        for rule in known.hits(Seen(row.query)):
            if rule.then.flag is not None:
                weights[rule.then.flag][index] += rule.then.weight
    return weights


def _write(
    models: Path,
    card: model.ModelCard,
    vocabulary: features.Vocabulary,
    planes: Sequence[Planes],
    heads: Mapping[str, Sequence[str]],
) -> str:
    packed, scale = model.quantised(np.concatenate([plane.weights for plane in planes], axis=1), _LEAST_WEIGHT)
    arrays: dict[str, NDArray[Any]] = {
        "hashes": vocabulary.hashes,
        "idf": vocabulary.idf.astype(np.float16),
        "weights": packed,
        "scale": scale,
        "intercept": np.concatenate([plane.intercept for plane in planes]).astype(np.float32),
    }
    version = f"{card.made_at[:10]}-{hashlib.sha256(packed.tobytes()).hexdigest()[:6]}"
    sha256 = model.save_weights(models / version, arrays, heads)
    model.save_card(models / version, replace(card, version=version, sha256=sha256))
    return version


def _judge(
    settings: config.Classify, version: str, held: Sequence[Labelled], progress: Progress, now: datetime
) -> model.ModelCard:
    """Measure the new version beside the current one, and use it when the gate opens."""
    progress(f"jämför med modellen i bruk på {len(held)} mejl")
    card = model.load_card(settings.models / version)
    figures = _figures(settings, version, held, now)
    try:
        standing = _figures(settings, None, held, now)
    except model.ModelError:  # none in use, or one that is damaged: the new one can only be better
        standing = {}
    opened = better(figures, standing)
    measures = dict(card.measures) | {name: round(value, 4) for name, value in figures.items()} | {"used": int(opened)}
    card = replace(card, measures=measures)
    model.save_card(settings.models / version, card)
    if opened:
        use(settings.models, version)
    return card


def _figures(
    settings: config.Classify, version: str | None, held: Sequence[Labelled], now: datetime
) -> dict[str, float]:
    """Figures on the held mails; flags and kind on the validation mails, since a confirmed case does not tell them."""
    classifier = classify.load(settings, version)
    validation = evaluate.measure(classifier, corpus.validation(settings.models / "corpus"), now.date())
    return validation | evaluate.measure(classifier, held, now.date())


def better(new: Mapping[str, float], old: Mapping[str, float]) -> bool:
    """The gate: no flag may lose recall, and the unit must be right at least as often."""
    flags = [name for name in old if name.startswith("recall of ")]
    return all(new[name] >= old[name] for name in flags) and new["unit top-1"] >= old.get("unit top-1", 0.0)


def discard(models: Path, version: str) -> None:
    """Remove a version that is not in use. Raises ModelError when it is."""
    if model.current_version(models) == version:
        raise model.ModelError(f"the version {version} is in use and cannot be removed")
    shutil.rmtree(models / version)


def _window(rows: Sequence[Labelled]) -> tuple[str, str]:
    days = sorted(row.day for row in rows if row.day)
    return (days[0], days[-1]) if days else ("", "")
