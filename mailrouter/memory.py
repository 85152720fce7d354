"""What the register teaches: confirmed cases as examples for training, and as earlier cases to show beside a new one.

A decision counts as long as it stands: one that was undone, or a part that came back, teaches nothing.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from mailrouter.classify import Classifier, Query, encoder, model
from mailrouter.classify.similar import NOTHING, Cases, Earlier, Stems
from mailrouter.classify.values import Verdict
from mailrouter.corpus import Labelled
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import Case, Disposition, Event, Mail

_DECIDING = (EventKind.CONFIRMED, EventKind.RETURNED, EventKind.UNDONE)
_PROTECTED = "skyddad"
_EVENTS = 500  # looked at between two breaths, so that reading mails is never held up
_OVERLAP = 200  # events looked at again: a transaction that began earlier may commit later
_CASES = 200  # texts read at a time


@dataclass(frozen=True, slots=True)
class _Decision:
    """A confirmation, with the parts that still stand."""

    sequence: int
    day: date
    parts: tuple[tuple[str, str], ...]  # unit and area


def examples(session: Session) -> Iterator[Labelled]:
    """Every case whose newest decision stands, as an example of its area; the oldest case first."""
    decided = {
        key: decisions[-1] for key, decisions in _decisions(session).items() if decisions and decisions[-1].parts
    }
    keys = sorted(decided)
    for start in range(0, len(keys), _CASES):
        statement = (
            select(Case, Mail)
            .join(Mail, col(Mail.case_id) == Case.id)
            .where(Mail.disposition == Disposition.CASE, col(Case.id).in_(keys[start : start + _CASES]))
            .order_by(col(Case.id))
        )
        for case, mail in session.exec(statement):
            areas = [area for _, area in decided[case.id].parts if area]
            if areas:
                query = Query(id=case.number, subject=mail.subject, body=mail.text)
                day = decided[case.id].day.isoformat()
                yield Labelled(query, areas[0], tuple(areas[1:]), district=case.district or None, day=day)


def _decisions(session: Session) -> Mapping[int, list[_Decision]]:
    """The decisions of each case that were not undone, oldest first, without the parts that came back."""
    statement = select(Event).where(col(Event.kind).in_(_DECIDING)).order_by(col(Event.id))
    found: dict[int, list[_Decision]] = {}
    for event in session.exec(statement.execution_options(yield_per=1000)):
        decisions = found.setdefault(event.case_id, [])
        if event.kind == EventKind.CONFIRMED:
            decisions.append(_Decision(event.sequence, event.at.date(), _parts(event.detail)))
        elif event.kind == EventKind.UNDONE:
            found[event.case_id] = [one for one in decisions if one.sequence != event.detail["undid"]]
        elif decisions:
            kept = tuple(part for part in decisions[-1].parts if part[0] != event.detail["unit"])
            decisions[-1] = replace(decisions[-1], parts=kept)
    return found


def _parts(detail: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((part["unit"], part["area"]) for part in detail["chosen"])


def confirmed_since(session: Session, moment: datetime) -> int:
    """How many decisions were made after ``moment``."""
    statement = select(func.count()).select_from(Event).where(Event.kind == EventKind.CONFIRMED, Event.at > moment)
    return session.exec(statement).one()


class Memory:
    """Suggests as its classifier does, and names the most alike of the newest confirmed cases as reasons.

    Nothing of a case but its number, its förvaltningar and the day is told, and nothing at all of a case that
    only some may see. ``refresh`` and ``classify`` may run in different threads.
    """

    def __init__(self, store: Store, classifier: Classifier, limit: int) -> None:
        """``limit`` cases are remembered; 0 remembers none."""
        self._store = store
        self._limit = limit
        self._lock = threading.Lock()
        self._start(classifier)

    def _start(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._cases = Cases(self._limit)
        self._index = NOTHING
        self._begin = 0  # the event after which the cases lie that are remembered
        self._last: int | None = None
        self._seen: set[int] = set()

    def take_up(self, models: Path) -> str | None:
        """Suggest with the version that is in use in ``models``; its name when it is another one than until now.

        ``refresh`` then remembers anew, since another model knows other words. Raises ModelError or EncoderError, and
        nothing changes.
        """
        version = model.current_version(models)
        if version == self.classifier.model.card.version:
            return None
        classifier = self.classifier.with_model(model.load(models, version), encoder.dense_of(models, version))
        with self._lock:
            self._start(classifier)
        return version

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query, in their order."""
        with self._lock:
            classifier, index = self.classifier, self._index
        verdicts = classifier.classify(queries, on, index)
        hidden = self._hidden({number for verdict in verdicts for number in _named(verdict)})
        return [_without(verdict, hidden) for verdict in verdicts] if hidden else verdicts

    def _hidden(self, numbers: set[str]) -> set[str]:
        """Those of the cases that not everybody may see any more; they are forgotten."""
        if not numbers:
            return set()
        with self._store.read() as session:
            rows = session.exec(select(Case.number, Case.restricted, Case.flags).where(col(Case.number).in_(numbers)))
            hidden = {number for number, restricted, flags in rows if restricted or _PROTECTED in flags}
        if hidden:
            with self._lock:
                for number in hidden:
                    self._cases.forget(number)
                self._index = self._cases.index()
        return hidden

    def refresh(self) -> int:
        """Take in what was decided since the last look; how many events were new. Never more than a few hundred."""
        if not self._limit:
            return 0
        with self._lock:
            classifier, last = self.classifier, self._last
        with self._store.read() as session:
            if last is None:
                self._begin = self._first(session)
            start = self._begin if last is None else max(self._begin, last - _OVERLAP)
            rows = [row for row in _events(session, start) if row[0].id not in self._seen]
        found = [(case.number, _remembered(classifier, event, case, mail)) for event, case, mail in rows]
        with self._lock:
            if classifier is not self.classifier:  # another model meanwhile: begin anew
                return 1
            for number, kept in found:
                if kept is None:
                    self._cases.forget(number)
                else:
                    self._cases.add(*kept)
            ids = {event.id for event, _, _ in rows}
            self._last = max({last or start, *ids})
            self._seen = {one for one in self._seen | ids if one > self._last - _OVERLAP}
            if rows:
                self._index = self._cases.index()
        return len(rows)

    def _first(self, session: Session) -> int:
        """The event after which the newest ``limit`` decisions lie."""
        newest = select(Event.id).where(Event.kind == EventKind.CONFIRMED).order_by(col(Event.id).desc())
        first = session.exec(newest.offset(self._limit).limit(1)).first()
        return first or 0

    def status(self) -> int:
        """How many cases are remembered."""
        return len(self._cases)


