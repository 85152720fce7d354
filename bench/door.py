"""Our doors as a process of their own, for measuring: ``python -m bench.door FOLDER PORT``; ends with SIGTERM."""

import logging
import signal
import sys
import threading
from pathlib import Path

from mailrouter import config, store
from mailrouter.config import Settings, Smtp
from mailrouter.doors.run import Doors


def main() -> None:
    """Take mail in on PORT, into a new SQLite database in FOLDER."""
    folder, port = Path(sys.argv[1]), sys.argv[2]
    logging.basicConfig(level=logging.WARNING)
    settings = Settings(
        store=config.Store(url=f"sqlite:///{folder}/mailrouter.db"), smtp=Smtp(listen=f"127.0.0.1:{port}")
    )
    opened = store.connect(settings.store)
    store.migrate(opened)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    doors = Doors(opened, settings)
    doors.start()
    while not ended.wait(1.0):  # a signal that another thread was given is seen then
        pass
    doors.close()
    opened.dispose()


if __name__ == "__main__":
    main()
