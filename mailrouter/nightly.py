"""Training at night: in a process of its own, with the lowest priority and on one core, so that nobody waits for it.

A new version is used only through the gate of ``training.py``; the work role takes it up while it runs.
"""

import fcntl
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from mailrouter import config, logs, memory, store
from mailrouter.classify.model import ModelError, current_version, load_card
from mailrouter.config import Settings
from mailrouter.store import Store

log = logging.getLogger(__name__)

LOCK = ".training"  # the file in models/ that whoever trains there holds
_NICEST = 19


class Trainer:
    """Starts a training and says what became of it."""

    def __init__(self, opened: Store, settings: Settings) -> None:
        self._store = opened
        self._settings = settings
        self._process: SpawnProcess | None = None
        self._stopped = False
        self._last: dict[str, Any] = {}

    def run(self, now: datetime) -> None:
        """Train if enough was decided since the version in use was made; returns when it is done."""
        new = new_decisions(self._store, self._settings.classify)
        started = now.isoformat(timespec="seconds")
        if new < self._settings.classify.train_least:
            self._last = {"at": started, "outcome": f"{new} new decisions: too few to train"}
            return
        self._last = {"at": started, "outcome": "training"}
        self._process = multiprocessing.get_context("spawn").Process(target=_train, args=(self._settings,))
        self._process.start()
        if self._stopped:
            self._process.terminate()
        self._process.join()
        self._last["outcome"] = _OUTCOMES.get(self._process.exitcode, "failed: the log tells why")
        log.info("training-ended outcome=%s", self._last["outcome"])

    def stop(self) -> None:
        """End a training that runs; what it had written so far is no version yet."""
        self._stopped = True
        if self._process is not None and self._process.is_alive():
            self._process.terminate()

    def status(self) -> dict[str, Any]:
        """When it last ran and what came of it; empty before the first time."""
        return dict(self._last)


_USED, _NOT_USED, _BUSY = 0, 10, 11
_OUTCOMES: dict[int | None, str] = {
    _USED: "a new version is in use",
    _NOT_USED: "the version in use is as good or better",
    _BUSY: "somebody else trains",
}


def new_decisions(opened: Store, settings: config.Classify) -> int:
    """How many decisions were made since the version in use; all of them when none is in use."""
    try:
        made_at = datetime.fromisoformat(load_card(settings.models / current_version(settings.models)).made_at)
    except ModelError:
        made_at = datetime.min.replace(tzinfo=UTC)
    with opened.read() as session:
        return memory.confirmed_since(session, made_at)


@contextmanager
def alone(models: Path) -> Iterator[bool]:
    """True inside when nobody else trains in this folder meanwhile; a dead process holds nothing."""
    with (models / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _train(settings: Settings) -> None:
    """The life of the child process; its exit code says what came of it."""
    import joblib  # noqa: PLC0415 (scikit-learn takes its time, and only this process needs it)

    from mailrouter import training  # noqa: PLC0415 (as above)

    os.nice(_NICEST)
    logs.set_up(settings.log_level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with alone(settings.classify.models) as free:
        if not free:
            raise SystemExit(_BUSY)
        opened = store.connect(settings.store)
        with opened.read() as session:
            examples = list(memory.examples(session))
        opened.dispose()
        with joblib.parallel_config(backend="sequential"):
            card = training.train(settings.classify, examples, _say, now=datetime.now(UTC))
    raise SystemExit(_USED if card.measures["used"] else _NOT_USED)


def _say(sentence: str) -> None:
    log.info("training step=%s", sentence)


def _end_with_parent() -> None:
    """A training whose work role was killed ends too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
