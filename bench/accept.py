"""Durable accept by SMTP: our doors with SQLite beside Postfix as a relay, in the same run."""

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.table import Row
from tests.servers.postfix import Postfix, postfix
from tests.servers.postgres import free_port

SESSIONS = 16
MAILS = 2_000
WARM_UP = 100  # both are measured as they run all day, not in their first second
SIZES = ((5 * 1024, 3.0, 5.0), (50 * 1024, 1.3, 2.0))  # octets, floor, ambition
RECIPIENT = "goteborg@stad.example"


def measure(rounds: int, folder: Path) -> Iterator[Row]:
    """One row a size; both programs take turns within each round."""
    with (
        sink() as port,
        postfix(folder / "postfix", {"default_transport": "smtp", "relayhost": f"[127.0.0.1]:{port}"}) as relay,
    ):
        rates: dict[int, list[tuple[float, float]]] = {size: [] for size, _, _ in SIZES}
        for number in range(rounds):
            for size, _, _ in SIZES:
                theirs = shot(relay.port, size)
                settle(relay)
                with door(folder / f"{size}-{number}") as ours:
                    rates[size].append((theirs, shot(ours, size)))
    for size, floor, ambition in SIZES:
        yield Row(f"durable accept, {size // 1024} KiB, {SESSIONS} sessions", "Postfix", rates[size], floor, ambition)


def relaying_to(port: int) -> dict[str, str]:
    """Settings of a Postfix that hands everything to the sink."""
    return {"default_transport": "smtp", "relayhost": f"[127.0.0.1]:{port}"}


def shot(port: int, size: int, mails: int = MAILS) -> float:
    """Mails a second that the server on ``port`` takes."""
    started = time.perf_counter()
    subprocess.run(
        ["smtp-source", "-d", "-s", str(SESSIONS), "-m", str(mails), "-l", str(size),
         "-t", RECIPIENT, "-f", "anna@post.example", f"127.0.0.1:{port}"],
        check=True, timeout=600,
    )  # fmt: skip
    return mails / (time.perf_counter() - started)


def settle(relay: Postfix) -> None:
    """Wait until Postfix has nothing left to do, so that it does not disturb our turn."""
    deadline = time.monotonic() + 120
    while relay.queued():
        if time.monotonic() > deadline:
            raise RuntimeError("Postfix does not empty its queue")
        time.sleep(0.1)


@contextmanager
def sink() -> Iterator[int]:
    """A server that takes everything and keeps nothing: where Postfix relays to."""
    port = free_port()
    swallow = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "512"])
    try:
        listening(port)
        yield port
    finally:
        swallow.terminate()
        swallow.wait()


@contextmanager
def door(folder: Path) -> Iterator[int]:
    """Our doors in a process of their own, with a new database; all that was sent must be in it afterwards."""
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.door", str(folder), str(port)])
    try:
        listening(port)
        shot(port, SIZES[0][0], WARM_UP)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    with closing(sqlite3.connect(folder / "mailrouter.db")) as database:
        (registered,) = database.execute("SELECT count(*) FROM register_case").fetchone()
    if registered != WARM_UP + MAILS:
        raise RuntimeError(f"{WARM_UP + MAILS} mails were acknowledged and {registered} are registered")


def listening(port: int) -> None:
    """Wait until something answers on ``port``."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
