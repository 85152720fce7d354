"""The full-text search over cases: number, sender, subject, text and the förvaltningar's own numbers.

Each case has one row of words in the database's own index: FTS5 on SQLite, a tsvector with GIN on PostgreSQL.
Words are cut and folded here, so that both find the same: small letters, without dots and accents ("goteborg"
finds Göteborg and the other way round), and numbers also without their hyphens. Every word is a beginning:
"gat lamp" finds gatan and lampor.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select
from sqlalchemy.ext.compiler import compiles
from sqlmodel import Session, col, select

from mailrouter.tables import Assignment, Case, Mail

LONGEST_TEXT = 100_000  # characters of a case that are made findable
LONGEST_WORD = 40
MOST_WORDS = 12  # of a question
MOST_HITS = 2000  # the newest cases that answer a question; nobody reads further, and counting on costs

_WORD = re.compile(r"[^\W_]+")
_WITH_FIGURES = re.compile(r"\S*\d\S*")
_TABLE = sa.table("case_search", sa.column("rowid", sa.Integer), sa.column("words"))
_CHUNK = 500

SQLITE_TABLE = (
    "CREATE VIRTUAL TABLE case_search USING fts5(words, tokenize = 'unicode61', detail = 'none', prefix = '2 3')"
)
POSTGRES_TABLE = (
    "CREATE TABLE case_search (rowid INTEGER PRIMARY KEY REFERENCES register_case (id), words TSVECTOR NOT NULL)",
    "CREATE INDEX ix_case_search_words ON case_search USING gin (words)",
)
_SQLITE_KEEP = sa.text("INSERT OR REPLACE INTO case_search (rowid, words) VALUES (:key, :words)")
_POSTGRES_KEEP = sa.text(
    "INSERT INTO case_search (rowid, words) VALUES (:key, array_to_tsvector(string_to_array(:words, ' '))) "
    "ON CONFLICT (rowid) DO UPDATE SET words = EXCLUDED.words"
)


class _Says(sa.sql.functions.FunctionElement[bool]):
    """True for rows of case_search that hold all words; the question is bound in the manner of each database."""

    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> "_Says":  # noqa: ARG002 (the signature is SQLAlchemy's)
        """As it is: with "= 1" behind it, as for other booleans, SQLite would not use its index."""
        return self


@compiles(_Says, "sqlite")
def _in_sqlite(element: _Says, compiler: Any, **options: Any) -> str:
    question, _ = element.clauses
    return f"case_search MATCH {compiler.process(question, **options)}"


@compiles(_Says, "postgresql")
def _in_postgres(element: _Says, compiler: Any, **options: Any) -> str:
    _, question = element.clauses
    return f"case_search.words @@ CAST({compiler.process(question, **options)} AS tsquery)"


def words_of(text: str) -> list[str]:
    """The words of a text as they are kept: folded, numbers with signs in them also as one word."""
    folded = _folded(text[:LONGEST_TEXT])
    whole = ("".join(_WORD.findall(chunk)) for chunk in _WITH_FIGURES.findall(folded))
    found = [*_WORD.findall(folded), *whole]
    return sorted({word[:LONGEST_WORD] for word in found if word})


def _folded(text: str) -> str:
    taken_apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in taken_apart if not unicodedata.combining(sign))


def hits(question: str, *among: ColumnElement[bool]) -> Select[tuple[int]] | None:
    """The ids of the newest MOST_HITS cases that hold all words of a question; None when it has no word.

    ``among`` limits the cases beforehand, where what somebody may see is a small part.
    """
    asked = list(dict.fromkeys(_WORD.findall(_folded(question))))[:MOST_WORDS]
    if not asked:
        return None
    cut = [word[:LONGEST_WORD] for word in asked]
    # One letter is only looked for as a word of its own: half the register begins with any.
    says = _Says(
        sa.literal(" ".join(f'"{word}"{"*" if len(word) > 1 else ""}' for word in cut)),
        sa.literal(" & ".join(f"'{word}'{':*' if len(word) > 1 else ''}" for word in cut)),
    )
    found = sa.select(_TABLE.c.rowid).where(says).order_by(_TABLE.c.rowid.desc()).limit(MOST_HITS)
    if among:
        found = found.join_from(_TABLE, Case, col(Case.id) == _TABLE.c.rowid).where(*among)
    return found


def index(session: Session, case: Case) -> None:
    """Make a case findable as it is now, in the transaction that changes it."""
    session.flush()
    _keep(session.connection(), [(case.id, _text(session, case))])


def _text(session: Session, case: Case) -> str:
    mails = session.exec(select(Mail.sender, Mail.subject, Mail.text).where(Mail.case_id == case.id)).all()
    numbers = session.exec(select(Assignment.external_number).where(Assignment.case_id == case.id)).all()
    return _joined(case.number, case.sender_name, case.sender, case.subject, *numbers, *(" ".join(m) for m in mails))


def _joined(*parts: str) -> str:
    return "\n".join(parts)


def _keep(connection: Connection, texts: Iterable[tuple[int, str]]) -> None:
    rows = [{"key": key, "words": " ".join(words_of(text))} for key, text in texts]
    if rows:
        connection.execute(_SQLITE_KEEP if connection.dialect.name == "sqlite" else _POSTGRES_KEEP, rows)


def create(connection: Connection) -> None:
    """Make the index and fill it from the register; for the migration that brings it."""
    for statement in (SQLITE_TABLE,) if connection.dialect.name == "sqlite" else POSTGRES_TABLE:
        connection.execute(sa.text(statement))
    for texts in _register(connection):
        _keep(connection, texts)


def _register(connection: Connection) -> Iterator[list[tuple[int, str]]]:
    """Every case with its words, some hundred at a time."""
    cases = (
        "SELECT id, number, sender_name, sender, subject FROM register_case WHERE id > :last ORDER BY id LIMIT :most"
    )
    mails = "SELECT case_id, sender, subject, text FROM mail WHERE case_id BETWEEN :first AND :last"
    parts = "SELECT case_id, external_number FROM assignment WHERE case_id BETWEEN :first AND :last"
    last = 0
    while rows := connection.execute(sa.text(cases), {"last": last, "most": _CHUNK}).all():
        first, last = rows[0].id, rows[-1].id
        texts = {key: _joined(*words) for key, *words in rows}
        for statement in (parts, mails):
            for key, *words in connection.execute(sa.text(statement), {"first": first, "last": last}):
                texts[key] = _joined(texts[key], *words)
        yield list(texts.items())


def drop(connection: Connection) -> None:
    """Take the index away."""
    connection.execute(sa.text("DROP TABLE case_search"))
