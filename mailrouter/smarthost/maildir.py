"""The smarthost that is built in."""

import os
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from mailrouter.smarthost.outcomes import Fence, Later, Outcome, Sent

CHANNEL = "lokal brevlåda"


class MaildirSmarthost:
    """The smarthost that is built in: each recipient is a Maildir on this machine, and nothing ever leaves it."""

    def __init__(self, root: Path, domains: Iterable[str]) -> None:
        self._root = root
        self._fence = Fence(domains)

    def send(
        self,
        envelope_sender: str,  # noqa: ARG002 (the protocol's)
        recipient: str,
        octets: bytes,
        *,
        outside: bool = False,
        secure: bool = False,  # noqa: ARG002 (a file on this machine is)
        envelope_id: str = "",  # noqa: ARG002
        confirm: bool = False,  # noqa: ARG002
    ) -> Outcome:
        """Deliver durably into ``root/RECIPIENT/new``."""
        objection = self._fence.objection(recipient, outside=outside)
        if objection:
            return objection
        try:
            name = _deliver(self._root / recipient.lower(), octets)
        except OSError as error:
            return Later(f"Den lokala brevlådan gick inte att skriva i: {error.strerror}")
        return Sent(f"250 2.0.0 delivered as {name}", CHANNEL)

    def close(self) -> None:
        """Nothing is held open."""


def _deliver(maildir: Path, octets: bytes) -> str:
    """Write into tmp, rename into new: a reader never meets half a mail, a power cut never takes a whole one."""
    if not (maildir / "cur").is_dir():
        for folder in ("tmp", "new", "cur"):
            (maildir / folder).mkdir(parents=True, exist_ok=True)
        _sync_folder(maildir)
        _sync_folder(maildir.parent)
    host = socket.gethostname().replace("/", r"\057").replace(":", r"\072")
    name = f"{time.time_ns() // 1_000_000_000}.{secrets.token_hex(10)}.{host}"
    unfinished = maildir / "tmp" / name
    try:
        with unfinished.open("xb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(maildir / "new" / name)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(maildir / "new")
    return name


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
