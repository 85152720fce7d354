"""Steps that tests share: take mails in and read them, without a running service."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlmodel import Session, select

from mailrouter import reading
from mailrouter.classify.values import Candidate, Query, Reason, Verdict
from mailrouter.config import Citizen, Settings
from mailrouter.ingest import Taken, entry_of, register
from mailrouter.store import Store
from mailrouter.tables import Case
from tests.clock import NOW, ZONE
from tests.mails import arrival


class LampClassifier:
    """A classifier that knows one thing, for tests that are not about judging."""

    by = "test"

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """Street lighting, whatever is asked."""
        candidates = tuple(
            Candidate(area, "stadsmiljoforvaltningen", share)
            for area, share in (("gatubelysning", 0.9), ("cykel", 0.06), ("renhallning", 0.04))
        )
        verdict = Verdict(candidates, "felanmalan", "centrum", (), "sv", (Reason("word", "lampa"),), False, self.by)
        return [verdict for _ in queries]


def take(store: Store, *mails: bytes) -> list[Taken]:
    """Register mails as a door does."""
    with store.write() as session:
        return register(session, [entry_of(arrival(mail)) for mail in mails], None, now=NOW, zone=ZONE, weeks=4)


def take_and_read(store: Store, *mails: bytes) -> list[Taken]:
    """Register mails and have them read and judged."""
    taken = take(store, *mails)
    read(store)
    return taken


def read(store: Store, *, acknowledge: bool = False, now: datetime = NOW) -> None:
    """Read and judge all that is due; nothing is queued for citizens unless the test is about it."""
    settings = Settings(citizen=Citizen(acknowledge=acknowledge))
    while reading.read_due(store, LampClassifier(), settings, now):
        pass


def case_of(session: Session, taken: Taken) -> Case:
    """The case of a registered mail."""
    return session.exec(select(Case).where(Case.id == taken.case_id)).one()
