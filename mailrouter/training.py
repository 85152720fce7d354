"""Make a new model version from the seed corpus and the confirmed cases, and decide whether it may be used."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from mailrouter import config, corpus
from mailrouter.classify import features, model
from mailrouter.classify import text as texts
from mailrouter.classify.values import FLAGS, KINDS
from mailrouter.corpus import Labelled

Progress = Callable[[str], None]
NOTE = (
    "The seed corpus is synthetic: composed under written briefs by a language model, nobody's real mail. "
    "What it measures on itself says little about real mail; see docs/model.md."
)
PROMISE = 0.98
_SNIPPET_WEIGHT = 0.2


def train(
    settings: config.Classify, confirmed: Iterable[Labelled], progress: Progress, *, now: datetime
) -> model.ModelCard:
    """Train on everything, write models/<version>/ and return its card."""
    rows = corpus.seed(settings.models / "corpus") + list(confirmed)
    progress(f"läser {len(rows)} märkta brev")
    grams = [features.grams(texts.readable(row.query.subject, row.query.body)) for row in rows]
    vocabulary = features.learn_vocabulary(grams)
    matrix = vocabulary.matrix(grams)
    weights = np.array([_SNIPPET_WEIGHT if row.source.startswith("snippets") else 1.0 for row in rows])
    areas = tuple(sorted({row.area for row in rows}))
    progress("lär sig ansvarsområden")
    planes = [_fit(matrix, np.array([areas.index(row.area) for row in rows]), weights)]
    progress("lär sig ärendetyp och varningar")
    planes.append(_fit(matrix, np.array([KINDS.index(row.kind) for row in rows]), weights))
    planes += [_fit(matrix, np.array([flag in row.flags for row in rows]), weights) for flag in FLAGS]
    heads = {"area": areas, "kind": KINDS, "flag": FLAGS}
    coefficients = np.concatenate([plane[0] for plane in planes]).T
    intercept = np.concatenate([plane[1] for plane in planes]).astype(np.float32)
    packed, scale = model.quantised(coefficients, 0.02)
    version = f"{now:%Y-%m-%d}-{hashlib.sha256(packed.tobytes()).hexdigest()[:6]}"
    folder = settings.models / version
    arrays: dict[str, NDArray[Any]] = {
        "hashes": vocabulary.hashes,
        "idf": vocabulary.idf.astype(np.float16),
        "weights": packed,
        "scale": scale,
        "intercept": intercept,
    }
    card = model.ModelCard(
        version=version,
        made_at=now.isoformat(timespec="seconds"),
        sha256=model.save_weights(folder, arrays, heads),
        note=NOTE,
        data=dict(Counter(row.source for row in rows)),
        window=_window(rows),
        temperature=0.3,
        threshold=0.9,
        promise=PROMISE,
    )
    model.save_card(folder, card)
    (settings.models / model.CURRENT).write_text(version + "\n", encoding="ascii")
    return card


def _fit(matrix: Any, labels: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    plane = LinearSVC(C=0.5).fit(matrix, labels, weights)
    return plane.coef_, plane.intercept_


def _window(rows: Sequence[Labelled]) -> tuple[str, str]:
    days = sorted(row.day for row in rows if row.day)
    return (days[0], days[-1]) if days else ("", "")
