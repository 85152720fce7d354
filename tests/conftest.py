"""Servers and stores that tests share; each server starts once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from mailrouter import config, store
from tests.browser import chromium
from tests.servers.dovecot import Dovecot, dovecot
from tests.servers.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that other users may enter, for servers that do not run as we do; short, since sockets live in it."""
    with tempfile.TemporaryDirectory(prefix="mr-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[Postgres]:
    """PostgreSQL with a migrated database ``template_mailrouter`` to copy from."""
    with postgres(server_folder / "pg") as server:
        server.sql("CREATE DATABASE template_mailrouter")
        migrated = store.connect(config.Store(url=server.url("template_mailrouter")))
        store.migrate(migrated)
        migrated.dispose()
        yield server


@pytest.fixture(scope="session")
def imap_server(server_folder: Path) -> Iterator[Dovecot]:
    """A Dovecot that stays up."""
    with dovecot(server_folder / "imap") as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated, empty SQLite file's content."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrated = store.connect(config.Store(url=f"sqlite:///{file}"))
    store.migrate(migrated)
    with migrated.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    migrated.dispose()
    return file.read_bytes()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated, empty database of each kind: every test that uses it runs on both."""
    if request.param == "sqlite":
        file = tmp_path / "mailrouter.db"
        file.write_bytes(request.getfixturevalue("migrated_sqlite"))
        yield f"sqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name = server.take_database()
    yield server.url(name)
    server.give_back_database(name)


@pytest.fixture
def db(store_url: str) -> Iterator[store.Store]:
    """A store on each database."""
    opened = store.connect(config.Store(url=store_url))
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; each test opens pages or contexts of its own. Its event loop ends with the module."""
    with chromium() as opened:
        yield opened