def _events(session: Session, after: int) -> Sequence[tuple[Event, Case, Mail]]:
    """Decisions, and what takes one back, with the mail they are about."""
    statement = (
        select(Event, Case, Mail)
        .join(Case, col(Case.id) == Event.case_id)
        .join(Mail, col(Mail.case_id) == Case.id)
        .where(
            col(Event.id) > after,
            col(Event.kind).in_((*_DECIDING, EventKind.RESTRICTED)),
            Mail.disposition == Disposition.CASE,
        )
        .order_by(col(Event.id))
        .limit(_EVENTS + _OVERLAP)
    )
    return session.exec(statement).all()


def _remembered(classifier: Classifier, event: Event, case: Case, mail: Mail) -> tuple[Earlier, Stems] | None:
    """What a decision leaves behind; None when it came back, or is not for everybody's eyes."""
    if event.kind != EventKind.CONFIRMED or case.restricted or _PROTECTED in case.flags:
        return None
    parts = _parts(event.detail)
    units = classifier.organisation.units
    names = tuple(units[unit].name if unit in units else unit for unit, _ in parts)
    query = Query(str(mail.id), mail.subject, mail.text)
    return Earlier(case.number, parts[0][1], names, event.at.date(), query.id), classifier.stems(query)


def _named(verdict: Verdict) -> Iterable[str]:
    return (number for reason in verdict.reasons for number in reason.cases)


def _without(verdict: Verdict, hidden: set[str]) -> Verdict:
    return replace(verdict, reasons=tuple(one for one in verdict.reasons if hidden.isdisjoint(one.cases)))
