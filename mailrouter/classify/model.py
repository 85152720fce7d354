"""A trained model: linear weights over hashed features, stored as plain arrays that execute nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailrouter.classify.features import Grams, Located, Vocabulary
from mailrouter.classify.trust import Trust

CURRENT = "current"  # the file in models/ whose text is the version in use
CARD, WEIGHTS = "card.json", "weights.npz"
Scores = NDArray[np.float32]


class ModelError(ValueError):
    """No usable model; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a version is, was made of and reached. Written beside its weights as card.json."""

    version: str
    made_at: str  # ISO 8601, UTC
    sha256: str  # of weights.npz; a file that differs is refused
    note: str  # the honest word on the training data
    data: Mapping[str, int]  # labelled mails by source
    window: tuple[str, str]  # first and last day of the confirmed cases; empty strings without any
    temperature: float
    trust: Trust  # what turns probabilities into those that held out of fold
    curve: tuple[tuple[float, float], ...]  # promise, and the probability of the unit from which it held out of fold
    measures: Mapping[str, float] = field(default_factory=dict)
    areas: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # area -> precision, recall, rows
    thresholds: Mapping[str, float] = field(default_factory=dict)  # flag -> log odds that raise it

    def threshold(self, promise: float) -> float:
        """The probability of the unit from which a mail may be called sure; above 1 where nothing held that much."""
        return next((threshold for kept, threshold in sorted(self.curve) if kept >= promise), 1.1)


@dataclass(frozen=True, slots=True)
class Hidden:
    """A small network for the first head, beside the linear layer: one hidden layer over the commoner features."""

    kept: NDArray[np.int32]  # the features it looks at, sorted
    inward: NDArray[np.int8]  # kept x hidden
    scale: NDArray[np.float32]  # one step of int8, for each hidden value
    bias: NDArray[np.float32]
    outward: NDArray[np.float32]  # hidden x labels
    last: NDArray[np.float32]

    def scores(self, columns: NDArray[np.intp], values: NDArray[np.float32]) -> Scores:
        """What is added to the first head's scores of one text."""
        places = np.minimum(np.searchsorted(self.kept, columns), max(len(self.kept) - 1, 0))
        known = self.kept[places] == columns if len(self.kept) else np.zeros(len(columns), dtype=bool)
        raised = values[known] @ self.inward[places[known]].astype(np.float32) * self.scale + self.bias
        return np.asarray(np.maximum(raised, 0) @ self.outward + self.last, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Model:
    """One linear layer with several heads. ``heads`` names each head's labels, in the order of the columns."""

    card: ModelCard
    heads: Mapping[str, tuple[str, ...]]
    vocabulary: Vocabulary
    weights: NDArray[np.int8]  # features x all labels
    scale: NDArray[np.float32]  # one step of int8, for each label
    intercept: NDArray[np.float32]
    hidden: Hidden | None  # None in versions made before there was one

    def locate(self, found: Grams) -> Located:
        """A text as columns of this model."""
        return self.vocabulary.locate(found)

    def scores(self, texts: Sequence[Located]) -> dict[str, Scores]:
        """For each head, texts x labels: distances from the separating planes."""
        table = np.empty((len(texts), len(self.scale)), dtype=np.float32)
        first = len(next(iter(self.heads.values())))
        for row, located in enumerate(texts):
            columns, values = located.row()
            table[row] = values @ self.weights[columns].astype(np.float32) * self.scale + self.intercept
            if self.hidden is not None:
                table[row, :first] += self.hidden.scores(columns, values)
        split, start = {}, 0
        for head, labels in self.heads.items():
            split[head] = table[:, start : start + len(labels)]
            start += len(labels)
        return split

    def words_for(self, located: Located, column: int) -> list[tuple[str, float]]:
        """The words of a text and how much each spoke for a label of the first head, best first; only those for."""
        sums = np.zeros(len(located.words) + 1)
        for part in (located.stems, located.characters):
            shares = self.weights[part.columns, column] * self.vocabulary.idf[part.columns] * self.scale[column]
            length = float(np.sqrt((self.vocabulary.idf[part.columns] ** 2).sum())) or 1.0
            sums += np.bincount(part.places, weights=shares / length, minlength=len(sums))
        best: dict[str, float] = {}
        for word, weight in zip(located.words, sums, strict=False):
            best[word] = max(best.get(word, 0.0), float(weight))
        return sorted(((word, weight) for word, weight in best.items() if weight > 0), key=lambda pair: -pair[1])


def softmax(scores: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Probabilities over the last axis."""
    raised = scores / temperature
    raised = np.exp(raised - raised.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def quantised(weights: NDArray[Any], least: float, steps: int = 127) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as int8 of at most ``steps`` with one scale a column; those smaller than ``least`` become zero."""
    scale = np.maximum(np.abs(weights).max(axis=0) / steps, 1e-9).astype(np.float32)
    kept = np.where(np.abs(weights) < least, 0, weights)
    return np.rint(kept / scale).astype(np.int8), scale


def current_version(models: Path) -> str:
    """The version in use. Raises ModelError when none is chosen."""
    try:
        return (models / CURRENT).read_text(encoding="ascii").strip()
    except OSError as error:
        raise ModelError(f"no model is in use: cannot read {models / CURRENT}; run mailrouter train") from error


def load(models: Path, version: str | None = None) -> Model:
    """Read a version (the one in use by default). Raises ModelError when it is missing, damaged or changed."""
    folder = models / (version or current_version(models))
    card = load_card(folder)
    octets = _read(folder / WEIGHTS)
    if hashlib.sha256(octets).hexdigest() != card.sha256:
        raise ModelError(f"{folder / WEIGHTS} is not the file its card describes (the hash differs)")
    with np.load(folder / WEIGHTS, allow_pickle=False) as arrays:
        heads = {name: tuple(labels) for name, labels in json.loads(str(arrays["heads"])).items()}
        return Model(
            card=card,
            heads=heads,
            vocabulary=Vocabulary(arrays["hashes"], arrays["idf"].astype(np.float32)),
            weights=arrays["weights"],
            scale=arrays["scale"],
            intercept=arrays["intercept"],
            hidden=_hidden(arrays) if "hidden_kept" in arrays else None,
        )


def _hidden(arrays: Mapping[str, NDArray[Any]]) -> Hidden:
    return Hidden(
        kept=arrays["hidden_kept"],
        inward=arrays["hidden_inward"],
        scale=arrays["hidden_scale"],
        bias=arrays["hidden_bias"],
        outward=arrays["hidden_outward"].astype(np.float32),
        last=arrays["hidden_last"],
    )


def load_card(folder: Path) -> ModelCard:
    """Read a version's card. Raises ModelError."""
    try:
        content = json.loads(_read(folder / CARD))
        read = {"trust": Trust.from_json(content["trust"]), "window": tuple(content["window"])}
        return ModelCard(**content | read | {"curve": tuple((kept, threshold) for kept, threshold in content["curve"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder / CARD} is not a model card: {error}") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model file {file}: {error.strerror}") from error


def save_weights(folder: Path, model: Mapping[str, NDArray[Any]], heads: Mapping[str, Sequence[str]]) -> str:
    """Write the arrays of a version into its folder and return their hash."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / WEIGHTS, allow_pickle=False, heads=np.array(json.dumps(heads)), **model)
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def save_card(folder: Path, card: ModelCard) -> None:
    """Write the card beside the weights."""
    (folder / CARD).write_text(json.dumps(asdict(card), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
