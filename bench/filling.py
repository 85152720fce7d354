"""A register with very many cases, as it stands after some years: written in bulk, past the rooms that own it.

The spread is that of a contact centre: nearly all cases are answered or closed, four weeks' worth wait at the
förvaltningar, a few hundred are to be sorted. Texts are made of common and rare words, as texts are.
"""

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import Any

from mailrouter import number, search, workdays
from mailrouter.organisation import Organisation
from mailrouter.store import Store
from tests.clock import NOW, ZONE

A_DAY = 700  # cases that come in
WAITING_DAYS = 28  # what is younger may wait at a förvaltning
OPEN = 400  # to be sorted just now
QUARANTINED = 12
BATCH = 20_000
SYLLABLES = re.findall("..", "badefigohujykaleminopurysatevixodågälömåsätö")
HASH = "0" * 64

TABLES = {
    "register_case": (
        "id", "number", "year", "serial", "state", "kind", "subject", "subject_public", "sender", "sender_name",
        "wants_answer", "district", "flags", "language", "arrived_on", "opened_at", "closed_at", "closed_as",
        "answered_at", "answer_due", "attention", "suggestion", "suggested_at", "restricted", "contact", "last_event",
        "last_hash",
    ),
    "mail": (
        "id", "leased_by", "attempts", "case_id", "disposition", "source", "source_key", "message_id", "identity",
        "size", "received_at", "envelope_sender", "envelope_recipients", "sender", "subject", "text", "nature",
        "defects",
    ),
    "rawmail": ("mail_id", "octets"),
    "assignment": (
        "id", "leased_by", "attempts", "case_id", "unit", "unit_name", "area", "state", "external_number",
        "created_at", "created_by", "answer_due", "reminded",
    ),
    "dispatch": (
        "id", "leased_by", "attempts", "case_id", "assignment_id", "mail_id", "kind", "recipient", "token", "state",
        "created_at", "settled_at", "text", "detail",
    ),
    "attempt": ("id", "dispatch_id", "started_at", "finished_at", "outcome", "reply", "channel"),
    "event": ("id", "case_id", "sequence", "at", "kind", "actor", "detail", "previous_hash", "hash"),
}  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """An area with what is suggested for it, written once."""

    area: str
    name: str
    unit: str
    unit_name: str
    suggestion: str
    unsure: str


