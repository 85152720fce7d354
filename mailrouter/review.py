"""Labels to look at again: a mail whose area disagrees with the model and with every mail that is like it.

Either the label is wrong, which would teach the model wrongly, or the mail is a rare one. A person decides.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mailrouter.corpus import Labelled

REVIEW = "review.jsonl"  # beside a version's card: names of mails, never a text
_SURE = 0.5  # probability of another label, by a model that did not see the mail
_TIMES = 10  # as likely as the mail's own label, at least
_COMMON = 0.03  # share of texts above which a feature makes no two alike
_FEW = 50  # texts; a feature of so few is never common
_NEIGHBOURS = 10
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label to look at: where it is from, what it says, and what everything similar says."""

    source: str  # ``confirmed``, or a file of the seed corpus
    id: str  # the case's number, or the mail's id in the file
    area: str
    similar: str  # the area that most of the similar mails have
    suggested: str  # by a model that did not see the mail
    probability: float  # of the suggestion


def doubts(
    rows: Sequence[Labelled],
    matrix: csr_matrix,
    labels: NDArray[Any],
    likely: NDArray[Any],
    areas: Sequence[str],
) -> list[Doubt]:
    """The labels that disagree with everything similar, confirmed cases first, the surest doubt first.

    ``likely`` are the out-of-fold probabilities of ``rows``, one column an area of ``areas``.
    """
    chosen = likely.argmax(axis=1)
    own, surest = likely[np.arange(len(labels)), labels], likely.max(axis=1)
    asked = np.flatnonzero((surest >= _SURE) & (surest >= _TIMES * own))
    scaled = _distinctive(matrix)
    found = []
    for start in range(0, len(asked), _AT_ONCE):
        batch = asked[start : start + _AT_ONCE]
        likeness = np.asarray((scaled[batch] @ scaled.T).todense())
        likeness[np.arange(len(batch)), batch] = -1.0
        for row, alike in zip(batch, likeness, strict=True):
            near = np.argpartition(-alike, min(_NEIGHBOURS, len(alike) - 1))[:_NEIGHBOURS]
            said = labels[near[alike[near] > 0]]
            if chosen[row] in said and labels[row] not in said:
                one, similar = rows[row], areas[int(np.bincount(said).argmax())]
                sure = round(float(surest[row]), 3)
                found.append(Doubt(one.source, one.query.id, one.area, similar, areas[chosen[row]], sure))
    return sorted(found, key=lambda doubt: (doubt.source != "confirmed", -doubt.probability, doubt.id))


def _distinctive(matrix: csr_matrix) -> csr_matrix:
    """Rows of length one over the features that few texts share."""
    seen = np.bincount(matrix.indices, minlength=matrix.shape[1])
    kept = matrix[:, np.flatnonzero((seen > 1) & (seen <= max(_FEW, _COMMON * matrix.shape[0])))]
    lengths = np.sqrt(np.asarray(kept.multiply(kept).sum(axis=1)).ravel())
    return kept.multiply(1 / np.maximum(lengths, 1e-9)[:, None]).tocsr()


def write(folder: Path, found: Sequence[Doubt]) -> None:
    """Write the doubts of a version beside its card."""
    lines = (json.dumps(asdict(doubt), ensure_ascii=False) for doubt in found)
    (folder / REVIEW).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(folder: Path) -> list[Doubt]:
    """The doubts of a version; none when it was made before there were any."""
    try:
        lines = (folder / REVIEW).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Doubt(**json.loads(line)) for line in lines]
