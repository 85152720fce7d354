"""Fit the linear model and say honestly what it reached: scikit-learn in, plain arrays out.

Every head (area, kind, each flag) is linear in the same features. An ensemble of linear models is again
linear, so the shipped model is one matrix however many learners voted. Beside it stands a small network for areas.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC

from mailrouter import network
from mailrouter.classify.model import softmax
from mailrouter.classify.trust import Trust
from mailrouter.network import Network

Array = NDArray[Any]
CORES = 2
PROMISES = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995)
_WORTH_A_PROCESS = 1_000_000  # values in the matrix
_FOLDS = 3
_LIKE = 0.6  # cosine from which two mails of one area count as near-duplicates
_C = 1.0
_TOLERANCE = 0.05  # of the solver, whose own default is twice that
_NEVER = -3.0  # the margin of a label without examples
_BAYES_SHARE = 0.3  # of the standard deviation of the margins; more costs top-1, less costs top-3
_FAMILY_SHARE = 0.5  # likewise; it lifts the unit's top-1 by one or two points, and more costs top-3
_NETWORK_SHARE = 0.4  # likewise, of all of them together
_SNIPPETS = (0.1, 0.4)  # long indirect mails want the snippets light, short plain ones want them heavy


@dataclass(frozen=True, slots=True)
class Planes:
    """A linear layer: ``weights`` is features x labels."""

    weights: Array
    intercept: Array

    def scores(self, matrix: csr_matrix) -> Array:
        """Texts x labels."""
        return np.asarray(matrix @ self.weights + self.intercept)


@dataclass(frozen=True, slots=True)
class Examples:
    """What is learnt from: one row a text."""

    matrix: csr_matrix
    labels: Array  # integers below ``count``
    snippet: NDArray[np.bool_]  # short texts and single words, whose weight the ensemble varies
    count: int  # of labels; some may have no row

    def part(self, rows: Array) -> "Examples":
        """The chosen rows."""
        return Examples(self.matrix[rows], self.labels[rows], self.snippet[rows], self.count)

    def weights(self, snippet_weight: float) -> Array:
        """Sample weights."""
        return np.where(self.snippet, snippet_weight, 1.0)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Linear models as one layer, and a small network whose scores are added."""

    planes: Planes
    network: Network

    def scores(self, matrix: csr_matrix) -> Array:
        """Texts x labels."""
        return self.planes.scores(matrix) + self.network.scores(matrix)


