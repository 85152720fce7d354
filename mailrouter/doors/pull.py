"""One look into an IMAP folder: what is new becomes durable, then it is moved if so configured.

The rule for a mail that the server cannot give, or that the register refuses: nothing waits for it and
nothing steps over it. The mails after it are registered, each known by its own (source, source_key), but
the cursor stays before it, so that it is asked for again; it stands in the status with the reason.
"""

import imaplib
import logging
import threading
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlmodel import col, select

from mailrouter.doors.folder import Fetched, Folder, RefusedError
from mailrouter.doors.intake import Intake, unavailable
from mailrouter.ingest import Arrival, Cursor
from mailrouter.store import Store
from mailrouter.tables import Mail, Mailbox

log = logging.getLogger(__name__)

BATCH_MAILS = 50
BATCH_OCTETS = 32 * 1024 * 1024
RETRY_SECONDS = 900.0  # a mail that could not be had is asked for again this often
SUSPICION = 3  # connections that broke over a mail before it is left aside for a while
KEYS = 500  # keys in one question to the database
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # an INTERNALDATE before this is a server's mistake


@dataclass(frozen=True, slots=True)
class Held:
    """Why a mail could not be taken, and when (monotonic seconds) it is tried again."""

    reason: str
    retry_at: float


@dataclass
class FolderState:
    """What is known of a folder; it outlives connections."""

    uidvalidity: int = 0
    last_uid: int = 0
    taken: int = 0
    move_error: str = ""
    suspects: Counter[int] = field(default_factory=Counter)  # how many connections broke while it was fetched
    held: dict[int, Held] = field(default_factory=dict)

    def suspect(self, uids: Iterable[int]) -> None:
        """The connection broke while these were fetched: one of them may be the cause."""
        self.suspects.update(uids)
        for uid in [uid for uid, times in self.suspects.items() if times >= SUSPICION]:
            self.hold(uid, "the connection breaks when it is fetched")

    def hold(self, uid: int, reason: str) -> None:
        """Leave a mail aside for a while."""
        self.held[uid] = Held(reason, time.monotonic() + RETRY_SECONDS)
        self.suspects.pop(uid, None)

    def clear(self, uids: Iterable[int]) -> None:
        """These are registered, or gone from the folder."""
        for uid in uids:
            self.suspects.pop(uid, None)
            self.held.pop(uid, None)

    def waits(self, uid: int) -> bool:
        """True while a mail is to be left aside."""
        return uid in self.held and self.held[uid].retry_at > time.monotonic()

    def troublesome(self) -> set[int]:
        """The mails that are to be fetched one by one."""
        return self.suspects.keys() | self.held.keys()


class Progress:
    """How far a listing is registered without a gap: the only value a cursor may have."""

    def __init__(self, uids: Sequence[int], known: Iterable[int]) -> None:
        self._uids = uids
        self._known = set(known)
        self._next = 0

    def with_also(self, uids: Container[int]) -> int:
        """The cursor if ``uids`` were registered too."""
        index = self._next
        while index < len(self._uids) and (self._uids[index] in self._known or self._uids[index] in uids):
            index += 1
        return self._uids[-1] if index == len(self._uids) else self._uids[index] - 1

    def registered(self, uids: Iterable[int]) -> None:
        """These are registered now."""
        self._known.update(uids)
        while self._next < len(self._uids) and self._uids[self._next] in self._known:
            self._next += 1


