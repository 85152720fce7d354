"""A private PostgreSQL of Debian's package, for the length of a test run."""

import itertools
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_COUNT = itertools.count(1)
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass(frozen=True)
class Postgres:
    """A running server: ``url`` names its maintenance database."""

    port: int
    data: Path
    _free: list[str] = field(default_factory=list)

    def url(self, database: str) -> str:
        """SQLAlchemy address of ``database``."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str) -> None:
        """Run a statement in the maintenance database."""
        subprocess.run(
            ["psql", "-qX", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", statement],
            check=True,
            capture_output=True,
        )

    def take_database(self) -> str:
        """A migrated, empty database: one that was given back, else a copy of ``template_mailrouter``."""
        if self._free:
            return self._free.pop()
        name = f"test_{next(_COUNT)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template_mailrouter")
        return name

    def give_back_database(self, name: str) -> None:
        """Empty a database for the next test, whatever still holds on to it: that is faster than a new one."""
        with psycopg.connect(self.url(name).replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )
            tables = connection.execute(
                "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
                "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            ).fetchone()
            assert tables is not None
            connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY")
            connection.execute("ALTER TABLE event ENABLE TRIGGER event_is_append_only")
            functions = connection.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
            is_as_migrated = functions.fetchone() == (1,)  # a test may have added triggers of its own
        if is_as_migrated:
            self._free.append(name)

    def stop(self) -> None:
        """Stop at once, as a crash does; what was committed stays."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.data.parent} -c fsync=off -c max_connections=60"
        )
        self._control("-o", options, "-l", str(self.data.parent / "log"), "start")

    def _control(self, *arguments: str) -> None:
        as_postgres(str(BINARIES[-1] / "pg_ctl"), "-D", str(self.data), "-w", *arguments)


def as_postgres(*command: str) -> None:
    """Run as the postgres user, since the server refuses root; its words are in the error when it fails."""
    prefix = ["runuser", "-u", "postgres", "--"] if Path("/proc/self").owner() == "root" else []
    done = subprocess.run(
        [*prefix, *command], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")


def free_port() -> int:
    """A loopback port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A new cluster in ``folder``, stopped at the end."""
    folder.mkdir(parents=True)
    if Path("/proc/self").owner() == "root":
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    as_postgres(str(BINARIES[-1] / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "-N")
    server = Postgres(free_port(), data)
    server.start()
    try:
        yield server
    finally:
        server.stop()
