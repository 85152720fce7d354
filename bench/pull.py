"""Durable pull by IMAP: our watcher with SQLite beside mbsync with a synced Maildir, from the same Dovecot."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func
from sqlmodel import select

from bench.mails import generated
from bench.table import Row
from mailrouter import config, store
from mailrouter.config import ImapAccount, Settings, Smtp
from mailrouter.doors.run import Doors
from mailrouter.tables import Mail
from tests.servers.dovecot import PASSWORD, Dovecot, dovecot

MAILS = 2_000
USER = "bench"

_MBSYNC = """
FSync yes

IMAPAccount box
Host 127.0.0.1
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account box

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Sync Pull
Create Near
SyncState *
"""


def measure(rounds: int, folder: Path) -> Iterator[Row]:
    """One row: both programs take turns within each round."""
    with dovecot(folder / "dovecot") as server:
        server.deliver(USER, generated(MAILS))
        rates = [(mbsync(server, folder / f"mbsync-{n}"), ours(server, folder / f"ours-{n}")) for n in range(rounds)]
    yield Row(f"durable pull by IMAP, {MAILS} mails, 3-50 KiB", "mbsync", rates, 4.0, 8.0)


def mbsync(server: Dovecot, folder: Path) -> float:
    """Mails a second that mbsync fetches and syncs to disk."""
    folder.mkdir()
    settings = folder / "mbsyncrc"
    settings.write_text(_MBSYNC.format(port=server.imap, user=USER, password=PASSWORD, folder=folder))
    started = time.perf_counter()
    subprocess.run(["mbsync", "--quiet", "--config", str(settings), "all"], check=True, timeout=600)
    taken = time.perf_counter() - started
    found = sum(1 for place in ("new", "cur") for _ in (folder / "INBOX" / place).iterdir())
    if found != MAILS:
        raise RuntimeError(f"mbsync fetched {found} of {MAILS} mails")
    return MAILS / taken


def ours(server: Dovecot, folder: Path) -> float:
    """Mails a second that our watcher fetches and registers."""
    folder.mkdir()
    opened = store.connect(config.Store(url=f"sqlite:///{folder}/mailrouter.db"))
    store.migrate(opened)
    account = ImapAccount(
        name=USER,
        host="127.0.0.1",
        port=server.imap,
        tls="none",
        user=USER,
        password=PASSWORD,
    )
    doors = Doors(opened, Settings(imap=[account], smtp=Smtp(listen="")))
    started = time.perf_counter()
    doors.start()
    while doors.status()["imap"][f"{USER}/INBOX"]["taken"] < MAILS:
        time.sleep(0.01)
    taken = time.perf_counter() - started
    doors.close()
    with opened.read() as session:
        registered = session.exec(select(func.count()).select_from(Mail)).one()
    opened.dispose()
    if registered != MAILS:
        raise RuntimeError(f"{registered} of {MAILS} mails are registered")
    return MAILS / taken
