"""The desk over a register of a million cases: how long the server takes for the pages that people wait for.

The real application answers, in this process, one request after the other, as its one user would ask; each page is
another case, another place in a tray or other words. ``python -m bench desk --cases 30000`` is a quick look.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import httpx
from fastapi import FastAPI
from sqlmodel import col, select

from bench import filling
from mailrouter import config, store
from mailrouter.desk import auth
from mailrouter.desk.trays import Tray, place_of, write_place
from mailrouter.reports.periods import PERIODS
from mailrouter.store import Store
from mailrouter.tables import Case, CaseState, Role
from tests.clock import NOW
from tests.desk import Clock, city, hire, open_desk
from tests.servers.postgres import postgres

LIMIT = 0.050  # seconds at the 95th percentile, for queue and case
SHORT_ROUNDS = 3  # the overview is asked for this often in each period, cold
PER_ROUND = 20  # of the other pages
SAMPLED = 500  # cases of each state that are asked for


@dataclass(frozen=True)
class Taken:
    """Seconds of one request: by the clock, and of the processors of desk and database.

    On a machine that does nothing else they are the same; elsewhere only the second says something about the desk.
    """

    clock: float
    processor: float


@dataclass(frozen=True)
class Timing:
    """How long one kind of page took; ``limit``, of processor time, is None where none is promised."""

    what: str
    database: str
    taken: list[Taken]
    limit: float | None

    floor = 1.0

    @property
    def slow(self) -> float:
        """The 95th percentile of the processors' time."""
        return _slow([one.processor for one in self.taken])

    @property
    def ratio(self) -> float:
        """Below 1 when the limit is missed."""
        return self.limit / self.slow if self.limit else self.floor

    def __str__(self) -> str:
        promised = f"limit {self.limit * 1000:.0f}" if self.limit else ""
        clock, processor = [one.clock for one in self.taken], [one.processor for one in self.taken]
        return f"{self.what:<30} {self.database:<11} {_pair(clock)} {_pair(processor)}   {promised}"


HEADER = f"{'milliseconds: median, 95 %':<30} {'database':<11} {'by the clock':>17} {'processor':>17}"


