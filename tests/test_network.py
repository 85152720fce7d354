"""The small network: what lines cannot tell apart, made again the same, and added without shifting the rest."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from mailrouter import network
from mailrouter.classify.model import Hidden, quantised
from mailrouter.network import Network


@pytest.fixture(scope="module")
def crossed() -> tuple[csr_matrix, np.ndarray]:
    """Four features in pairs: the label is whether the two that are there are of one kind, which no line tells."""
    random = np.random.default_rng(3)
    first, second = random.integers(0, 2, 600), random.integers(0, 2, 600)
    columns = np.stack([first, 2 + second], axis=1).ravel()
    rows = csr_matrix((np.ones(1200, np.float32), columns, np.arange(0, 1201, 2)), shape=(600, 5))
    return rows, (first == second).astype(int)


@pytest.fixture(scope="module")
def learnt(crossed: tuple[csr_matrix, np.ndarray]) -> Network:
    rows, labels = crossed
    return network.fit(rows, labels, np.ones(len(labels)), 3)


def test_features_count_together(crossed: tuple[csr_matrix, np.ndarray], learnt: Network) -> None:
    """What depends on two features together is learnt; a feature that no text has is not looked at."""
    rows, labels = crossed
    assert (learnt.scores(rows).argmax(axis=1) == labels).mean() > 0.95
    assert learnt.kept.tolist() == [0, 1, 2, 3]


def test_the_same_data_give_the_same(crossed: tuple[csr_matrix, np.ndarray], learnt: Network) -> None:
    """Learning again from the same rows ends at the same weights."""
    rows, labels = crossed
    again = network.fit(rows, labels, np.ones(len(labels)), 3)
    assert np.array_equal(again.inward, learnt.inward)
    assert np.array_equal(again.outward, learnt.outward)


def test_scaled_scores_are_centred(crossed: tuple[csr_matrix, np.ndarray], learnt: Network) -> None:
    """A share of the network keeps the differences between labels, times the share, around zero."""
    rows, _ = crossed
    whole, half = learnt.scores(rows), learnt.scaled(0.5).scores(rows)
    assert np.allclose(half.mean(axis=1), 0, atol=1e-4)
    assert np.allclose(half[:, 0] - half[:, 1], (whole[:, 0] - whole[:, 1]) / 2, atol=1e-4)


def test_the_shipped_form_says_the_same(learnt: Network) -> None:
    """Stored in bytes, the network gives a text the same scores but for rounding, and ignores features it never met."""
    inward, scale = quantised(learnt.inward, 0.0, 31)
    assert np.abs(inward).max() <= 31
    shipped = Hidden(learnt.kept.astype(np.int32), inward, scale, learnt.bias, learnt.outward, learnt.last)
    columns, values = np.array([0, 3, 4]), np.array([1, 1, 9], dtype=np.float32)
    expected = learnt.scores(csr_matrix((np.ones(2, np.float32), [0, 3], [0, 2]), shape=(1, 5)))[0]
    assert shipped.scores(columns, values) == pytest.approx(expected, abs=0.15 * float(np.abs(expected).max()))
