"""Where old mail lies: mbox, Maildir, a folder of .eml files, or an IMAP folder. Each is read as a stream."""

import imaplib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imapclient.exceptions import IMAPClientError

from mailrouter.config import ImapAccount, Settings
from mailrouter.doors.folder import Folder, FolderError, RefusedError, client_tls

IMAP = "imap:"
_SEPARATOR = re.compile(rb"From .*\d\d:\d\d.*\d{4}\s*$")  # RFC 4155: address and a time as asctime writes it
_LINE = 1 << 16
_IMAP_OCTETS = 4 * 1024 * 1024  # asked for at once
_IMAP_MAILS = 50
_TRIES = 4  # connections in a row that may break before a mail came


class ReplayError(Exception):
    """The mails or the true answers cannot be read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One mail of a source: its octets, or the file and the part of it that they are."""

    place: str  # how a person finds it again: a file name, a number in the mbox, a UID
    number: int  # its position in the source, from 1
    steps: int  # how much of the source's ``total`` it is
    octets: bytes | None = field(default=None, repr=False)
    file: str = ""
    start: int = 0
    size: int = 0
    fault: str = ""  # why there are no octets

    def read(self) -> bytes:
        """The mail. Raises OSError when the file is no longer what it was."""
        if self.octets is not None:
            return self.octets
        with Path(self.file).open("rb") as opened:
            opened.seek(self.start)
            return opened.read(self.size)


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be read. ``total`` counts in the steps of the pieces, for a progress bar."""

    kind: str
    name: str
    total: int
    pieces: Callable[[], Iterator[Piece]]


@contextmanager
def opened(where: str, settings: Settings) -> Iterator[Source]:
    """The mails at ``where``: a path, or ``imap:ACCOUNT/FOLDER`` of the configuration. Raises ReplayError."""
    if where.startswith(IMAP):
        with _imap(where.removeprefix(IMAP), settings) as source:
            yield source
        return
    path = Path(where)
    if path.is_dir():
        yield _maildir(path) if (path / "cur").is_dir() or (path / "new").is_dir() else _folder(path)
    elif path.is_file():
        yield _file(path)
    else:
        raise ReplayError(f"there is no file or folder {where}; an IMAP folder is written imap:ACCOUNT/FOLDER")


def _file(path: Path) -> Source:
    with path.open("rb") as opened_file:
        first = opened_file.readline(_LINE)
    size = path.stat().st_size
    if first.startswith(b"From "):
        return Source("mbox", path.name, size, lambda: _mbox(path))
    return Source("eml", path.name, 1, lambda: iter([Piece(path.name, 1, 1, file=str(path), size=size)]))


def _mbox(path: Path) -> Iterator[Piece]:
    number, start, begins, position = 0, 0, 0, 0
    blank = True
    with path.open("rb") as lines:
        while line := lines.readline(_LINE):
            if blank and line.startswith(b"From ") and _SEPARATOR.match(line):
                if number:
                    yield _part(path, number, begins, start, position)
                number += 1
                begins, start = position, position + len(line)
            blank = not line.strip(b"\r\n")
            position += len(line)
    if number:
        yield _part(path, number, begins, start, position)


def _part(path: Path, number: int, begins: int, start: int, end: int) -> Piece:
    return Piece(f"nr {number}", number, end - begins, file=str(path), start=start, size=end - start)


def _maildir(path: Path) -> Source:
    files = sorted(
        (entry.name.partition(":")[0], entry.path)
        for folder in ("cur", "new")
        if (path / folder).is_dir()
        for entry in os.scandir(path / folder)
        if entry.is_file()
    )
    return Source("Maildir", path.name, len(files), lambda: _files(files))


def _folder(path: Path) -> Source:
    files = sorted(
        (os.path.relpath(os.path.join(folder, name), path), os.path.join(folder, name))  # noqa: PTH118 (a hundred thousand)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(".eml")
    )
    if not files:
        raise ReplayError(f"the folder {path} is no Maildir and holds no .eml files")
    return Source("eml", path.name, len(files), lambda: _files(files))


def _files(files: list[tuple[str, str]]) -> Iterator[Piece]:
    for number, (name, file) in enumerate(files, start=1):
        try:
            yield Piece(name, number, 1, file=file, size=Path(file).stat().st_size)
        except OSError as error:  # moved or removed meanwhile
            yield Piece(name, number, 1, fault=f"filen gick inte att läsa: {error.strerror}")


@contextmanager
def _imap(where: str, settings: Settings) -> Iterator[Source]:
    name, _, folder = where.partition("/")
    account = next((account for account in settings.imap if account.name == name), None)
    if account is None:
        known = ", ".join(account.name for account in settings.imap) or "none"
        raise ReplayError(f'there is no IMAP account "{name}" in the configuration (there is: {known})')
    reader = _Reader(account, folder or "INBOX")
    try:
        try:
            uids = reader.uids()
        except (OSError, imaplib.IMAP4.error, IMAPClientError, FolderError) as error:
            raise ReplayError(f"{where}: {error}") from error
        yield Source("IMAP", where, len(uids), lambda: reader.pieces(uids))
    finally:
        reader.close()


class _Reader:
    """Reads a folder without a trace: EXAMINE, and BODY.PEEK. A broken connection is made anew."""

    def __init__(self, account: ImapAccount, folder: str) -> None:
        self._account = account.model_copy(update={"move_to": ""})  # nothing is moved: so it is opened for reading only
        self._name = folder
        self._folder: Folder | None = None
        self._uidvalidity = 0

    def uids(self) -> list[int]:
        return self._open().uids(1)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def pieces(self, uids: list[int]) -> Iterator[Piece]:
        """The mails in order. Raises ReplayError when the server is gone for good."""
        waiting, number, failures = list(reversed(uids)), 0, 0
        while waiting:
            try:
                found = self._next(waiting[: -_IMAP_MAILS - 1 : -1])
            except (OSError, imaplib.IMAP4.error, IMAPClientError) as error:
                failures += 1
                self.close()
                if failures == _TRIES:
                    raise ReplayError(f"{self._account.name}/{self._name}: the server is gone: {error}") from error
                continue
            failures = 0
            for uid, octets in found:
                waiting.pop()
                number += 1
                fault = "" if octets is not None else "servern lämnade inte ut mejlet"
                yield Piece(f"UID {uid}", number, 1, octets=octets, fault=fault)

    def _next(self, uids: list[int]) -> list[tuple[int, bytes | None]]:
        """As many of the first mails as are asked for at once; None for those that the server does not give."""
        folder = self._open()
        sizes = folder.sizes(uids)
        chosen, octets = uids[:1], sizes.get(uids[0], 0)
        for uid in uids[1:]:
            octets += sizes.get(uid, 0)
            if octets > _IMAP_OCTETS:
                break
            chosen.append(uid)
        try:
            fetched = folder.fetch(chosen)
        except RefusedError:
            if len(chosen) == 1:
                return [(chosen[0], None)]
            return self._next(chosen[:1])
        return [(uid, fetched[uid].octets if uid in fetched else None) for uid in chosen]

    def _open(self) -> Folder:
        if self._folder is None:
            folder = Folder(self._account, self._name, client_tls(self._account))
            self._folder = folder
            folder.open()
            if self._uidvalidity not in {0, folder.uidvalidity}:
                raise ReplayError(f"{self._account.name}/{self._name} was made anew meanwhile (UIDVALIDITY differs)")
            self._uidvalidity = folder.uidvalidity
        return self._folder
