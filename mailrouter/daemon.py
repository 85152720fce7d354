"""The service: a parent that starts one process a role, restarts what dies, and ends with SIGTERM.

The roles talk only through the database, so the same program runs whole on one machine or spread
with ``--only`` over several. role.py is the child's side. This side imports nothing but the standard
library: it stays small for as long as the service runs.

    python -m mailrouter.daemon [--config FILE] [--demo] ROLE ...
"""

import argparse
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailrouter import logs

log = logging.getLogger("mailrouter.daemon")

ROLES = ("doors", "work", "desk")
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


def main() -> None:
    """Watch over the roles that the command line names until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m mailrouter.daemon")
    parser.add_argument("--config", type=Path, help="TOML file with the settings")
    parser.add_argument("--demo", action="store_true", help="send the sample mails once the door listens")
    parser.add_argument("roles", nargs="+", choices=ROLES)
    chosen = parser.parse_args()
    logs.set_up("INFO")
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, stop.set)
    feeder = _feed(chosen.config) if chosen.demo else None
    supervise(chosen.roles, chosen.config, stop)
    if feeder is not None and feeder.poll() is None:
        feeder.kill()
    sys.stdout.write("mailrouter has stopped.\n")


def _feed(config_file: Path | None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mailrouter", "demo", "--wait", "60"]
    command += ["--config", str(config_file)] if config_file else []
    return subprocess.Popen(command)  # noqa: S603 (our own program)


if __name__ == "__main__":
    main()
