"""The service: a parent that starts one process a role, restarts what dies, and ends with SIGTERM.

The roles talk only through the database, so the same program runs whole on one machine or spread
with ``--only`` over several. role.py is the child's side.
"""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import OperationalError

from mailrouter import store
from mailrouter.config import Settings
from mailrouter.role import GRACE_SECONDS, Stop
from mailrouter.store import Store

log = logging.getLogger(__name__)

STEADY_SECONDS = 30  # a role that ran this long died of something new: restart it at once
MAX_PAUSE_SECONDS = 30


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
    command = [sys.executable, "-m", "mailrouter.role", role, *([str(config_file)] if config_file else [])]
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
