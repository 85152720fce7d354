"""Spread the mails over several processes and sum up what they say, with bounded memory."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import date

from mailrouter import classify
from mailrouter.config import Settings
from mailrouter.replay.judging import Judged, judge, killed, prepare
from mailrouter.replay.sources import Piece, ReplayError, Source
from mailrouter.replay.tally import Tally
from mailrouter.replay.truth import Truth

_MAILS = 100  # handed to a process at once
_OCTETS = 8 * 1024 * 1024
_AHEAD = 2  # chunks in flight for each process

Work = Callable[[Sequence[Piece]], list[Judged]]
Pool = Callable[[int], ProcessPoolExecutor]


def replay(
    source: Source,
    settings: Settings,
    *,
    on: date,
    truth: Truth | None = None,
    processes: int = 2,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Judge every mail of ``source`` as it would be judged on the day ``on``.

    ``stopping`` is asked between chunks: what was done until then is what is told. A source that breaks off is
    told likewise. Raises ModelError, RuleError or OrganisationError before anything is read.
    """
    classifier = classify.load(settings.classify)
    tally = Tally(classifier.organisation, classifier.promise, classifier.by, with_truth=truth is not None)

    def pool(workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=prepare,
            initargs=(settings.classify, settings.smtp.max_bytes, on),
        )

    for judged in spread(chunks(_to_the_end(source, tally), stopping), judge, pool, processes):
        for one in judged:
            tally.add(one, truth.of(one.message_id, one.place, one.number) if truth else None)
        progress(sum(one.steps for one in judged))
    if stopping():
        tally.broken_off = "avbrutet av den som körde"
    return tally


def _to_the_end(source: Source, tally: Tally) -> Iterator[Piece]:
    """The pieces; when the source breaks off, the tally says so and what came before it counts."""
    try:
        yield from source.pieces()
    except ReplayError as error:
        tally.broken_off = str(error)


def chunks(pieces: Iterable[Piece], stopping: Callable[[], bool]) -> Iterator[list[Piece]]:
    """Pieces together, few enough to hold in memory; no more once it is to stop."""
    chunk: list[Piece] = []
    octets = 0
    for piece in pieces:
        if stopping():
            return
        chunk.append(piece)
        octets += len(piece.octets or b"")
        if len(chunk) >= _MAILS or octets >= _OCTETS:
            yield chunk
            chunk, octets = [], 0
    if chunk:
        yield chunk


def spread(waiting: Iterator[list[Piece]], work: Work, pool: Pool, processes: int) -> Iterator[list[Judged]]:
    """What ``work`` says of each chunk, as it comes. A mail that ends a process is told as such; the others go on."""
    executor = pool(processes)
    flying: dict[Future[list[Judged]], list[Piece]] = {}
    chunk: list[Piece] | None = None
    try:
        while True:
            try:
                while len(flying) < processes * _AHEAD and (chunk := next(waiting, None)):
                    flying[executor.submit(work, chunk)] = chunk
                    chunk = None
                if not flying:
                    return
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    found = future.result()
                    del flying[future]
                    yield found
            except BrokenProcessPool:
                executor.shutdown(wait=False)
                lost = [*flying.values(), *([chunk] if chunk else [])]
                flying = {}
                yield from _one_by_one(lost, work, pool)
                executor = pool(processes)
    finally:
        executor.shutdown(cancel_futures=True)


def _one_by_one(lost: Sequence[list[Piece]], work: Work, pool: Pool) -> Iterator[list[Judged]]:
    """The chunks that were under way when a process ended, mail by mail, to find the one that ends it."""
    executor: ProcessPoolExecutor | None = None
    try:
        for piece in (piece for chunk in lost for piece in chunk):
            executor = executor or pool(1)
            try:
                yield executor.submit(work, [piece]).result()
            except BrokenProcessPool:
                executor = None
                yield [killed(piece)]
    finally:
        if executor is not None:
            executor.shutdown()
