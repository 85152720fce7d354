"""A desk with 300 varied cases: sure, unsure, urgent, in other languages, broken, under way, returned and ended."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

from sqlmodel import Session, col, select

from mailrouter import config, diarium, ingest, reading, triage
from mailrouter.classify.values import Query, Reason, Verdict
from mailrouter.config import Settings
from mailrouter.diarium import EventKind
from mailrouter.store import Store
from mailrouter.tables import AssignmentState, Attempt, Case, Dispatch, DispatchState
from mailrouter.triage import Choice, CloseReason
from tests.clock import NOW, ZONE
from tests.desk import city, letter
from tests.pictures import SAMPLES, Sample, SampleClassifier

COUNT = 300
PLACES = ("Mariagatan", "Frölunda torg", "Hisingsbacka", "Kortedala", "Angered centrum", "Masthugget", "Linnéstaden")
NAMES = ("Anna Berg", "Ali Hassan", "Åsa Öberg", "Mikko Virtanen", "Ewa Nowak", "Björn Ek", "Fatima Yusuf", "Lars Lind")
ENDINGS = (CloseReason.EJ_ARENDE, CloseReason.BESVARAT_DIREKT, CloseReason.HANVISAT)


class _Varied(SampleClassifier):
    """Says what the sample behind a subject says, with the place in the mail as one of its words."""

    def classify(self, queries: Sequence[Query], on: date) -> list[Verdict]:
        """One verdict a query."""
        return [self._of(query, on) for query in queries]

    def _of(self, query: Query, on: date) -> Verdict:
        sample = next(one for one in SAMPLES if query.subject.startswith(one.subject[:12]))
        verdict = self._verdict(sample, on)
        place = next((one for one in PLACES if one in query.body), "")
        named = (Reason("place", f"Mejlet nämner {place}.", words=(place,)),) if place else ()
        language = "en" if sample.subject.startswith("School") else "sv"
        return replace(verdict, reasons=(*verdict.reasons, *named), language=language)


def _mail(index: int) -> tuple[Sample, bytes]:
    sample = SAMPLES[index % len(SAMPLES)]
    place, name = PLACES[index % len(PLACES)], NAMES[index % len(NAMES)]
    number = "\n\nMitt personnummer är 19121212-1212." if index % 7 == 0 else ""
    body = f"{sample.body}\nDet gäller {place}.{number}\n\n{name}\n"
    sender = f"{name} <{name.split()[0].lower()}{index}@post.example>".replace("å", "a").replace("ö", "o")
    return sample, letter(f"{sample.subject} ({index})", body, sender=sender, attachments=sample.attachments)


def fill(opened: Store) -> list[str]:
    """Receive and read the cases and let a week pass over some; their numbers, oldest first."""
    with opened.write() as session:
        for index in range(COUNT):
            sample, octets = _mail(index)
            at = NOW - timedelta(hours=sample.hours_ago + (COUNT - index) / 4)
            arrival = ingest.Arrival(octets, "demo", str(index), at, "", ("goteborg@stad.example",))
            ingest.register(session, [ingest.entry_of(arrival)], None, now=at, zone=ZONE, weeks=4)
    settings = Settings(citizen=config.Citizen(acknowledge=False), work=config.Work(batch=300))
    while reading.read_due(opened, _Varied(), settings, NOW):
        pass
    with opened.write() as session:
        cases = session.exec(select(Case).order_by(col(Case.id))).all()
        _let_pass(session, cases[: COUNT // 2])
        return [case.number for case in cases]


def _let_pass(session: Session, cases: Sequence[Case]) -> None:
    """Of those a week old: most are with a förvaltning, some answered, some ended, some came back."""
    for case, what in zip(
        cases,
        itertools.cycle(("sent", "sent", "answered", "ended", "returned", "failed", "broken", "wait")),
        strict=False,
    ):
        if what in ("sent", "answered", "returned", "failed"):
            _confirm(session, case, what)
        elif what == "ended":
            triage.close(session, case.id, ENDINGS[case.id % 3], note="", seen=None, actor="olle", now=NOW)
        elif what == "broken":
            case.attention = "Mejlet gick inte att läsa. Titta på originalet och fördela för hand."
            diarium.record(session, case, EventKind.QUARANTINED, actor="mailrouter", now=NOW, detail={})


def _confirm(session: Session, case: Case, what: str) -> None:
    triage.confirm(
        session, case.id, [Choice("stadsmiljoforvaltningen")], seen=None, actor="olle", now=NOW - timedelta(hours=20),
        organisation=city(), settings=Settings(),
    )  # fmt: skip
    part = triage.assignments(session, case.id)[0]
    dispatch = session.exec(select(Dispatch).where(Dispatch.assignment_id == part.id)).one()
    dispatch.due_at = None
    if what == "failed":
        dispatch.state, part.state = DispatchState.FAILED, AssignmentState.FAILED
        case.attention = "Mejlet till Stadsmiljöförvaltningen kom inte fram: 550 5.1.1 User unknown"
        diarium.record(
            session, case, EventKind.DELIVERY_FAILED, actor="mailrouter", now=NOW, detail={"unit": part.unit}
        )
        session.add(
            Attempt(
                dispatch_id=dispatch.id,
                started_at=NOW,
                finished_at=NOW,
                outcome="never",
                reply="550 5.1.1 User unknown",
            )
        )
        return
    dispatch.state, part.state = DispatchState.SENT, AssignmentState.DELIVERED
    if what == "returned":
        triage.give_back(
            session, case.id, part.id, reason="Enskild väg, ägs av samfälligheten", seen=None, actor="rut", now=NOW
        )
    if what == "answered":
        triage.answered(session, case.id, part.id, seen=None, actor="rut", now=NOW)