def fit_areas(examples: Examples, families: Array) -> Ensemble:
    """The ensemble for many classes with few examples each: margins, a naive Bayes and the families, and a network.

    ``families`` gives each area's family, today the unit it leads to: areas of one unit are easily taken for each
    other, and a family has examples enough to be told apart as a whole.
    """
    # processes, since liblinear's random numbers are shared by threads and a result could not be made again
    several = CORES if examples.matrix.nnz > _WORTH_A_PROCESS else 1
    margins = Parallel(n_jobs=several)(
        delayed(_margin)(examples, examples.weights(snippets), _C) for snippets in _SNIPPETS
    )
    mean = _sum(margins, [1 / len(margins)] * len(margins))
    weights = examples.weights(sum(_SNIPPETS) / 2)
    bayes = ComplementNB(alpha=0.1).fit(examples.matrix, examples.labels, weights)
    spoken = np.asarray(bayes.feature_log_prob_).T
    spoken = spoken - spoken.mean(axis=1, keepdims=True)  # what all classes share decides nothing
    likelihood = _of_all(Planes(spoken, np.zeros(spoken.shape[1])), bayes.classes_, examples.count)
    told = Examples(examples.matrix, families[examples.labels], examples.snippet, int(families.max()) + 1)
    units = _margin(told, weights, _C)
    family = Planes(units.weights[:, families], units.intercept[families])
    sample = examples.matrix[:: max(1, examples.matrix.shape[0] // 4000)]
    spreads = [plane.scores(sample).std() for plane in (mean, likelihood, family)]
    shares = [1.0, _BAYES_SHARE * spreads[0] / spreads[1], _FAMILY_SHARE * spreads[0] / spreads[2]]
    planes = _sum([mean, likelihood, family], shares)
    hidden = network.fit(examples.matrix, examples.labels, weights, examples.count).scaled(1.0)
    share = _NETWORK_SHARE * planes.scores(sample).std() / max(hidden.scores(sample).std(), 1e-6)
    return Ensemble(planes, hidden.scaled(share))


def _sum(planes: Sequence[Planes], shares: Sequence[float]) -> Planes:
    """A weighted vote of linear models, which is a linear model."""
    pairs = list(zip(planes, shares, strict=True))
    return Planes(
        np.sum([plane.weights * share for plane, share in pairs], axis=0),
        np.sum([plane.intercept * share for plane, share in pairs], axis=0),
    )


def fit_binary(examples: Examples, cost: float) -> Planes:
    """One plane for yes or no; rare labels are weighed up."""
    weights = examples.weights(sum(_SNIPPETS) / 2)
    positive = weights[examples.labels == 1].sum() / weights.sum()
    balanced = np.where(examples.labels == 1, min(1 / max(positive, 1e-6), 20.0), 1.0)
    return _margin(examples, weights * balanced, cost)


def fit_several(examples: Examples, cost: float = 0.5) -> Planes:
    """A few classes with many examples each."""
    return _margin(examples, examples.weights(sum(_SNIPPETS) / 2), cost)


def _margin(examples: Examples, weights: Array, cost: float) -> Planes:
    classes = np.unique(examples.labels)
    if len(classes) < 2:  # nothing to tell apart
        columns = 1 if examples.count == 2 else examples.count
        return Planes(np.zeros((examples.matrix.shape[1], columns)), np.full(columns, _NEVER))
    learnt = LinearSVC(C=cost, tol=_TOLERANCE, random_state=0).fit(examples.matrix, examples.labels, weights)
    plane = Planes(learnt.coef_.T, learnt.intercept_)
    if examples.count == 2:
        return plane
    if len(classes) == 2:  # one plane tells two classes apart
        plane = Planes(np.hstack([-plane.weights, plane.weights]), np.hstack([-plane.intercept, plane.intercept]))
    return _of_all(plane, classes, examples.count)


def _of_all(plane: Planes, classes: Array, count: int) -> Planes:
    """The plane with a column for every label: those without a row are never chosen."""
    weights = np.zeros((len(plane.weights), count))
    intercept = np.full(count, _NEVER)
    weights[:, classes], intercept[classes] = plane.weights, plane.intercept
    return Planes(weights, intercept)


def near_duplicates(matrix: csr_matrix, labels: Array) -> Array:
    """A group number a row: mails of one label that are alike get the same one and never straddle a fold."""
    groups = np.empty(len(labels), dtype=np.intp)
    start = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        likeness = (matrix[rows] @ matrix[rows].T).tocsr()
        likeness.data /= 2.0  # a row has two parts of length one
        likeness.data[likeness.data < _LIKE] = 0
        likeness.eliminate_zeros()
        count, found = connected_components(likeness, directed=False)
        groups[rows] = start + found
        start += count
    return groups


def folds(groups: Array, tested: Array) -> Iterator[tuple[Array, Array]]:
    """The rows to teach each fold, and the places in ``tested`` of those it is tried on."""
    for _, held in GroupKFold(n_splits=_FOLDS).split(tested, groups=groups[tested]):
        yield np.setdiff1d(np.arange(len(groups)), tested[held]), held


def out_of_fold(examples: Examples, groups: Array, tested: Array, fit: Any) -> Array:
    """Scores of the rows in ``tested``, each from a model that never saw their group; other rows only teach."""
    scores: Array | None = None
    for teach, held in folds(groups, tested):
        plane: Planes | Ensemble = fit(examples.part(teach))
        found = plane.scores(examples.matrix[tested[held]])
        if scores is None:
            scores = np.zeros((len(tested), found.shape[1]))
        scores[held] = found
    if scores is None:
        raise ValueError("no rows to test on")
    return scores


def temperature_of(scores: Array, labels: Array) -> float:
    """The temperature at which softmax probabilities fit the labels best (Guo et al. 2017)."""

    def loss(logarithm: float) -> float:
        likely = softmax(scores, float(np.exp(logarithm)))
        return float(-np.log(likely[np.arange(len(labels)), labels] + 1e-12).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 2), method="bounded").x))


