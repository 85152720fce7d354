"""The work role: read and judge, send, remind, seal. APScheduler beats time; the rows decide.

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

from mailrouter import classify, deadlines, forward, organisation, reading, seal, webhooks
from mailrouter.config import Settings
from mailrouter.smarthost import open_smarthost
from mailrouter.store import Store
from mailrouter.tables import Assignment, Dispatch, Mail, Webhook

log = logging.getLogger(__name__)

REMIND_SECONDS = 30
TELL_SECONDS = 2  # how soon webhooks are told


class Work:
    """The jobs of one work process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Raises ConfigError, OrganisationError, RuleError or ModelError when something it needs is unusable."""
        self._store = store
        self._settings = settings
        self._smarthost = open_smarthost(settings)
        self._city = organisation.load(settings.classify.organisation)
        self._classifier = classify.load(settings.classify)
        self._counts: dict[str, int] = {}
        self._released = False
        self._releasing = threading.Lock()
        jobs = 4
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
        self._scheduler.add_job(self._guarded("seal", self._seal), "cron", hour=3, minute=10)
        self._scheduler.start()

    def close(self) -> None:
        """Finish the running jobs, then stop."""
        self._scheduler.shutdown(wait=True)

    def status(self) -> dict[str, Any]:
        """What was done since the start, for the heartbeat."""
        return {"done": dict(self._counts), "model": self._classifier.by}

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
        return reading.read_due(self._store, self._classifier, self._settings, now, organisation=self._city)

    def _send(self) -> int:
        now = datetime.now(UTC)
        if not self._store.has_due(Dispatch, now):
            return 0
        return forward.send_due(self._store, self._smarthost, self._settings, now, organisation=self._city)

    def _remind(self) -> int:
        now = datetime.now(UTC)
        if not self._store.has_due(Assignment, now):
            return 0
        return deadlines.remind_due(self._store, self._settings, now)

    def _tell(self) -> int:
        now = datetime.now(UTC)
        return webhooks.deliver_due(self._store, self._settings, now) if webhooks.has_news(self._store, now) else 0

    def _seal(self) -> int:
        with self._store.write() as session:
            seal.anchor(session, datetime.now(UTC))
        return 0
