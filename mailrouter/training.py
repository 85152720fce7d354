"""Make a new model version from the seed corpus and the confirmed cases, and let it in only if it is better."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailrouter import classify, config, corpus, evaluate, fitting, organisation, review, stacking
from mailrouter.classify import encoder, model, rules
from mailrouter.classify import text as texts
from mailrouter.corpus import Labelled
from mailrouter.fitting import Fitted, Progress
from mailrouter.network import Network
from mailrouter.review import Doubt

_RECENT = timedelta(weeks=3)  # the confirmed cases of so long are not learnt from: a new version is judged on them
_ENOUGH = 50  # confirmed cases that can judge; with fewer in all, the validation mails judge instead
_MOST = 5  # at most one of so many confirmed cases is kept for judging
_STEPS = 31  # of the network's weights, each way: fewer are smaller in git and as good
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
    teach, held = split(known)
    rows = corpus.seed(settings.models / "corpus", city) + corpus.words(settings.models / "corpus", city) + teach
    made = fitting.fit(rows, city, rules.load(settings.rules, city), progress, now=now)
    version = _write(settings.models, made)
    progress("söker märkningar som inget liknande mejl håller med om")
    review.write(settings.models / version, _doubts(made))
    _ask_encoder(settings.models, version, made, progress)
    judged_on = _unseen(settings.models, held) or corpus.validation(settings.models / "corpus")
    return _judge(settings, version, judged_on, progress, now)


def _doubts(made: Fitted) -> list[Doubt]:
    learnt = made.learnt
    tested = [learnt.rows[int(index)] for index in learnt.tested]
    labels = learnt.examples.labels[learnt.tested]
    return review.doubts(tested, learnt.examples.matrix[learnt.tested], labels, made.likely, learnt.areas)


def _ask_encoder(models: Path, version: str, made: Fitted, progress: Progress) -> None:
    """Add the second opinion of the operator's encoder to a version, where there is one and it helps."""
    second = encoder.load(models)
    if second is None:
        return
    learnt = made.learnt
    progress(f"frågar kodaren {second.manifest.name} om {len(learnt.rows)} mejl")
    vectors = second.encode_cached([texts.readable(row.query.subject, row.query.body) for row in learnt.rows])
    stacked = stacking.stack(learnt.examples, learnt.groups, learnt.tested, made.scores, vectors)
    if stacked is None:
        progress("kodaren hjälper inte och lämnas utanför")
        return
    temperature, _, trust, curve, figures = fitting.calibration(learnt, stacked.scores)
    calibrated = {"temperature": temperature, "trust": asdict(trust), "curve": curve}
    encoder.save_dense(models / version, second.manifest, stacked.planes.weights, stacked.planes.intercept, calibrated)
    card = model.load_card(models / version)
    measures = {f"out of fold with the encoder, {name}": round(value, 4) for name, value in figures.items()}
    model.save_card(models / version, replace(card, measures=dict(card.measures) | measures))


def use(models: Path, version: str) -> None:
    """Make a version the one in use; also the way back to an older one. Raises ModelError when it is not sound."""
    model.load(models, version)
    aside = models / f"{model.CURRENT}.new"
    aside.write_text(version + "\n", encoding="ascii")
    aside.replace(models / model.CURRENT)


def split(confirmed: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """What to learn from, and the newest cases to be judged on: those of the last weeks, none when there are few.

    The border only ever moves on, so that no version has learnt from the cases that its successor is judged on.
    """
    if len(confirmed) < _ENOUGH:
        return list(confirmed), []
    ordered = sorted(confirmed, key=lambda row: row.day)
    begin = (date.fromisoformat(ordered[-1].day) - _RECENT).isoformat()
    recent = sum(row.day > begin for row in ordered)
    border = len(ordered) - min(max(recent, _ENOUGH), len(ordered) // _MOST)
    return ordered[:border], ordered[border:]


def _unseen(models: Path, held: Sequence[Labelled]) -> list[Labelled]:
    """Those of the held cases that the version in use cannot have learnt from; none when they are too few to judge."""
    try:
        learnt_until = model.load_card(models / model.current_version(models)).window[1]
    except model.ModelError:
        learnt_until = ""
    unseen = [row for row in held if row.day > learnt_until]
    return unseen if len(unseen) >= _ENOUGH // _MOST else []


def _write(models: Path, made: Fitted) -> str:
    packed, scale = model.quantised(np.concatenate([plane.weights for plane in made.planes], axis=1), _LEAST_WEIGHT)
    arrays: dict[str, NDArray[Any]] = {
        "hashes": made.vocabulary.hashes,
        "idf": made.vocabulary.idf.astype(np.float16),
        "weights": packed,
        "scale": scale,
        "intercept": np.concatenate([plane.intercept for plane in made.planes]).astype(np.float32),
        **_hidden(made.network),
    }
    version = f"{made.card.made_at[:10]}-{hashlib.sha256(packed.tobytes()).hexdigest()[:6]}"
    sha256 = model.save_weights(models / version, arrays, made.heads)
    model.save_card(models / version, replace(made.card, version=version, sha256=sha256))
    return version


def _hidden(made: Network) -> dict[str, NDArray[Any]]:
    inward, scale = model.quantised(made.inward, 0.0, _STEPS)
    return {
        "hidden_kept": made.kept.astype(np.int32),
        "hidden_inward": inward,
        "hidden_scale": scale,
        "hidden_bias": made.bias.astype(np.float32),
        "hidden_outward": made.outward.astype(np.float16),
        "hidden_last": made.last.astype(np.float32),
    }


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
    measures = dict(card.measures) | {name: round(value, 4) for name, value in figures.items()}
    measures |= {"judged on mails": len(held), "used": int(opened)}
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
    """The gate: no flag may lose recall, and the unit must be right more often.

    Where it is right as often, more of it among the first three decides, and then the area.
    """
    flags = [name for name in old if name.startswith("recall of ")]
    return all(new[name] >= old[name] for name in flags) and _rank(new) > _rank(old)


def _rank(figures: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(figures.get(name, -1.0) for name in ("unit top-1", "unit top-3", "area top-1", "area top-3"))


def discard(models: Path, version: str) -> None:
    """Remove a version that is not in use. Raises ModelError when it is."""
    if model.current_version(models) == version:
        raise model.ModelError(f"the version {version} is in use and cannot be removed")
    shutil.rmtree(models / version)
