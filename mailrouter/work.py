"""The work role: read and judge, send, remind, seal, train. APScheduler beats time; the rows decide.

Every job may run on any number of nodes at once, since each row is claimed by one. A job that fails
says so in the log and runs again at the next beat.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

from mailrouter import classify, deadlines, forward, nightly, organisation, reading, seal, webhooks
from mailrouter.compose.signature import signer
from mailrouter.config import Settings
from mailrouter.memory import Memory
from mailrouter.smarthost import open_smarthost
from mailrouter.store import Store
from mailrouter.tables import Assignment, Dispatch, Mail, Webhook

log = logging.getLogger(__name__)

REMIND_SECONDS = 30
TELL_SECONDS = 2  # how soon webhooks are told
REMEMBER_SECONDS = 5  # how soon a decision is named beside a new mail
MODEL_SECONDS = 30  # how soon another model version is taken up


class Work:
    """The jobs of one work process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Raises ConfigError, OrganisationError, RuleError or ModelError when something it needs is unusable."""
        self._store = store
        self._settings = settings
        self._smarthost = open_smarthost(settings)
        signer(settings.forward)  # a key that cannot sign must not wait until the first mail
        self._city = organisation.load(settings.classify.organisation)
        self._memory = Memory(store, classify.load(settings.classify), settings.classify.similar_cases)
        self._trainer = nightly.Trainer(store, settings)
        self._counts: dict[str, int] = {}
        self._released = False
        self._releasing = threading.Lock()
        jobs = 6
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(jobs)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=settings.city.timezone,
        )

    def start(self) -> None:
        """Begin to beat."""
        every = self._settings.work.interval_seconds
        self._every(every, "read", self._read)
        self._every(every, "send", self._send)
        self._every(REMIND_SECONDS, "remind", self._remind)
        self._every(TELL_SECONDS, "tell", self._tell)
        self._every(REMEMBER_SECONDS, "remember", self._memory.refresh)
        self._every(MODEL_SECONDS, "model", self._take_up_model)
        self._scheduler.add_job(self._guarded("seal", self._seal), "cron", hour=3, minute=10)
        if self._settings.classify.train_at:
            hour, _, minute = self._settings.classify.train_at.partition(":")
            self._scheduler.add_job(self._guarded("train", self._train), "cron", hour=int(hour), minute=int(minute))
        self._scheduler.start()

    def close(self) -> None:
        """Finish the running jobs, then stop; a training is ended."""
        self._trainer.stop()
        self._scheduler.shutdown(wait=True)

    def status(self) -> dict[str, Any]:
        """What was done since the start, for the heartbeat."""
        return {
            "done": dict(self._counts),
            "model": self._memory.classifier.by,
            "remembered_cases": self._memory.status(),
            "training": self._trainer.status(),
        }

    def _every(self, seconds: float, name: str, job: Callable[[], int]) -> None:
        first = datetime.now(UTC)
        self._scheduler.add_job(self._guarded(name, job), "interval", seconds=seconds, next_run_time=first)

    def _guarded(self, name: str, job: Callable[[], int]) -> Callable[[], None]:
        """Run until nothing is due. A database that is away is one line; anything else tells where it broke."""

        def run() -> None:
            try:
                self._release_dead()
                while done := job():
                    self._counts[name] = self._counts.get(name, 0) + done
            except OperationalError as error:
                log.warning("job-waits job=%s error=%s", name, str(error.orig).strip().partition("\n")[0])
            except Exception:
                log.exception("job-failed job=%s", name)

        return run

    def _release_dead(self) -> None:
        """Once, as soon as the database answers: what our predecessor held when it died is due again."""
        with self._releasing:  # before any job of ours claims a row
            if not self._released:
                released = sum(self._store.release_dead(table) for table in (Mail, Dispatch, Assignment, Webhook))
                self._released = True
                log.info("work-released rows=%d", released)

    def _read(self) -> int:
        now = datetime.now(UTC)
        if not self._store.has_due(Mail, now):
            return 0
        return reading.read_due(self._store, self._memory, self._settings, now, organisation=self._city)

    def _send(self) -> int:
        now = datetime.now(UTC)
        if not self._store.has_due(Dispatch, now):
            return 0
        return forward.send_due(self._store, self._smarthost, self._settings, now, organisation=self._city)

    def _remind(self) -> int:
        now = datetime.now(UTC)
        marked = deadlines.mark_waiting(self._store, self._settings, now)
        if not self._store.has_due(Assignment, now):
            return marked
        return marked + deadlines.remind_due(self._store, self._settings, now, organisation=self._city)

    def _tell(self) -> int:
        now = datetime.now(UTC)
        return webhooks.deliver_due(self._store, self._settings, now) if webhooks.has_news(self._store, now) else 0

    def _seal(self) -> int:
        with self._store.write() as session:
            seal.anchor(session, datetime.now(UTC))
        return 0

    def _train(self) -> int:
        self._trainer.run(datetime.now(UTC))
        return 0

    def _take_up_model(self) -> int:
        """Suggest with the version in use, when somebody or the night's training chose another one."""
        if version := self._memory.take_up(self._settings.classify.models):
            log.info("model-taken-up version=%s", version)
        return 0
