"""What happens when the database is away or the disk is full: nothing is acknowledged, then all flows again."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import col, select

from mailrouter import config, store
from mailrouter.config import ImapAccount, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.store import Store
from mailrouter.tables import Case, Mailbox, RawMail
from tests.mails import octets
from tests.servers.dovecot import PASSWORD, Dovecot
from tests.servers.postgres import Postgres, postgres
from tests.smtp_client import RawSmtp, wire
from tests.waiting import until

UNAVAILABLE = "451 4.3.0 The mail cannot be taken just now, try again later"


@contextmanager
def doors_on(db: Store, *accounts: ImapAccount) -> Iterator[Doors]:
    """Open doors."""
    doors = Doors(db, Settings(imap=list(accounts), smtp=Smtp(listen="127.0.0.1:0")))
    doors.start()
    try:
        yield doors
    finally:
        doors.close()


def send(doors: Doors, content: bytes) -> str:
    """Send a mail by SMTP; the last reply."""
    with RawSmtp(doors.smtp.address("smtp")) as client:
        client.envelope()
        client.send(wire(content))
        return client.reply()


def stored(db: Store) -> list[bytes]:
    """The registered octets."""
    with db.read() as session:
        return list(session.exec(select(RawMail.octets).order_by(col(RawMail.mail_id))))


def box(server: Dovecot, user: str) -> ImapAccount:
    """A watched account."""
    return ImapAccount(
        name=user, host="127.0.0.1", port=server.imap, tls="none", user=user, password=PASSWORD, timeout_seconds=10
    )


@contextmanager
def locked(db: Store) -> Iterator[None]:
    """Another program holds SQLite's only pen, and we have little patience."""
    event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=100"))
    db.dispose()
    with db.write():
        yield


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    """PostgreSQL has died."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.fixture
def outage(db: Store, request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    """The database goes away for the length of a block."""
    if db.sqlite:
        return lambda: locked(db)
    server = request.getfixturevalue("postgres_server")
    return lambda: stopped(server)


def test_a_database_that_is_away(
    db: Store, outage: Callable[[], AbstractContextManager[None]], imap_server: Dovecot
) -> None:
    """SMTP says 451, IMAP leaves mail and cursor as they are; afterwards both are taken without a restart."""
    user = f"outage-{db.engine.dialect.name}"
    with doors_on(db, box(imap_server, user)) as doors:
        assert send(doors, octets(key="before")).startswith("250")
        with outage():
            assert send(doors, octets(key="during")) == UNAVAILABLE
            imap_server.deliver(user, [octets(key="imap")])
            until(lambda: doors.status()["imap"][f"{user}/INBOX"]["last_error"].startswith("database"))
        until(lambda: len(stored(db)) == 2)
        with db.read() as session:
            assert session.exec(select(Mailbox.last_uid).where(Mailbox.account == user)).one() == 1
        until(lambda: send(doors, octets(key="during")).startswith("250"))
    assert set(stored(db)) == {octets(key=key) for key in ("before", "during", "imap")}
    with db.read() as session:
        assert sorted(session.exec(select(Case.serial))) == [1, 2, 3]


@dataclass
class Disk:
    """A disk that a test can fill up."""

    db: Store
    fill: Callable[[], None]
    free: Callable[[], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest, server_folder: Path, migrated_sqlite: bytes) -> Iterator[Disk]:
    """A database of each kind on a small disk of its own; where none may be mounted, one told that its disk is full."""
    folder = server_folder / f"disk-{request.param}"
    folder.mkdir()
    size = "3m" if request.param == "sqlite" else "150m"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    place = _on_small_disk if mounted else _told_so
    try:
        with place(request.param, folder, migrated_sqlite) as found:
            yield found
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _opened(kind: str, folder: Path, migrated_sqlite: bytes) -> Iterator[Store]:
    if kind == "sqlite":
        (folder / "mailrouter.db").write_bytes(migrated_sqlite)
        db = store.connect(config.Store(url=f"sqlite:///{folder}/mailrouter.db"))
        yield db
        db.dispose()
        return
    with postgres(folder / "pg") as server:
        db = store.connect(config.Store(url=server.url("postgres")))
        store.migrate(db)
        yield db
        db.dispose()


@contextmanager
def _on_small_disk(kind: str, folder: Path, migrated_sqlite: bytes) -> Iterator[Disk]:
    ballast = folder / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4_096)

    with _opened(kind, folder, migrated_sqlite) as db:
        yield Disk(db, fill, lambda: ballast.unlink(missing_ok=True))


@contextmanager
def _told_so(kind: str, folder: Path, migrated_sqlite: bytes) -> Iterator[Disk]:
    with _opened(kind, folder, migrated_sqlite) as db:
        pages: list[int] = []

        def limit(connection: Any, _: Any) -> None:
            if pages:
                connection.execute(f"PRAGMA max_page_count={pages[-1]}")

        def fill() -> None:
            if kind == "sqlite":
                with db.engine.connect() as connection:
                    pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
                db.dispose()
                return
            with db.engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
                )
                connection.exec_driver_sql(
                    "CREATE TRIGGER full_disk BEFORE INSERT ON rawmail EXECUTE FUNCTION full_disk()"
                )

        def free() -> None:
            if kind == "sqlite":
                pages[:] = [1_000_000_000]
                db.dispose()
                return
            with db.engine.begin() as connection:
                connection.exec_driver_sql("DROP TRIGGER IF EXISTS full_disk ON rawmail")

        if kind == "sqlite":
            event.listen(db.engine, "connect", limit)
        yield Disk(db, fill, free)


def test_a_full_disk(disk: Disk, imap_server: Dovecot) -> None:
    """Nothing is acknowledged that does not fit, by SMTP or IMAP; when there is room all flows again by itself."""
    user = f"full-{disk.db.engine.dialect.name}"
    large = [octets(body="x" * 70 + "\n" + "y" * 200_000, key=f"large{index}") for index in range(3)]
    with doors_on(disk.db, box(imap_server, user)) as doors:
        assert send(doors, octets(key="before")).startswith("250")
        disk.fill()
        assert [send(doors, content) for content in large] == [UNAVAILABLE] * 3
        imap_server.deliver(user, [octets(body="z" * 200_000, key="imap")])
        until(lambda: doors.status()["imap"][f"{user}/INBOX"]["last_error"])
        disk.free()
        until(lambda: all(send(doors, content).startswith("250") for content in large), 60)
        until(lambda: len(stored(disk.db)) == 5, 60)
    with disk.db.read() as session:
        assert sorted(session.exec(select(Case.serial))) == [1, 2, 3, 4, 5]
        assert session.exec(select(Mailbox.last_uid)).one() == 1