def log_odds(scores: Array, labels: Array) -> tuple[float, float]:
    """Slope and offset that turn a margin into the log of the odds (Platt scaling)."""
    if len(np.unique(labels)) < 2:  # always or never right: nothing to correct
        return 1.0, 0.0
    learnt = LogisticRegression(C=10.0).fit(scores.reshape(-1, 1), labels)
    return float(learnt.coef_[0, 0]), float(learnt.intercept_[0])


def fit_trust(measured: Array, area_right: Array, unit_right: Array) -> Trust:
    """What the measures say of mails the model did not see (Platt scaling in three dimensions)."""
    return Trust(
        area=_fitted(measured, area_right, Trust().area),
        unit=_fitted(measured, unit_right, Trust().unit),
    )


def _fitted(measured: Array, right: Array, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    if len(np.unique(right)) < 2:  # always or never right: nothing to correct
        return otherwise
    learnt = LogisticRegression(C=10.0).fit(measured, right)
    return tuple(round(float(weight), 4) for weight in (*learnt.coef_[0], learnt.intercept_[0]))


def promise_curve(certainty: Array, right: Array) -> tuple[tuple[float, float], ...]:
    """For each promise the lowest probability from which it was kept; a greater promise never has a lower one."""
    thresholds = [threshold_for_precision(certainty, right, promise) for promise in PROMISES]
    return tuple(
        (promise, round(float(threshold), 5))
        for promise, threshold in zip(PROMISES, np.maximum.accumulate(thresholds), strict=True)
    )


def threshold_for_recall(scores: Array, labels: Array, recall: float) -> float:
    """The highest threshold at which at least ``recall`` of the positives are raised."""
    positives = np.sort(scores[labels == 1])
    return float(positives[int((1 - recall) * len(positives))]) if len(positives) else 0.0


def threshold_for_precision(likely: Array, right: Sequence[bool] | Array, precision: float) -> float:
    """The lowest probability from which at least ``precision`` of the answers were right; 1 if there is none."""
    order = np.argsort(-likely)
    share = np.cumsum(np.asarray(right)[order]) / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(share >= precision)
    return float(likely[order[kept[-1]]]) if len(kept) else 1.0


def calibration_error(likely: Array, right: Array, bins: int = 10, *, equal_size: bool = False) -> float:
    """Expected calibration error: mean distance of stated and true probability over bins.

    The bins are equally wide, or with ``equal_size`` hold equally many answers.
    """
    if equal_size:
        parts = np.array_split(np.argsort(likely, kind="stable"), bins)
    else:
        place = np.minimum((likely * bins).astype(int), bins - 1)
        parts = [np.flatnonzero(place == one) for one in range(bins)]
    gaps = [abs(likely[part].mean() - right[part].mean()) * len(part) for part in parts if len(part)]
    return float(sum(gaps) / len(likely))


def chance_error(likely: Array, draws: int = 200) -> float:
    """The calibration error that would be seen on so few answers if every stated probability were exactly true."""
    random = np.random.default_rng(0)
    seen = [calibration_error(likely, random.random(len(likely)) < likely) for _ in range(draws)]
    return float(np.mean(seen))