class Register:
    """Invents cases, always the same ones. ``rows`` gives those of a table for each."""

    def __init__(self, count: int, city: Organisation) -> None:
        self.count = count
        self.chance = random.Random(20260302)
        self.city = city
        self.topics = list(self._topics())
        words = ["".join(self.chance.choices(SYLLABLES, k=2 + rank % 3)) for rank in range(6000)]
        self.words, self.weights = words, list(accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.districts = [*city.districts, "", ""]
        self.serials: dict[int, int] = {}
        self.keys = dict.fromkeys(("assignment", "dispatch", "attempt", "event"), 0)

    def _topics(self) -> Iterator[Topic]:
        names = [area for area in self.city.areas.values() if area.unit and self.city.units[area.unit].mailbox]
        for place, area in enumerate(names):
            unit, others = self.city.units[area.unit or ""], (names[place - 1], names[place - 2])
            said = [
                json.dumps(_suggestion(area.id, unit.id, others, share), ensure_ascii=False) for share in (0.94, 0.41)
            ]
            yield Topic(area.id, area.name, unit.id, unit.name, *said)

    def cases(self) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
        """The rows of every table, for BATCH cases at a time; ``words`` are those of the search."""
        made = (self._case(index) for index in range(self.count))
        while batch := list(islice(made, BATCH)):
            rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in (*TABLES, "words")}
            for case in batch:
                for table, its in case:
                    rows[table] += its
            yield rows

    def _case(self, index: int) -> list[tuple[str, list[tuple[Any, ...]]]]:
        chance, key = self.chance, index + 1
        age = (self.count - index) / A_DAY  # days
        opened = NOW - timedelta(days=age)
        day = opened.astimezone(ZONE).date()
        serial = self.serials[day.year] = self.serials.get(day.year, 0) + 1
        topic = chance.choice(self.topics)
        state = self._state(index, age)
        unsure = chance.random() < 0.2
        closed_as = ("ej-arende" if chance.random() < 0.25 else "besvarat-direkt") if state == "closed" else ""
        days = chance.expovariate(1 / 9)
        done = min(opened + timedelta(days=days), NOW)
        answered = done if state == "answered" or closed_as == "besvarat-direkt" else None
        said = chance.choices(self.words, cum_weights=self.weights, k=35)
        subject = f"{topic.name}: {' '.join(said[:4])}"
        of = number.format_number(day.year, serial)
        sender = f"{said[0]}.{said[1]}{key}@post.example"
        language = "sv" if chance.random() < 0.93 else chance.choice(("en", "fi", "ar", "so"))
        flags = [flag for flag in ("bradskande", "barn", "kanslig") if chance.random() < 0.02]
        restricted = "skyddad" if chance.random() < 0.004 else ""
        attention = "Återöppnat: svaret räckte inte" if state == "open" and chance.random() < 0.08 else ""
        parts, dispatches, attempts = self._sent(key, topic, state, opened, day)
        events = self._events(key, topic, state, opened, done, closed_as, unsure)
        text = " ".join(said)
        return [
            ("register_case", [(
                key, of, day.year, serial, state, chance.choice(("klagomal", "fraga", "felanmalan", "forslag")),
                subject, f"Klagomål – {topic.name}", sender, "Anna Berg", True, chance.choice(self.districts),
                json.dumps(flags), language, day.isoformat(), _at(opened), _at(done) if state == "closed" else None,
                closed_as, _at(answered) if answered else None, workdays.answer_date(day, 4).isoformat(), attention,
                None if state == "quarantined" else topic.unsure if unsure else topic.suggestion,
                None if state == "quarantined" else _at(opened), restricted, sender, len(events), HASH,
            )]),
            ("mail", [(
                key, "", 0, key, "case", "imap:kontaktcenter" if index % 5 else "smtp", f"{key}", f"{key}@post.example",
                f"{key:064x}", 4000, _at(opened), sender, '["goteborg@stad.example"]', sender, subject, text, "human",
                "[]",
            )]),
            ("rawmail", [(key, f"Subject: {key}\r\n\r\n{text}\r\n".encode())]),
            ("assignment", parts),
            ("dispatch", dispatches),
            ("attempt", attempts),
            ("event", events),
            ("words", [(key, " ".join(search.words_of(f"{of} {sender} {subject} {text}")))]),
        ]  # fmt: skip

    def _state(self, index: int, age: float) -> str:
        chance = self.chance.random()
        if age < 3 and chance < OPEN / (3 * A_DAY):
            return "open"
        if index % (self.count // QUARANTINED) == 7:
            return "quarantined"
        if age < WAITING_DAYS:
            return "routed" if chance < 0.6 else "answered"
        return "routed" if chance < 0.002 else "answered" if chance < 0.66 else "closed"

    def _next(self, table: str) -> int:
        self.keys[table] += 1
        return self.keys[table]

    def _sent(self, key: int, topic: Topic, state: str, opened: datetime, day: Any) -> tuple[list[Any], ...]:
        if state not in {"routed", "answered"}:
            return [], [], []
        part, mail, later = self._next("assignment"), self._next("dispatch"), opened + timedelta(hours=2)
        its = "answered" if state == "answered" else "delivered"
        due = workdays.answer_date(day, 4).isoformat()
        parts = [(part, "", 0, key, topic.unit, topic.unit_name, topic.area, its, f"SMN 2026-{part}", _at(later), "eva",
                  due, 0)]  # fmt: skip
        dispatches = [(mail, "", 0, key, part, key, "forward", f"{topic.unit}@stad.example", f"mr{mail:024d}", "sent",
                       _at(later), _at(later), "", "{}")]  # fmt: skip
        attempts = [(self._next("attempt"), mail, _at(later), _at(later), "sent", "250 2.0.0 Ok", "TLSv1.3")]
        return parts, dispatches, attempts

    def _events(
        self, key: int, topic: Topic, state: str, opened: datetime, done: datetime, closed_as: str, unsure: bool
    ) -> list[tuple[Any, ...]]:
        suggested = {"area": topic.area, "unit": topic.unit, "probability": 0.94, "abstain": unsure, "by": "regler b"}
        told: list[tuple[datetime, str, str, dict[str, Any]]] = [
            (opened, "received", "mailrouter", {"source": "imap:kontaktcenter", "size": 4000})
        ]
        if state == "quarantined":
            told.append((opened, "quarantined", "mailrouter", {}))
        else:
            told.append((opened, "suggested", "mailrouter", suggested))
        if state in {"routed", "answered"}:
            accepted = self.chance.random() < (0.6 if unsure else 0.97)
            later, chosen = opened + timedelta(hours=2), [{"assignment": key, "unit": topic.unit, "area": topic.area}]
            told += [
                (later, "confirmed", "eva", {"chosen": chosen, "suggested": suggested, "accepted": accepted}),
                (later, "sent", "mailrouter", {"recipient": f"{topic.unit}@stad.example", "reply": "250 2.0.0 Ok"}),
            ]
        if state == "answered":
            told.append((done, "answered", "rut", {"unit": topic.unit}))
        if state == "closed":
            told.append((done, "closed", "eva", {"reason": closed_as, "note": ""}))
        return [
            (self._next("event"), key, place, _at(at), kind, actor, json.dumps(detail), HASH, HASH)
            for place, (at, kind, actor, detail) in enumerate(told, 1)
        ]


def _suggestion(area: str, unit: str, others: Sequence[Any], share: float) -> dict[str, Any]:
    rest = [{"area": one.id, "unit": one.unit, "probability": (1 - share) / 3} for one in others]
    first = {"area": area, "unit": unit, "probability": share}
    reason = {"kind": "word", "text": "Orden talar för det.", "weight": 3.0, "words": ["lampa"], "cases": []}
    return first | {
        "abstain": share < 0.7, "candidates": [first, *rest], "kind": "felanmalan", "district": "centrum",
        "flags": [], "language": "sv", "reasons": [reason], "by": "regler b, modell b", "unit_probability": share,
    }  # fmt: skip


def _at(moment: datetime) -> str:
    """A moment as SQLite keeps it; PostgreSQL's session speaks UTC too."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def fill(store: Store, count: int, city: Organisation) -> None:
    """Write ``count`` cases into a migrated, empty store, and tell the database to look at what it has."""
    raw = store.engine.raw_connection()
    connection: Any = raw.driver_connection
    writing = _into_sqlite if store.sqlite else _into_postgres
    writing(connection, Register(count, city).cases())
    connection.execute("INSERT INTO series (year, last) VALUES (2027, 0)")
    connection.commit()
    if store.sqlite:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("ANALYZE")
    else:
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.autocommit = False
    raw.close()


def _into_sqlite(connection: Any, batches: Iterable[dict[str, list[tuple[Any, ...]]]]) -> None:
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        for table, columns in TABLES.items():
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows[table])
        connection.executemany("INSERT INTO case_search (rowid, words) VALUES (?, ?)", rows["words"])
        connection.execute("COMMIT")


def _into_postgres(connection: Any, batches: Iterable[dict[str, list[tuple[Any, ...]]]]) -> None:
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("DROP INDEX ix_case_search_words")
    connection.execute("CREATE TEMPORARY TABLE words (rowid INTEGER, words TEXT)")
    for rows in batches:
        for table, columns in (TABLES | {"words": ("rowid", "words")}).items():
            with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows[table]:
                    copy.write_row(row)
        connection.execute(
            "INSERT INTO case_search SELECT rowid, array_to_tsvector(string_to_array(words, ' ')) FROM words"
        )
        connection.execute("TRUNCATE words")
    connection.execute("CREATE INDEX ix_case_search_words ON case_search USING gin (words)")
    for table in TABLES:
        if table != "rawmail":
            connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT coalesce(max(id), 1) FROM {table}))"
            )
    connection.commit()
