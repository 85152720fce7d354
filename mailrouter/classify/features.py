"""From words to numbers: hashed stems, pairs of stems and character n-grams, found by array arithmetic.

A feature is a 32-bit hash. A model keeps the sorted hashes it has learnt, so a vocabulary of several
hundred thousand n-grams is one small array, and an unknown n-gram meets nothing by accident.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mailrouter.classify import text as texts

Hashes = NDArray[np.uint32]
_BASE = np.uint64(0x100000001B3)  # the FNV prime; any large odd number spreads
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's finaliser
_SHORTEST, _CHARACTERS = 2, (2, 3, 4, 5)
_SPACE = ord(" ")


@dataclass(frozen=True, slots=True)
class Grams:
    """The features of one text: hashes, and the index of the word each one stands in, for explanations."""

    words: tuple[str, ...]
    stem_hashes: Hashes
    stem_places: NDArray[np.intp]
    character_hashes: Hashes
    character_places: NDArray[np.intp]


def grams(text: str) -> Grams:
    """Find the features of a text."""
    found = tuple(texts.words(text))
    stems, stem_places = _stem_grams(found)
    characters, character_places = _character_grams(found)
    return Grams(found, stems, stem_places, characters, character_places)


def _mixed(raw: NDArray[np.uint64], salt: int) -> Hashes:
    """Spread 64-bit sums over 32 bits; the salt keeps kinds of features apart."""
    value = raw + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    value = (value ^ (value >> np.uint64(33))) * _MIX
    value = (value ^ (value >> np.uint64(33))) * _MIX
    return (value >> np.uint64(32)).astype(np.uint32)


def _stem_grams(words: Sequence[str]) -> tuple[Hashes, NDArray[np.intp]]:
    """Single stems and pairs of neighbouring ones."""
    single = np.array([zlib.crc32(texts.stem(word).encode()) for word in words], dtype=np.uint64)
    pairs = single[:-1] * _BASE + single[1:]
    places = np.arange(len(words))
    return (
        np.concatenate([_mixed(single, 1), _mixed(pairs, 2)]),
        np.concatenate([places, places[:-1]]),
    )


def _character_grams(words: Sequence[str]) -> tuple[Hashes, NDArray[np.intp]]:
    """Two to five characters inside a word, its edges marked by a space."""
    line = texts.fold(f" {' '.join(words)} ")
    codes = np.frombuffer(line.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    space = codes == _SPACE
    spaces_before = np.concatenate([[0], np.cumsum(space)])
    word_of = np.clip(spaces_before[1:] - 1, 0, max(len(words) - 1, 0))
    hashes, places = [], []
    rolling = codes.copy()
    for length in range(2, max(_CHARACTERS) + 1):
        rolling = rolling[:-1] * _BASE + codes[length - 1 :]
        starts = np.arange(len(rolling))
        inside = spaces_before[starts + length - 1] - spaces_before[starts + 1]
        whole = inside == 0
        if length == 2:
            whole &= ~(space[:-1] & space[1:])
        hashes.append(_mixed(rolling[whole], 10 + length))
        places.append(word_of[starts[whole]])
    return np.concatenate(hashes), np.concatenate(places)


@dataclass(frozen=True, slots=True)
class _Part:
    """The known features of one kind: every occurrence with its word, and each once with its value."""

    columns: NDArray[np.intp]
    places: NDArray[np.intp]
    weighed: tuple[NDArray[np.intp], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Located:
    """A text as columns of a vocabulary."""

    words: tuple[str, ...]
    stems: _Part
    characters: _Part

    def row(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Columns and tf-idf values; stems and characters each have length one."""
        parts = (self.stems.weighed, self.characters.weighed)
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The hashes a model knows, sorted, with their inverse document frequencies."""

    hashes: Hashes
    idf: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.hashes)

    def locate(self, found: Grams) -> "Located":
        """The columns of a text's known features, and the words they stand in."""
        parts = []
        for hashes, places in (
            (found.stem_hashes, found.stem_places),
            (found.character_hashes, found.character_places),
        ):
            columns = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
            known = self.hashes[columns] == hashes
            parts.append(_Part(columns[known], places[known], self._weighed(columns[known])))
        return Located(found.words, parts[0], parts[1])

    def _weighed(self, columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Each column once with its tf-idf value, scaled to length one."""
        unique, counts = np.unique(columns, return_counts=True)
        values = (1 + np.log(counts)) * self.idf[unique]
        length = float(np.sqrt((values**2).sum())) or 1.0
        return unique, (values / length).astype(np.float32)

    def matrix(self, texts_grams: Sequence[Grams]) -> csr_matrix:
        """One row a text, for a batch."""
        rows = [self.locate(found).row() for found in texts_grams]
        ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        data = np.concatenate([values for _, values in rows]) if rows else np.zeros(0, np.float32)
        indices = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.intp)
        return csr_matrix((data, indices, ends), shape=(len(rows), len(self)), dtype=np.float32)


def learn_vocabulary(texts_grams: Sequence[Grams], least: int = 2) -> Vocabulary:
    """Every feature that at least ``least`` texts have."""
    each = [np.unique(np.concatenate([found.stem_hashes, found.character_hashes])) for found in texts_grams]
    hashes, counts = np.unique(np.concatenate(each), return_counts=True)
    kept = counts >= least
    idf = np.log((1 + len(texts_grams)) / (1 + counts[kept])) + 1
    return Vocabulary(hashes[kept], idf.astype(np.float32))
