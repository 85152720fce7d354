"""The one writer of arrivals in a process: concurrent intakes share a commit (group commit).

A single thread gathers what waits, from all connections, into one transaction: batches form by
themselves under load and are one mail when it is quiet.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mailrouter.config import Settings
from mailrouter.ingest import Arrival, Cursor, Entry, Taken, bare, entry_of, register
from mailrouter.store import Store

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.0002  # a look at what has come in, while the last commit was shared
GATHER_LOOKS = 10
MAX_BATCH_MAILS = 200
MAX_BATCH_OCTETS = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What one caller hands over: all of it becomes durable together, or none."""

    entries: tuple[Entry, ...]
    cursor: Cursor | None
    result: "Future[list[Taken]]"

    @property
    def octets(self) -> int:
        return sum(len(entry.arrival.octets) for entry in self.entries)


class IntakeClosedError(RuntimeError):
    """The intake takes nothing more; the mail stays with its sender."""


class Intake:
    """The one writer of arrivals in a process. Threads and event loops alike hand in and wait for the future."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._zone = ZoneInfo(settings.city.timezone)
        self._weeks = settings.deadline.weeks
        self._waiting: queue.SimpleQueue[_Parcel | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._listeners: list[Callable[[], None]] = []
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def submit(self, arrivals: Sequence[Arrival], cursor: Cursor | None = None) -> "Future[list[Taken]]":
        """Hand in mails (and how far their folder is then read). The future is done when they are durable.

        It fails with the database's error when they are not; then the cursor has not moved, and what was
        taken all the same is recognised when it is handed in again. Nobody can cancel the future: a mail
        handed in is registered whatever becomes of its connection.
        Raises IntakeClosedError during shutdown.
        """
        parcel = _Parcel(tuple(entry_of(arrival) for arrival in arrivals), cursor, Future())
        parcel.result.set_running_or_notify_cancel()
        with self._closing:
            if self._closed:
                raise IntakeClosedError("mailrouter is shutting down")
            self._waiting.put(parcel)
        return parcel.result

    def tell(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` in the writer's thread whenever futures have been done; it must not raise."""
        self._listeners.append(listener)

    def alive(self) -> bool:
        """False when the writer has died; nothing is acknowledged then."""
        return self._thread.is_alive()

    def waiting(self) -> int:
        """How many parcels the writer has not begun with."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Commit what waits, then stop."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            parcels, ended = self._gather()
            self._busy = len(parcels) > 1
            if parcels:
                self._commit(parcels)
                for listener in self._listeners:
                    listener()
            if ended:
                return

    def _gather(self) -> tuple[list[_Parcel], bool]:
        """Wait for one parcel, then take what else is there, within the limits of one transaction."""
        first = self._waiting.get()
        if first is None:
            return [], True
        if self._busy:
            self._await_company()
        parcels, mails, octets = [first], len(first.entries), first.octets
        while mails < MAX_BATCH_MAILS and octets < MAX_BATCH_OCTETS:
            try:
                parcel = self._waiting.get_nowait()
            except queue.Empty:
                break
            if parcel is None:
                return parcels, True
            parcels.append(parcel)
            mails, octets = mails + len(parcel.entries), octets + parcel.octets
        return parcels, False

    def _await_company(self) -> None:
        """Under load give the doors a moment, as long as mails keep coming: fuller transactions are less work."""
        came = -1
        for _ in range(GATHER_LOOKS):
            if came == self._waiting.qsize():
                return
            came = self._waiting.qsize()
            time.sleep(GATHER_SECONDS)

    def _commit(self, parcels: list[_Parcel]) -> None:
        """One transaction for all that wait; when it fails over one mail, that mail must not hold up the others."""
        try:
            taken = self._register(_as_one(parcels))
        except Exception as error:  # noqa: BLE001 (whatever it is, the doors must hear it and answer 451)
            if len(parcels) > 1 and not unavailable(error):
                for parcel in parcels:
                    self._commit([parcel])
                return
            for parcel in parcels:
                self._commit_singly(parcel, error)
            return
        results = iter(taken)
        for parcel in parcels:
            parcel.result.set_result([next(results) for _ in parcel.entries])

    def _commit_singly(self, parcel: _Parcel, error: Exception) -> None:
        """The mails of a parcel one by one, the troublesome one as bare octets; the cursor moves with the last."""
        try:
            if unavailable(error):
                raise error
            taken: list[Taken] = []
            for entry in parcel.entries:
                cursor = parcel.cursor if entry is parcel.entries[-1] else None
                taken += self._register_even_bare(entry, cursor)
        except Exception as final:  # noqa: BLE001 (as above)
            log.error("intake-failed mails=%d error=%s", len(parcel.entries), _name(final))  # noqa: TRY400
            parcel.result.set_exception(final)
        else:
            parcel.result.set_result(taken)

    def _register_even_bare(self, entry: Entry, cursor: Cursor | None) -> list[Taken]:
        try:
            return self._register([([entry], cursor)])
        except Exception as error:
            if unavailable(error):
                raise
            log.warning("intake-bare source_key=%s error=%s", entry.arrival.source_key, _name(error))
            return self._register([([bare(entry)], cursor)])

    def _register(self, groups: Iterable[tuple[Sequence[Entry], Cursor | None]]) -> list[Taken]:
        now = datetime.now(UTC)
        with self._store.write() as session:
            taken = [
                one
                for entries, cursor in groups
                for one in register(session, entries, cursor, now=now, zone=self._zone, weeks=self._weeks)
            ]
            log.debug("intake-committing mails=%d", len(taken))
        log.debug("intake-committed mails=%d", len(taken))
        return taken


def _as_one(parcels: list[_Parcel]) -> list[tuple[Sequence[Entry], Cursor | None]]:
    """Neighbouring parcels without a cursor as one group, so that they share their statements."""
    groups: list[tuple[list[Entry], Cursor | None]] = []
    for parcel in parcels:
        if groups and parcel.cursor is None and groups[-1][1] is None:
            groups[-1][0].extend(parcel.entries)
        else:
            groups.append((list(parcel.entries), parcel.cursor))
    return list(groups)


def unavailable(error: Exception) -> bool:
    """True when no mail can be stored now (database gone, locked, disk full, closing), false when this one cannot."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | IntakeClosedError)


def _name(error: Exception) -> str:
    """What went wrong without the statement's parameters: logs never hold a mail."""
    if isinstance(error, DBAPIError):
        return f"{type(error.orig).__name__}: {str(error.orig).partition(chr(10))[0]}"
    return type(error).__name__
