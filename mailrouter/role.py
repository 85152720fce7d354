"""One role of the service in a process of its own: doors, work or desk. ``daemon.py`` starts it and watches over it.

A role whose parent is gone, however it died, ends too: its standard input is a pipe whose other end
only the parent holds.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from mailrouter import config, logs, store
from mailrouter.config import Settings
from mailrouter.daemon import GRACE_SECONDS, Stop
from mailrouter.store import Store
from mailrouter.tables import Heartbeat

log = logging.getLogger("mailrouter.role")

HEARTBEAT_SECONDS = 10


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
        _beat_until(stop, opened, "doors", doors.status, alive=doors.alive)
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
        app.state.desk.live.close()
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


def main() -> None:
    """Run the role that the command line names, with the configuration file it names, if any."""
    name, *file = sys.argv[1:]
    try:
        settings = config.load(Path(file[0]) if file else None)
        logs.set_up(settings.log_level)
        stop = Stop()
        signal.signal(signal.SIGTERM, stop.set)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent tells us in order
        watch_parent(stop)
        run_role(name, settings, stop)
    except Exception as error:
        if not type(error).__module__.startswith("mailrouter."):
            raise
        sys.exit(f"mailrouter {name}: {error}")  # the message of an error of ours is the sentence a person reads
    log.info("role-ended role=%s", name)


if __name__ == "__main__":
    main()
