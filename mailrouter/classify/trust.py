"""How far a suggestion can be trusted: the probabilities that the likeliest area, and its unit, are right.

Softmax over the scores says who is ahead, not how often the one ahead is right. That is learnt apart, from mails
the model did not see, out of three measures: the log odds of the likeliest area, those of its unit (all areas of the
unit together), and how far the second area is behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailrouter.organisation import Organisation

Array = NDArray[Any]
_SURE = 1e-6  # probabilities are kept this far from zero and one


@dataclass(frozen=True, slots=True)
class Trust:
    """For the area and for the unit: the weights of the three measures, and an offset. All are log odds."""

    area: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    unit: tuple[float, ...] = (0.0, 1.0, 0.0, 0.0)

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[float]]) -> "Trust":
        """What stands on a card. Raises TypeError or ValueError when it is something else."""
        parts = {name: tuple(float(weight) for weight in weights) for name, weights in content.items()}
        if any(len(weights) != 4 for weights in parts.values()):
            raise ValueError("trust has four weights for the area and four for the unit")
        return cls(**parts)

    def of_area(self, measured: Array) -> Array:
        """Probability that the area is right, a row of ``measures`` each."""
        return _probability(measured, self.area)

    def of_unit(self, measured: Array) -> Array:
        """Probability that the unit is right."""
        return _probability(measured, self.unit)


def families(areas: Sequence[str], organisation: Organisation) -> Array:
    """The number of the unit each area leads to; an area whose unit a place decides has a number of its own."""
    units = [organisation.areas[area].unit or area for area in areas]
    names = sorted(set(units))
    return np.array([names.index(unit) for unit in units])


def measures(likely: Array, family: Array) -> Array:
    """Texts x 3, from texts x areas; ``family`` is the number of each area's unit."""
    rows = np.arange(len(likely))
    first = likely.argmax(axis=1)
    units = np.zeros((len(likely), int(family.max()) + 1))
    np.add.at(units.T, family, likely.T)
    two = np.partition(likely, -2, axis=1)[:, -2:] if likely.shape[1] > 1 else np.full((len(likely), 2), _SURE)
    ahead = np.log(np.clip(likely[rows, first], _SURE, 1)) - np.log(np.clip(two[:, 0], _SURE, 1))
    return np.stack([logit(likely[rows, first]), logit(units[rows, family[first]]), ahead], axis=1)


def logit(likely: Array) -> Array:
    """Log odds of probabilities."""
    bounded = np.clip(likely, _SURE, 1 - _SURE)
    return np.asarray(np.log(bounded / (1 - bounded)))


def corrected(likely: Array, first: float) -> Array:
    """One text's probabilities with ``first`` as the largest; the others share what is left, none above it."""
    largest = float(np.clip(likely.max(), _SURE, 1 - _SURE))
    scaled = np.minimum(likely * (1 - first) / (1 - largest), first)
    scaled[likely.argmax()] = first
    return np.asarray(scaled)


def _probability(measured: Array, weights: Sequence[float]) -> Array:
    return np.asarray(1 / (1 + np.exp(-(measured @ np.asarray(weights[:-1]) + weights[-1]))))
