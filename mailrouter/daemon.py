"""The service: a parent that starts one process a role, restarts what dies, and ends with SIGTERM.

The roles talk only through the database, so the same program runs whole on one machine or spread
with ``--only`` over several. A child whose parent is gone, however it died, ends too: it holds the
reading end of a pipe that only the parent writes to.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from mailrouter import store
from mailrouter.config import Settings
from mailrouter.store import Store
from mailrouter.tables import Heartbeat

log = logging.getLogger(__name__)

ROLES = ("doors", "work", "desk")
HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 20  # a role gets this long to finish what it is doing
STEADY_SECONDS = 30  # a role that ran this long died of something new: restart it at once
MAX_PAUSE_SECONDS = 30


class Stop:
    """The wish to end, set by SIGTERM, SIGINT or the parent's end; every loop of a role waits on it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self, *_: object) -> None:
        """End soon. Fit to be a signal handler."""
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until the end is wished for or ``seconds`` have passed; True when it is wished for."""
        return self._event.wait(seconds)

    @property
    def wished(self) -> bool:
        """True once somebody wished for the end."""
        return self._event.is_set()


@dataclass
class _Child:
    """A running role and when to look at it again."""

    role: str
    process: subprocess.Popen[bytes]
    started: float
    pause: float = 0.5


def open_store(settings: Settings, stop: Stop, say: Callable[[str], None]) -> Store | None:
    """Connect and migrate; while the database does not answer, try again until it does or ``stop``.

    Returns None when the end was wished for first.
    """
    opened = store.connect(settings.store)
    pause = 1.0
    while not stop.wished:
        try:
            store.migrate(opened)
        except OperationalError as error:
            say(f"The database does not answer ({str(error.orig).strip().splitlines()[0]}); next try in {pause:.0f} s.")
            stop.wait(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        else:
            return opened
    return None


def supervise(roles: Sequence[str], config_file: Path | None, stop: Stop) -> None:
    """Run the roles as child processes until ``stop``; one that dies is started again, with growing pauses."""
    children = [_start(role, config_file) for role in roles]
    try:
        while not stop.wait(0.2):
            for index, child in enumerate(children):
                if child.process.poll() is not None:
                    children[index] = _restart(child, config_file, stop)
    finally:
        _end(children)


def _start(role: str, config_file: Path | None, pause: float = 0.5) -> _Child:
    command = [sys.executable, "-m", "mailrouter", "role", role]
    if config_file is not None:
        command += ["--config", str(config_file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 (our own program)
    return _Child(role, process, time.monotonic(), pause)


def _restart(child: _Child, config_file: Path | None, stop: Stop) -> _Child:
    steady = time.monotonic() - child.started > STEADY_SECONDS
    pause = 0.5 if steady else child.pause
    log.error("role-died role=%s status=%s restart_in=%.1f", child.role, child.process.returncode, pause)
    if child.process.stdin is not None:
        child.process.stdin.close()
    stop.wait(pause)
    return _start(child.role, config_file, min(pause * 2, MAX_PAUSE_SECONDS))


def _end(children: Sequence[_Child]) -> None:
    for child in children:
        child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("role-killed role=%s", child.role)
            child.process.kill()
            child.process.wait()


def watch_parent(stop: Stop) -> None:
    """Wish for the end when the parent is gone: its end of our standard input closes with it."""

    def read() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        stop.set()

    threading.Thread(target=read, name="parent", daemon=True).start()


def run_role(role: str, settings: Settings, stop: Stop) -> None:
    """Run one role in this process until ``stop``."""
    opened = store.connect(settings.store)
    runner: dict[str, Callable[[Settings, Store, Stop], None]] = {"doors": _doors, "work": _work, "desk": _desk}
    try:
        runner[role](settings, opened, stop)
    finally:
        opened.dispose()


def _doors(settings: Settings, opened: Store, stop: Stop) -> None:
    from mailrouter.doors.run import Doors  # noqa: PLC0415 (each role loads only what it needs)

    doors = Doors(opened, settings)
    doors.start()
    log.info("doors-open")
    try:
        _beat_until(stop, opened, "doors", doors.status)
    finally:
        doors.close()


def _work(settings: Settings, opened: Store, stop: Stop) -> None:
    from mailrouter.work import Work  # noqa: PLC0415 (scikit-learn lives in this role alone)

    work = Work(opened, settings)
    work.start()
    log.info("work-started")
    try:
        _beat_until(stop, opened, "work", work.status)
    finally:
        work.close()


def _desk(settings: Settings, opened: Store, stop: Stop) -> None:
    import uvicorn  # noqa: PLC0415 (each role loads only what it needs)

    from mailrouter import organisation  # noqa: PLC0415
    from mailrouter.desk.app import create_app  # noqa: PLC0415

    app = create_app(opened, settings, organisation.load(settings.classify.organisation))
    host, _, port = settings.desk.listen.rpartition(":")
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=host.strip("[]"), port=int(port), log_config=None, access_log=False, server_header=False
        )
    )
    thread = threading.Thread(target=server.run, name="desk")
    thread.start()
    try:
        _beat_until(stop, opened, "desk", dict, alive=thread.is_alive)
    finally:
        server.should_exit = True
        thread.join(GRACE_SECONDS)


def _beat_until(
    stop: Stop,
    opened: Store,
    role: str,
    status: Callable[[], dict[str, Any]],
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Write a sign of life until the end; a database that is away costs a beat, nothing more."""
    while alive():
        try:
            beat(opened, role, datetime.now(UTC), status())
        except OperationalError as error:
            log.warning("heartbeat-failed role=%s error=%s", role, type(error.orig).__name__)
        if stop.wait(HEARTBEAT_SECONDS):
            return
    raise RuntimeError(f"role {role} ended by itself")


def beat(opened: Store, role: str, now: datetime, detail: dict[str, Any]) -> None:
    """Note that ``role`` is alive on this node, and what it says of itself."""
    node = opened.node.rpartition(":")[0]
    with opened.write() as session:
        session.merge(Heartbeat(node=node, role=role, at=now, detail=detail))
