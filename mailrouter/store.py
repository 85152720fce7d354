"""The database: engine, transactions, claims. The only room that knows the dialect."""

import logging
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    CursorResult,
    Dialect,
    Engine,
    Integer,
    event,
    insert,
    literal,
    make_url,
    or_,
    text,
)
from sqlalchemy import create_engine as sa_create_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Session, SQLModel, col, select

from mailrouter import config
from mailrouter.tables import Claim

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

Work = TypeVar("Work", bound=Claim)

HORIZON_SECONDS = 2  # longest wait for those who are writing
_WRITING = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = CAST(:table AS regclass)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowExclusiveLock' AND granted AND pid <> pg_backend_pid()"
)
BUSY_SECONDS = 30  # a SQLite writer waits this long for the other writer before it fails


class Store:
    """An engine with the two ways to use it: ``read`` and ``write``.

    ``write`` takes the write lock at once (BEGIN IMMEDIATE on SQLite), so a decision never rests on a
    row that another writer changes meanwhile; on PostgreSQL the rows that matter are locked by name.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"
        self.node = f"{socket.gethostname()}:{os.getpid()}"

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends and rolls back when it raises."""
        with Session(self.engine, expire_on_commit=False) as session:
            session.connection(execution_options={"mailrouter_write": True})
            yield session
            log.debug("write-committing")
            session.commit()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that never commits and sees one moment of the database throughout."""
        with Session(self.engine, expire_on_commit=False) as session:
            if not self.sqlite:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def has_due(self, table: type[Work], now: datetime) -> bool:
        """True when ``claim`` may find something; asks without the write lock, so that idling costs nobody."""
        with self.read() as session:
            return session.exec(select(literal(1)).where(*_claimable(table, now)).limit(1)).first() is not None

    def claim(
        self,
        session: Session,
        table: type[Work],
        now: datetime,
        *where: ColumnElement[bool],
        limit: int,
        lease: timedelta,
    ) -> Sequence[Work]:
        """Take up to ``limit`` due rows, oldest first, for ``lease``; ``attempts`` counts each taking.

        Nobody else is handed them before the lease has run out. The caller commits, works outside the
        transaction, and settles each row with ``settle`` or ``postpone``.
        """
        due = (
            select(table)
            .where(*_claimable(table, now), *where)
            .order_by(col(table.due_at))
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = session.exec(due).all()
        for row in rows:
            row.leased_until = now + lease
            row.leased_by = self.node
            row.attempts += 1
        session.flush()
        return rows

    def release_dead(self, table: type[Work]) -> int:
        """Give back what this node's processes held when they died; how many rows. For the start of a role.

        Without it the rows would wait for their leases to run out. Leases of other nodes are left alone,
        and so are those of our living processes.
        """
        host = self.node.rpartition(":")[0]
        held = select(table).where(col(table.leased_by).startswith(f"{host}:", autoescape=True))
        with self.write() as session:
            dead = [row for row in session.exec(held.with_for_update(skip_locked=True)) if _is_dead(row.leased_by)]
            for row in dead:
                row.leased_until, row.leased_by = None, ""
        return len(dead)

    def horizon(self, table: type[SQLModel]) -> int | None:
        """The highest id of ``table``, once no row with a lower one can appear any more; None when that takes long.

        PostgreSQL hands out ids before transactions commit, so a lower one may become visible after a higher.
        But whoever inserts holds a ROW EXCLUSIVE lock on the table before drawing an id and until the commit:
        when those who held one are gone, every id below one that was seen is there, or never will be.
        """
        name = str(table.__tablename__)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            highest = int(connection.execute(text(f"SELECT coalesce(max(id), 0) FROM {name}")).scalar_one())  # noqa: S608
            if self.sqlite:
                return highest  # one writer at a time
            writing = set(connection.execute(_WRITING, {"table": name}).scalars())
            give_up = time.monotonic() + HORIZON_SECONDS
            while writing and time.monotonic() < give_up:
                time.sleep(0.02)
                writing &= set(connection.execute(_WRITING, {"table": name}).scalars())
        return None if writing else highest

    def check(self) -> None:
        """Raise an SQLAlchemy error when the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _claimable(table: type[Work], now: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(table.due_at) <= now, or_(col(table.leased_until).is_(None), col(table.leased_until) < now)


def _is_dead(holder: str) -> bool:
    """True when the process no longer runs, or had the number that is now ours (a container's is always the same)."""
    pid = int(holder.rpartition(":")[2])
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class days_between(FunctionElement[int]):  # noqa: N801 (used like a function of SQL)
    """Whole days from a day to the day (UTC) of a moment: ``days_between(answered_at, arrived_on)``; null of null."""

    type = Integer()
    inherit_cache = True


@compiles(days_between, "sqlite")
def _days_in_sqlite(element: days_between, compiler: Any, **options: Any) -> str:
    moment, day = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(julianday(date({moment})) - julianday({day}) AS INTEGER)"


@compiles(days_between, "postgresql")
def _days_in_postgres(element: days_between, compiler: Any, **options: Any) -> str:
    moment, day = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(CAST({moment} AT TIME ZONE 'UTC' AS DATE) - {day})"


def settle(row: Claim) -> None:
    """The work of a claimed row is done: nothing is due any more."""
    row.due_at = row.leased_until = None
    row.leased_by = ""
    row.attempts = 0


def postpone(row: Claim, until: datetime) -> None:
    """The work of a claimed row is to be tried again at ``until``."""
    row.due_at = until
    row.leased_until = None
    row.leased_by = ""


def draw_ids(session: Session, table: str, count: int) -> list[int]:
    """``count`` new primary keys of ``table``, so that rows of several tables that name each other go in together.

    Only inside ``write``: SQLite's one writer makes the highest key and one the next; PostgreSQL has a sequence.
    """
    if session.get_bind().dialect.name == "sqlite":
        highest = plain(session, f"SELECT coalesce(max(id), 0) FROM {table}").scalar_one()  # noqa: S608
        return list(range(highest + 1, highest + 1 + count))
    drawn = "SELECT nextval(pg_get_serial_sequence(?, 'id')) FROM generate_series(1, ?)"
    return list(plain(session, drawn, table, count).scalars())


def plain(session: Session, sql: str, *values: Any) -> CursorResult[Any]:
    """Run SQL that both databases take, with ``?`` for a value and for the inside of ``IN (?)`` when that is a list.

    For the way that every mail goes: what Core adds to a statement costs more than the statement.
    SQLite knows no FOR UPDATE and needs none, since ``write`` has its only lock.
    """
    connection = session.connection()
    sqlite = connection.dialect.name == "sqlite"
    head, *rest = (sql.removesuffix(" FOR UPDATE") if sqlite else sql).split("?")
    written, given = [head], []
    for value, part in zip(values, rest, strict=True):
        several = value if isinstance(value, list) else [value]
        written += [", ".join(["?" if sqlite else "%s"] * len(several)), part]
        given += several
    return connection.exec_driver_sql("".join(written), tuple(given))


class BulkInsert:
    """INSERT of many rows with the same columns, for the way that every mail goes.

    The statement and the conversion of each column are SQLAlchemy's, prepared once; the rows then go to
    the driver without the work that Core does for each of them, which is most of a mail's time.
    """

    def __init__(self, table: str, *columns: str) -> None:
        self._table = SQLModel.metadata.tables[table]
        self._columns = [column for column in self._table.columns if column.key in columns]
        self._keys = [column.key for column in self._columns]
        self._pick = itemgetter(*self._keys)
        self._prepared: dict[str, tuple[str, list[tuple[int, Any]]]] = {}

    def __call__(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert ``rows``, each with all the columns."""
        connection = session.connection()
        sql, conversions = self._for(connection.dialect)
        picked = [[*self._pick(row)] for row in rows]
        for index, convert in conversions:
            before, converted = object(), None
            for row in picked:
                if row[index] is not before:  # neighbours often share a moment or a state
                    before = row[index]
                    converted = convert(before)
                row[index] = converted
        if connection.dialect.positional:
            connection.exec_driver_sql(sql, [tuple(row) for row in picked])
        else:
            connection.exec_driver_sql(sql, [dict(zip(self._keys, row, strict=True)) for row in picked])

    def _for(self, dialect: Dialect) -> tuple[str, list[tuple[int, Any]]]:
        if dialect.name not in self._prepared:
            sql = str(insert(self._table).compile(dialect=dialect, column_keys=self._keys))
            processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in self._columns]
            conversions = [(index, convert) for index, convert in enumerate(processors) if convert]
            self._prepared[dialect.name] = sql, conversions
        return self._prepared[dialect.name]


def connect(settings: config.Store) -> Store:
    """The store at ``settings.url``. Raises ConfigError when the address is unusable; does not connect yet."""
    url = _url(settings)
    if url.get_backend_name() == "sqlite":
        return Store(_sqlite_engine(url))
    # pre_ping: a connection that died with the database is replaced before it is used;
    # hide_parameters: an error that is logged must not hold a citizen's mail
    return Store(
        sa_create_engine(
            url, pool_size=10, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": 10}
        )
    )


def connect_existing(settings: config.Store) -> Store:
    """The store when there is one already. Raises ConfigError when SQLite's file is not there."""
    url = _url(settings)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise config.ConfigError(f"there is no register at {url.database} yet; `mailrouter run` creates it")
    return connect(settings)


def _url(settings: config.Store) -> URL:
    try:
        url = make_url(settings.url)
    except Exception as error:
        raise config.ConfigError(f"store.url: not a database address: {settings.url!r}") from error
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise config.ConfigError(f"store.url: use sqlite:/// or postgresql+psycopg://, not {url.drivername}://")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if settings.password_file:
        try:
            url = url.set(password=settings.password_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise config.ConfigError(
                f"store.password_file: cannot read {settings.password_file}: {error.strerror}"
            ) from error
    return url


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise config.ConfigError("store.url: SQLite needs a file, since several processes share it")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise config.ConfigError(f"store.url: cannot create {Path(url.database).parent}: {error.strerror}") from error
    engine = sa_create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _sqlite_connected)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connected(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit has reached the disk before 250 is said
        "foreign_keys=ON",
        "wal_autocheckpoint=4000",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Any) -> None:
    immediate = connection.get_execution_options().get("mailrouter_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def migrate(store: Store, revision: str = "head") -> None:
    """Bring the schema to ``revision``; nodes that start together wait for each other."""
    from alembic.config import Config  # noqa: PLC0415 (only a start migrates)

    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with store.engine.connect().execution_options(mailrouter_write=True) as connection:
        alembic.attributes["connection"] = connection
        if not store.sqlite:
            connection.execute(text("SELECT pg_advisory_lock(719260)"))
            connection.commit()
        try:
            _move(alembic, revision)
        finally:
            if not store.sqlite:
                connection.execute(text("SELECT pg_advisory_unlock(719260)"))
                connection.commit()


def _move(alembic: "Config", revision: str) -> None:
    from alembic import command  # noqa: PLC0415

    if revision == "base":
        command.downgrade(alembic, "base")
    else:
        command.upgrade(alembic, revision)
