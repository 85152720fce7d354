"""A small network beside the linear models: one hidden layer, so that features can count together and not only each.

Plain numpy, since a library for networks would be heavier than all else here. Rows are sparse, so only the weights of
features that a batch has are touched.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[Any]
_LEAST = 4  # texts that have a feature; rarer ones teach the network nothing
_HIDDEN = 80
_EPOCHS, _BATCH = 14, 128
_RATE, _INWARD_RATE = 0.002, 0.03  # the second is for weights that few rows move
_LEFT_OUT, _HIDDEN_LEFT_OUT = 0.6, 0.4  # share of a text's features, and of the hidden values, missing in each step
_MEMORY, _SQUARES = 0.9, 0.999  # Adam (Kingma and Ba 2015)
_TINY = 1e-8


@dataclass(frozen=True, slots=True)
class Network:
    """``kept`` are the columns it looks at, sorted; ``inward`` is kept x hidden, ``outward`` hidden x labels."""

    kept: Array
    inward: Array
    bias: Array
    outward: Array
    last: Array

    def scores(self, matrix: csr_matrix) -> Array:
        """Texts x labels."""
        hidden = np.maximum(matrix[:, self.kept] @ self.inward + self.bias, 0)
        return np.asarray(hidden @ self.outward + self.last)

    def scaled(self, share: float) -> "Network":
        """The same with scores around zero and ``share`` times as large, to be added to another's."""
        centred = self.outward - self.outward.mean(axis=1, keepdims=True)
        return Network(self.kept, self.inward, self.bias, centred * share, (self.last - self.last.mean()) * share)


def fit(matrix: csr_matrix, labels: Array, weights: Array, count: int) -> Network:
    """Learn to tell ``count`` labels apart; ``weights`` say how much each row counts. The same data give the same."""
    kept = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]) >= _LEAST)
    rows = csr_matrix(matrix[:, kept], dtype=np.float32)
    weights = np.asarray(weights, dtype=np.float32)
    random = np.random.default_rng(0)
    steps = _Steps(len(kept), count, random)
    whole = _EPOCHS * max(1, -(-len(labels) // _BATCH))
    done = 0
    for _ in range(_EPOCHS):
        order = random.permutation(len(labels))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            steps.step(rows[batch], labels[batch], weights[batch], 1 - done / whole)
            done += 1
    return Network(kept, steps.inward, steps.bias, steps.outward, steps.last)


class _Steps:
    """The weights while they are learnt."""

    def __init__(self, features: int, labels: int, random: np.random.Generator) -> None:
        self.random = random
        self.inward = (random.standard_normal((features, _HIDDEN)) * 0.05).astype(np.float32)
        self.outward = (random.standard_normal((_HIDDEN, labels)) / np.sqrt(_HIDDEN)).astype(np.float32)
        self.bias, self.last = np.zeros(_HIDDEN, np.float32), np.zeros(labels, np.float32)
        self._moved = np.zeros(features, np.float32)  # squares of the moves of each feature (AdaGrad)
        self._means = [np.zeros_like(part) for part in (self.bias, self.outward, self.last)]
        self._squares = [np.zeros_like(part) for part in (self.bias, self.outward, self.last)]
        self._done = 0

    def step(self, rows: csr_matrix, labels: Array, weights: Array, left: float) -> None:
        """One move against the gradient of the log loss; ``left`` is the share of the steps still to come."""
        seen = rows.copy()
        seen.data *= (self.random.random(len(seen.data)) > _LEFT_OUT) / (1 - _LEFT_OUT)
        columns, places = np.unique(seen.indices, return_inverse=True)
        seen = csr_matrix((seen.data, places, seen.indptr), shape=(len(labels), len(columns)))
        raised = seen @ self.inward[columns] + self.bias
        shown = (self.random.random(raised.shape) > _HIDDEN_LEFT_OUT).astype(np.float32) / (1 - _HIDDEN_LEFT_OUT)
        hidden = np.maximum(raised, 0) * shown
        error = _likely(hidden @ self.outward + self.last)
        error[np.arange(len(labels)), labels] -= 1
        error *= weights[:, None] / _BATCH
        back = (error @ self.outward.T) * shown * (raised > 0)
        self._adam([back.sum(axis=0), hidden.T @ error, error.sum(axis=0)], left)
        moves = seen.T @ back
        self._moved[columns] += (moves * moves).mean(axis=1)
        self.inward[columns] -= _INWARD_RATE * left * moves / (np.sqrt(self._moved[columns]) + 1e-6)[:, None]

    def _adam(self, gradients: list[Array], left: float) -> None:
        self._done += 1
        for place, (part, gradient) in enumerate(zip((self.bias, self.outward, self.last), gradients, strict=True)):
            self._means[place] = _MEMORY * self._means[place] + (1 - _MEMORY) * gradient
            self._squares[place] = _SQUARES * self._squares[place] + (1 - _SQUARES) * gradient * gradient
            mean = self._means[place] / (1 - _MEMORY**self._done)
            square = self._squares[place] / (1 - _SQUARES**self._done)
            np.subtract(part, _RATE * left * mean / (np.sqrt(square) + _TINY), out=part)


def _likely(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
