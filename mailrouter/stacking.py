"""A second opinion on the areas from an encoder's vectors, and how much it counts beside the model's own scores.

Linear like everything else: planes over the vectors, added to the model's scores with the share that fits mails best
which neither has seen. When no share helps, there is no second opinion.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mailrouter import learning
from mailrouter.classify.model import softmax
from mailrouter.learning import Examples, Planes

_SHARES = (0.25, 0.5, 1.0, 2.0)  # of the spread of the model's scores
_LEAST = 0.005  # mean log loss that the vectors must save to be worth their time


@dataclass(frozen=True, slots=True)
class Stacked:
    """Planes over vectors, already weighed, and the out-of-fold scores of both together."""

    planes: Planes
    scores: NDArray[Any]


def stack(
    examples: Examples, groups: NDArray[Any], tested: NDArray[Any], scores: NDArray[Any], vectors: NDArray[Any]
) -> Stacked | None:
    """The second opinion, or None when it does not help; ``scores`` are the model's own, out of fold."""
    dense = Examples(csr_matrix(vectors), examples.labels, examples.snippet, examples.count)
    labels = examples.labels[tested]
    opinion = learning.out_of_fold(dense, groups, tested, learning.fit_several)
    spread = float(scores.std() / max(float(opinion.std()), 1e-9))
    losses = [_loss(scores + share * spread * opinion, labels) for share in _SHARES]
    if min(losses) > _loss(scores, labels) - _LEAST:
        return None
    weight = _SHARES[int(np.argmin(losses))] * spread
    planes = learning.fit_several(dense)
    return Stacked(Planes(planes.weights * weight, planes.intercept * weight), scores + weight * opinion)


def _loss(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean log loss at the best temperature."""
    likely = softmax(scores, learning.temperature_of(scores, labels))
    return float(-np.log(likely[np.arange(len(labels)), labels] + 1e-12).mean())
