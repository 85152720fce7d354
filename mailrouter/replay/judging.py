"""What happens in each process: octets to a few facts, without anything that a citizen wrote."""

import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mailrouter import classify, config, letter
from mailrouter.classify.values import Query, Verdict
from mailrouter.letter.values import Nature
from mailrouter.replay.sources import Piece

HUMAN = frozenset({Nature.HUMAN.value, Nature.FORM.value})
log = logging.getLogger(__name__)

_UNREADABLE = ("unreadable", "empty")


@dataclass(frozen=True, slots=True)
class Judged:
    """What is kept of a mail: no address, no text. ``fault`` is set, and all else empty, when it cannot be read."""

    place: str
    number: int
    steps: int
    message_id: str = ""
    fault: str = ""
    nature: str = ""
    language: str = ""
    areas: tuple[str, ...] = ()  # the first three candidates
    units: tuple[str | None, ...] = ()
    probability: float = 0.0  # of the area
    unit_probability: float = 0.0  # what decides whether it is sure
    sure: bool = False
    kind: str = ""
    district: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def human(self) -> bool:
        """True for what a person wrote, by mail or in a web form."""
        return self.nature in HUMAN


class Judge:
    """Reads and judges pieces; one in each process."""

    def __init__(self, settings: config.Classify, max_bytes: int, on: date) -> None:
        self._classifier = classify.load(settings)
        self._max_bytes = max_bytes
        self._on = on

    def __call__(self, pieces: Sequence[Piece]) -> list[Judged]:
        """One fact sheet a piece, in their order."""
        read = [self._read(piece) for piece in pieces]
        letters = [found for found in read if isinstance(found, letter.Letter)]
        verdicts = iter(self._verdicts([classify.query_of(found) for found in letters]))
        return [
            _judged(piece, found, next(verdicts)) if isinstance(found, letter.Letter) else _broken(piece, found)
            for piece, found in zip(pieces, read, strict=True)
        ]

    def _verdicts(self, queries: Sequence[Query]) -> list[Verdict | None]:
        """A verdict a query; None for the one that cannot be judged, since it must not take the others with it."""
        try:
            return [*self._classifier.classify(queries, self._on)]
        except Exception:
            log.exception("replay-not-judged mails=%d", len(queries))
            if len(queries) == 1:
                return [None]
            return [verdict for query in queries for verdict in self._verdicts([query])]

    def _read(self, piece: Piece) -> letter.Letter | str:
        """The letter, or why there is none."""
        if piece.fault:
            return piece.fault
        if piece.size > self._max_bytes:
            return f"större än {self._max_bytes} byte (smtp.max_bytes)"
        try:
            found = letter.parse(piece.read())
        except OSError as error:
            return f"filen gick inte att läsa: {error.strerror}"
        if found.defects and found.defects[0] in _UNREADABLE:
            return "mejlet är tomt" if found.defects[0] == "empty" else "mejlet gick inte att tolka"
        return found


def _broken(piece: Piece, fault: str) -> Judged:
    return Judged(piece.place, piece.number, piece.steps, fault=fault)


def killed(piece: Piece) -> Judged:
    """What is said of a mail whose reading ended the process."""
    return _broken(piece, "läsningen av mejlet avslutade programmet")


def _judged(piece: Piece, found: letter.Letter, verdict: Verdict | None) -> Judged:
    if verdict is None:
        return _broken(piece, "mejlet gick inte att bedöma")
    first = verdict.candidates[:3]
    return Judged(
        place=piece.place,
        number=piece.number,
        steps=piece.steps,
        message_id=found.message_id,
        nature=found.nature.value,
        language=verdict.language,
        areas=tuple(candidate.area for candidate in first),
        units=tuple(candidate.unit for candidate in first),
        probability=verdict.probability,
        unit_probability=verdict.unit_probability,
        sure=not verdict.abstain,
        kind=verdict.kind,
        district=verdict.district,
        flags=verdict.flags,
    )


_judge: Judge | None = None


def prepare(settings: config.Classify, max_bytes: int, on: date) -> None:
    """Once in each new process. Ctrl-C is the parent's to answer; what a log would say may hold a mail's words."""
    global _judge  # noqa: PLW0603 (a process of a pool keeps its state so)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    os.environ["OMP_NUM_THREADS"] = "1"
    _judge = Judge(settings, max_bytes, on)


def judge(pieces: Sequence[Piece]) -> list[Judged]:
    """Judge in a prepared process."""
    assert _judge is not None
    return _judge(pieces)