def _slow(seconds: list[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[-1]


def _pair(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:8.1f} {_slow(seconds) * 1000:8.1f}"


def measure(rounds: int, folder: Path, cases: int = 1_000_000) -> Iterator[Timing]:
    """Fill and measure both databases, one after the other."""
    for database, opened in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        with opened(folder) as (register, server):
            started = time.perf_counter()
            filling.fill(register, cases, city())
            print(f"{database}: {cases:,} cases written in {time.perf_counter() - started:.0f} s", flush=True)
            print(HEADER)
            yield from timings(register, database, rounds, server)


@contextmanager
def _sqlite(folder: Path) -> Iterator[tuple[Store, int]]:
    with _opened(f"sqlite:///{folder / 'desk.db'}") as register:
        yield register, 0


@contextmanager
def _postgres(folder: Path) -> Iterator[tuple[Store, int]]:
    with postgres(folder / "pg") as server:
        server.sql("CREATE DATABASE desk")
        with _opened(server.url("desk")) as register:
            yield register, int((server.data / "postmaster.pid").read_text().split()[0])


@contextmanager
def _opened(url: str) -> Iterator[Store]:
    register = store.connect(config.Store(url=url))
    store.migrate(register)
    try:
        yield register
    finally:
        register.dispose()


def _processor_of(server: int) -> float:
    """Seconds that this process and the children of ``server`` (a process id; 0 is none) have had a processor."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split() if server else []
    nanoseconds = 0
    for child in children:
        with suppress(OSError):  # it has just ended
            nanoseconds += int(Path(f"/proc/{child}/schedstat").read_text().split()[0])
    return time.process_time() + nanoseconds / 1e9


def timings(register: Store, database: str, rounds: int, server: int) -> list[Timing]:
    """Measure the pages of a desk over a filled register; ``server`` is the process id of PostgreSQL, or 0."""
    hire(register, "bea", Role.ADMIN)
    with register.write() as session:
        token = auth.open_login(session, auth.find_user(session, "bea"), now=NOW, hours=10)
    clock = Clock()
    app = open_desk(register, clock)
    try:
        return asyncio.run(_ask_all(app, clock, token, Questions(register), database, rounds, server))
    finally:
        app.state.desk.live.close()


class Questions:
    """Addresses to ask for, always the same ones."""

    def __init__(self, register: Store) -> None:
        self.chance = random.Random(20260302)
        with register.read() as session:
            self.cases = {
                state: session.exec(
                    select(Case)
                    .where(Case.state == state, Case.restricted == "")
                    .order_by(col(Case.id).desc())
                    .limit(SAMPLED)
                ).all()
                for state in CaseState
            }
            oldest = select(Case).where(Case.state == CaseState.CLOSED).order_by(col(Case.closed_at)).limit(SAMPLED)
            self.old = session.exec(oldest).all()
        asked = [*self.old, *self.cases[CaseState.OPEN], *self.cases[CaseState.ANSWERED]]
        self.words = [word for case in asked for word in case.subject.lower().split()[-4:]]

    def queue(self) -> str:
        """A tray that people work from, or one far down the pages of what is done."""
        tray = self.chance.choice([Tray.SORT, Tray.SORT, Tray.UNSURE, Tray.BACK, Tray.ROUTED, Tray.CLOSED, Tray.ALL])
        if self.old and tray in {Tray.CLOSED, Tray.ALL} and self.chance.random() < 0.5:
            place = write_place(place_of(self.chance.choice(self.old), tray))
            return str(httpx.URL("/", params={"lada": tray.value, "efter": place}))
        return f"/?lada={tray.value}"

    def case(self) -> str:
        """A case of any state, as it is opened from the queue."""
        state = self.chance.choice([CaseState.OPEN, CaseState.OPEN, CaseState.ROUTED, CaseState.ANSWERED])
        return f"/arende/{self.chance.choice(self.cases[state]).number}"

    def search(self) -> str:
        """One or two words of some case, or the beginning of one."""
        words = self.chance.sample(self.words, k=self.chance.choice((1, 2)))
        if self.chance.random() < 0.3:
            words = [words[0][:4]]
        return str(httpx.URL("/", params={"sok": " ".join(words)}))


async def _ask_all(
    app: FastAPI, clock: Clock, token: str, questions: Questions, database: str, rounds: int, server: int
) -> list[Timing]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.example", timeout=600) as client:
        client.cookies.set("mailrouter", token, domain="desk.example")
        ask = partial(_ask, client, server)
        for path in ("/", questions.case(), questions.search()):
            await ask(path)  # what is made once is not the page's time
        kinds: list[tuple[str, Callable[[], str], float | None]] = [
            ("queue page", questions.queue, LIMIT),
            ("case page", questions.case, LIMIT),
            ("search", questions.search, None),
        ]
        found = [
            Timing(what, database, [await ask(question()) for _ in range(rounds * PER_ROUND)], limit)
            for what, question, limit in kinds
        ]
        for period in PERIODS:
            cold = []
            for _ in range(SHORT_ROUNDS):
                clock.now += timedelta(minutes=2)  # nothing is kept any more
                cold.append(await ask(f"/oversikt?period={period}"))
            found.append(Timing(f"overview, {period}, anew", database, cold, None))
        kept = itertools.repeat("/oversikt?period=12-veckor", PER_ROUND)
        found.append(Timing("overview, within a minute", database, [await ask(path) for path in kept][1:], None))
    return found


async def _ask(client: httpx.AsyncClient, server: int, path: str) -> Taken:
    clock, processor = time.perf_counter(), _processor_of(server)
    answer = await client.get(path)
    taken = Taken(time.perf_counter() - clock, _processor_of(server) - processor)
    if answer.status_code not in {200, 303}:
        raise RuntimeError(f"{path} was answered with {answer.status_code}")
    return taken
