"""What happens while a page is open: one look at the database a second, shared by everybody who listens here.

A listener is an open page. The looking runs in a thread while anybody listens; what it finds is worked out once
for each group of people who see the same cases, and handed to each listener's queue.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from mailrouter.desk import presence, queries
from mailrouter.desk.auth import Visitor
from mailrouter.desk.presence import HOLDABLE, Holder
from mailrouter.desk.trays import Tray
from mailrouter.diarium import DECISIVE, EventKind
from mailrouter.store import Store
from mailrouter.tables import Case, Event

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
STAY_EVERY = timedelta(seconds=60)
MOST_EVENTS = 500  # of one look; a page that missed more is told to look anew anyhow
LATE_COMMITS = 50  # events whose transaction ended after one with a higher id

_ARRIVING = {
    EventKind.RECEIVED, EventKind.RETURNED, EventKind.DELIVERY_FAILED, EventKind.REOPENED, EventKind.RELEASED,
    EventKind.QUARANTINED, EventKind.UNDONE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class News:
    """What a group of people is told: counters, cases that came to the desk, who holds what, who decided what."""

    counts: Mapping[Tray, int]
    arrived: frozenset[int]
    holders: Mapping[int, Holder]
    numbers: Mapping[int, str]
    decided: Mapping[int, Event]


@dataclass(eq=False)
class Listener:
    """One open page; ``case_id`` is the case it shows, or None."""

    visitor: Visitor
    case_id: int | None
    loop: asyncio.AbstractEventLoop
    news: "asyncio.Queue[News | None]" = field(default_factory=lambda: asyncio.Queue(8))

    @property
    def group(self) -> "Group":
        """Everybody who sees the same cases."""
        return Group(self.visitor.only_unit, frozenset(self.visitor.clearances))


class Group(NamedTuple):
    """People who see the same cases."""

    unit: str | None
    clearances: frozenset[str]


class Live:
    """The listeners of this process, and the one look a second that serves them."""

    def __init__(self, store: Store, clock: Callable[[], datetime], hold: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._hold = hold
        self._listeners: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def join(self, visitor: Visitor, case_id: int | None) -> Listener:
        """Begin to listen; call ``part`` when the page is gone. To be called in the server's event loop."""
        listener = Listener(visitor, case_id, asyncio.get_running_loop())
        self._listeners.add(listener)
        if self._closed:
            listener.news.put_nowait(None)
        elif self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        return listener

    def part(self, listener: Listener) -> None:
        """The page is gone."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream, so that the server can end. May be called from another thread."""
        self._closed = True
        for listener in list(self._listeners):
            listener.loop.call_soon_threadsafe(_hand, listener, None)

    async def _look_on(self) -> None:
        watch = Watch(self._store, self._hold)
        served: set[Listener] = set()
        while self._listeners and not self._closed:
            listeners = list(self._listeners)
            groups = {listener.group: listener.visitor for listener in listeners}
            anew = {listener.group for listener in listeners if listener not in served}
            served = set(listeners)
            pages = [(one.case_id, one.visitor.user_id) for one in listeners if one.case_id is not None]
            try:
                told = await asyncio.to_thread(watch.look, groups, anew, pages, self._clock())
            except SQLAlchemyError as error:
                log.warning("live-failed error=%s", type(error).__name__)
                told = {}
            for listener in listeners:
                if listener.group in told:
                    _hand(listener, told[listener.group])
            await asyncio.sleep(BEAT_SECONDS)


def _hand(listener: Listener, news: News | None) -> None:
    """Give a listener its news; one that does not take them loses the oldest, since the newest say all that counts."""
    if listener.news.full():
        listener.news.get_nowait()
    listener.news.put_nowait(news)


class Watch:
    """Looks at the register again and again, and tells what is new since the last time."""

    def __init__(self, store: Store, hold: timedelta) -> None:
        self._store = store
        self._hold = hold
        self._last: int | None = None
        self._known: set[int] = set()
        self._holders: Mapping[int, Holder] = {}
        self._stayed: datetime | None = None

    def look(
        self,
        groups: Mapping[Group, Visitor],
        anew: Collection[Group],
        pages: Collection[tuple[int, int]],
        now: datetime,
    ) -> Mapping[Group, News]:
        """News by group: for all when something happened, else for those with somebody who listens ``anew``.

        ``pages`` are the cases that are looked at, with the users' ids.
        """
        if pages and (self._stayed is None or now - self._stayed >= STAY_EVERY):
            self._stayed = now
            with self._store.write() as session:
                presence.stay(session, list(pages), now)
        with self._store.read() as session:
            events = self._new_events(session)
            holders = presence.holders(session, now, self._hold)
            changed = bool(events) or holders != self._holders
            asked = groups if changed else {key: one for key, one in groups.items() if key in anew}
            self._holders = holders
            return {key: _news(session, visitor, events, holders) for key, visitor in asked.items()}

    def _new_events(self, session: Session) -> list[Event]:
        newest = session.scalar(select(func.max(Event.id))) or 0
        if self._last is None:
            self._last = newest
            self._known = set(range(newest - LATE_COMMITS, newest + 1))
            return []
        since = select(Event).where(col(Event.id) > self._last - LATE_COMMITS).order_by(col(Event.id).desc())
        found = [event for event in session.exec(since.limit(MOST_EVENTS)) if event.id not in self._known]
        self._last = max(newest, self._last)
        self._known = {key for key in self._known if key > self._last - LATE_COMMITS} | {one.id for one in found}
        return found[::-1]


def _news(session: Session, visitor: Visitor, events: Iterable[Event], holders: Mapping[int, Holder]) -> News:
    """What of it the visitor may know."""
    arriving = {event.case_id for event in events if event.kind in _ARRIVING}
    decided = {event.case_id: event for event in events if event.kind in DECISIVE}
    named = {*arriving, *decided, *holders}
    seen: dict[int, tuple[str, bool]] = {}
    if named:
        cases = select(Case.id, Case.number, Case.state).where(col(Case.id).in_(named), queries.visible(visitor))
        seen = {key: (number, state in HOLDABLE) for key, number, state in session.exec(cases)}
    return News(
        counts=queries.counts(session, visitor),
        arrived=frozenset(key for key in arriving if key in seen and seen[key][1]),
        holders={key: holder for key, holder in holders.items() if key in seen},
        numbers={key: number for key, (number, _) in seen.items()},
        decided={key: event for key, event in decided.items() if key in seen},
    )