class Puller:
    """Takes what is new in ``folder``; lives as long as the connection, ``state`` longer."""

    def __init__(
        self, account: str, folder: Folder, store: Store, intake: Intake, state: FolderState, stopping: threading.Event
    ) -> None:
        self._account = account
        self._source = f"imap:{account}"
        self._folder = folder
        self._store = store
        self._intake = intake
        self._stopping = stopping
        self._state = state
        if state.uidvalidity != folder.uidvalidity:
            state.clear(state.troublesome())
        state.uidvalidity, state.last_uid = folder.uidvalidity, self._read_cursor()
        self._known: set[int] = set()

    def pull(self) -> bool:
        """Look once. True when there was something, so that looking again is worth it.

        Raises what breaks the connection or the database; everything that was taken until then is durable.
        """
        uids = self._folder.uids(1 if self._folder.moves else self._state.last_uid + 1)
        self._state.clear(self._state.troublesome() - set(uids))
        self._known |= self._registered([uid for uid in uids if uid not in self._known])
        if self._folder.moves:
            self._move([uid for uid in uids if uid in self._known])  # we died between commit and move
        fresh = [uid for uid in uids if uid not in self._known and not self._state.waits(uid)]
        progress = Progress(uids, self._known)
        for batch in self._batches(fresh):
            if self._stopping.is_set():
                return False
            self._register(self._arrivals(batch), progress)
        return bool(fresh)

    def _read_cursor(self) -> int:
        statement = select(Mailbox).where(Mailbox.account == self._account, Mailbox.folder == self._folder.name)
        with self._store.read() as session:
            mailbox = session.exec(statement).first()
        if mailbox is None:
            return 0
        if mailbox.uidvalidity != self._folder.uidvalidity:
            log.warning("imap-uidvalidity account=%s folder=%s changed: reading all", self._account, self._folder.name)
            return 0
        return mailbox.last_uid

    def _key(self, uid: int) -> str:
        return f"{self._folder.name}/{self._folder.uidvalidity}/{uid}"

    def _registered(self, uids: Sequence[int]) -> set[int]:
        """Those of ``uids`` that are in the register: another node took them, or we did before we died."""
        found: set[int] = set()
        for start in range(0, len(uids), KEYS):
            keys = {self._key(uid): uid for uid in uids[start : start + KEYS]}
            statement = select(Mail.source_key).where(Mail.source == self._source, col(Mail.source_key).in_(keys))
            with self._store.read() as session:
                found.update(keys[key] for key in session.exec(statement))
        return found

    def _batches(self, uids: Sequence[int]) -> Iterator[list[int]]:
        """Neighbouring mails, bounded by number and by octets; a troublesome one is fetched alone."""
        sizes = self._folder.sizes(uids)
        batch: list[int] = []
        octets = 0
        for uid in uids:
            size = BATCH_OCTETS if uid in self._state.troublesome() else sizes.get(uid, BATCH_OCTETS)
            if batch and (len(batch) == BATCH_MAILS or octets + size > BATCH_OCTETS):
                yield batch
                batch, octets = [], 0
            batch.append(uid)
            octets += size
        if batch:
            yield batch

    def _arrivals(self, uids: Sequence[int]) -> dict[int, Arrival]:
        """Fetch; what cannot be had is held back and does not stop the others."""
        try:
            fetched = self._folder.fetch(uids)
        except RefusedError as error:
            if len(uids) == 1:
                self._hold(uids[0], f"the server does not give it: {error}")
                return {}
            return {uid: arrival for one in uids for uid, arrival in self._arrivals([one]).items()}
        except (imaplib.IMAP4.error, OSError):
            self._state.suspect(uids)
            raise
        missing = [uid for uid in uids if uid not in fetched]
        if missing and len(uids) > 1:
            return {uid: self._arrival(uid, mail) for uid, mail in fetched.items()} | {
                uid: arrival for one in missing for uid, arrival in self._arrivals([one]).items()
            }
        if missing and self._folder.uids(missing[0])[:1] == missing:
            self._hold(missing[0], "the server lists it and does not give it")
        return {uid: self._arrival(uid, mail) for uid, mail in fetched.items()}

    def _arrival(self, uid: int, mail: Fetched) -> Arrival:
        now = datetime.now(UTC)
        octets = mail.octets
        if mail.size is not None and mail.size != len(octets):
            octets = self._second_look(uid, mail)
        return Arrival(
            octets=octets,
            source=self._source,
            source_key=self._key(uid),
            received_at=mail.received_at if mail.received_at and EARLIEST < mail.received_at <= now else now,
        )

    def _second_look(self, uid: int, first: Fetched) -> bytes:
        """The announced size and the octets differ: fetch again and believe the longer of the two.

        Some servers only estimate RFC822.SIZE, so that a difference alone is no reason to refuse a mail.
        """
        second = first
        with suppress(RefusedError):
            second = self._folder.fetch([uid]).get(uid, first)
        log.warning(
            "imap-size account=%s folder=%s uid=%d announced=%d got=%d then=%d",
            self._account, self._folder.name, uid, first.size, len(first.octets), len(second.octets),
        )  # fmt: skip
        return max(first.octets, second.octets, key=len)

    def _register(self, arrivals: Mapping[int, Arrival], progress: Progress) -> None:
        """Make mails durable and move the cursor with them, as far as there is no gap."""
        if not arrivals:
            return
        last_uid = max(progress.with_also(arrivals), self._state.last_uid)
        cursor = Cursor(self._account, self._folder.name, self._folder.uidvalidity, last_uid)
        try:
            self._intake.submit([*arrivals.values()], cursor).result()
        except Exception as error:
            if unavailable(error):
                raise
            self._register_singly(arrivals, progress, error)
            return
        progress.registered(arrivals)
        self._known.update(arrivals)
        self._state.clear(arrivals)
        self._state.last_uid = last_uid
        self._state.taken += len(arrivals)
        log.info("imap-taken account=%s folder=%s mails=%d", self._account, self._folder.name, len(arrivals))
        if self._folder.moves:
            self._move(arrivals)

    def _register_singly(self, arrivals: Mapping[int, Arrival], progress: Progress, error: Exception) -> None:
        """One of them is refused by the register: find it, hold it back, take the others."""
        if len(arrivals) > 1:
            for uid, arrival in arrivals.items():
                self._register({uid: arrival}, progress)
            return
        (uid,) = arrivals
        self._hold(uid, f"the register refuses it: {type(error).__name__}")

    def _hold(self, uid: int, reason: str) -> None:
        log.error("imap-held account=%s folder=%s uid=%d reason=%s", self._account, self._folder.name, uid, reason)
        self._state.hold(uid, reason)

    def _move(self, uids: Iterable[int]) -> None:
        """The cosmetic step after the commit: when it fails the mails stay, and it is tried at the next look."""
        moving = [*uids]
        if not moving:
            return
        try:
            for start in range(0, len(moving), KEYS):
                self._folder.move(moving[start : start + KEYS])
        except RefusedError as error:
            self._state.move_error = str(error)
            log.warning("imap-move account=%s folder=%s error=%s", self._account, self._folder.name, error)
        else:
            self._state.move_error = ""
