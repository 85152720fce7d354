"""Earlier cases that are about the same: found by the telling words that two mails share.

An index of the newest confirmed cases, a few dozen hashes each and no text. What is told of a case is its number,
who got it and when, nothing of what the citizen wrote.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mailrouter.classify.features import Grams, Hashes
from mailrouter.classify.model import Model

FLOOR = 0.2  # from here on nine of ten cases that are shown went to the right unit: docs/replay.md
SHOWN = 3
_KEPT = 40  # stems of a mail
_FEWEST = 3  # shared stems below which likeness is chance
_LEXICAL = 0.3  # of the likeness that does not ask whether the case's area is likely here; so dissent can be seen


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of a confirmed case."""

    number: str
    area: str
    units: tuple[str, ...]  # names of those who got it
    day: date
    key: str  # id of the mail that opened it, so that a mail is never like itself


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier case and how alike it is, from 0 to 1."""

    case: Earlier
    likeness: float


@dataclass(frozen=True, slots=True)
class Stems:
    """The telling stems of a mail, each once, scaled to length one."""

    hashes: Hashes
    values: NDArray[np.float32]


class Telling:
    """How much a stem tells: as rare as it is, and as much as it says of some area.

    A stem that the model does not know tells nothing. So two mails are not alike for the name below them.
    """

    def __init__(self, model: Model) -> None:
        self._hashes = model.vocabulary.hashes
        strongest = np.zeros(len(self._hashes), np.float32)
        for column in range(len(model.heads["area"])):
            np.maximum(strongest, model.weights[:, column] * model.scale[column], out=strongest)
        self._weights = model.vocabulary.idf * np.sqrt(strongest)

    def stems(self, found: Grams) -> Stems:
        """The stems of a text that tell most."""
        hashes = np.unique(found.stem_hashes[: len(found.words)])
        places = np.minimum(np.searchsorted(self._hashes, hashes), max(len(self._hashes) - 1, 0))
        weights = np.where(self._hashes[places] == hashes, self._weights[places], 0.0)
        kept = np.argsort(-weights, kind="stable")[:_KEPT]
        kept = kept[weights[kept] > 0]
        length = float(np.sqrt((weights[kept] ** 2).sum())) or 1.0
        return Stems(hashes[kept], (weights[kept] / length).astype(np.float32))


@dataclass(frozen=True)
class Index:
    """Confirmed cases, to be asked. It never changes; ``Cases`` makes a new one."""

    cases: Sequence[Earlier]
    stems: Sequence[Stems]

    @cached_property
    def _postings(self) -> tuple[Hashes, NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """The distinct hashes, where each one's entries begin, and the entries: case and value."""
        hashes = np.concatenate([one.hashes for one in self.stems])
        rows = np.repeat(np.arange(len(self.stems)), [len(one.hashes) for one in self.stems])
        values = np.concatenate([one.values for one in self.stems])
        order = np.argsort(hashes, kind="stable")
        distinct, starts = np.unique(hashes[order], return_index=True)
        return distinct, np.append(starts, len(order)), rows[order], values[order]

    @cached_property
    def _areas(self) -> tuple[list[str], NDArray[np.intp]]:
        """The areas there are, and for each case which of them it has."""
        names, places = np.unique([case.area for case in self.cases], return_inverse=True)
        return [str(name) for name in names], places

    def like(self, asked: Stems, likely: dict[str, float], key: str = "") -> list[Match]:
        """The most alike cases, best first, without the one that the mail ``key`` opened; none below the floor.

        ``likely`` is the probability of each area for the mail that asks.
        """
        if not self.cases or not len(asked.hashes):
            return []
        distinct, starts, rows, values = self._postings
        places = np.minimum(np.searchsorted(distinct, asked.hashes), max(len(distinct) - 1, 0))
        shared = np.flatnonzero(distinct[places] == asked.hashes) if len(distinct) else np.zeros(0, np.intp)
        if len(shared) < _FEWEST:
            return []
        pieces = [slice(starts[place], starts[place + 1]) for place in places[shared]]
        met = np.concatenate([rows[piece] for piece in pieces])
        products = np.concatenate(
            [values[piece] * value for piece, value in zip(pieces, asked.values[shared], strict=True)]
        )
        likeness = np.bincount(met, weights=products, minlength=len(self.cases))
        likeness[np.bincount(met, minlength=len(self.cases)) < _FEWEST] = 0.0
        names, which = self._areas
        fitting = np.sqrt([likely.get(name, 0.0) for name in names])
        alike = likeness * (_LEXICAL + (1 - _LEXICAL) * fitting[which])
        near = np.flatnonzero(alike >= FLOOR)
        best = near[np.argsort(-alike[near], kind="stable")]
        matches = (Match(self.cases[place], float(alike[place])) for place in best[: SHOWN + 1])
        return [match for match in matches if match.case.key != key][:SHOWN]


NOTHING = Index((), ())


class Cases:
    """The newest confirmed cases, at most ``limit``: what the work role remembers from one look to the next."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[Earlier, Stems]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, case: Earlier, stems: Stems) -> None:
        """Remember a case, anew when it was decided anew; the oldest one makes room."""
        self._known.pop(case.number, None)
        self._known[case.number] = (case, stems)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def forget(self, number: str) -> None:
        """Never name this case again: it came back, or only some may see it now."""
        self._known.pop(number, None)

    def index(self) -> Index:
        """What can be asked now."""
        return Index([case for case, _ in self._known.values()], [stems for _, stems in self._known.values()])
