"""An IMAP server that behaves as no good one does: it says what a test tells it to."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[int], bytes | None]


def given(octets: bytes, *, size: int | None = None, date: str = '"02-Mar-2026 09:30:15 +0000"') -> bytes:
    """The items of a FETCH response: ``size`` is what RFC822.SIZE claims."""
    claimed = len(octets) if size is None else size
    return b"RFC822.SIZE %d INTERNALDATE %s BODY[] {%d}\r\n%s" % (claimed, date.encode(), len(octets), octets)


@dataclass
class OddImap:
    """Serves one folder. ``mails`` gives what FETCH says of a UID the n-th time it is asked: None says nothing."""

    mails: dict[int, Answer]
    refused: set[int] = field(default_factory=set)  # a FETCH of one of these is answered NO
    uidvalidity: str = "OK [UIDVALIDITY 7] fine"
    arriving: dict[int, Answer] = field(default_factory=dict)  # come in at the moment that ``when`` names
    when: str = ""  # "IDLE", or "SEARCH 2": announced with its answer and never again
    searches: int = 0
    fetches: list[list[int]] = field(default_factory=list)
    port: int = 0

    def serve(self, client: socket.socket) -> None:
        """Talk to one client until it leaves."""
        with client, client.makefile("rb") as lines, suppress(OSError):
            client.sendall(b"* PREAUTH odd\r\n")
            for line in lines:
                tag, command, rest = (line.decode().strip() + "  ").split(" ", 2)
                if command.upper() == "IDLE":
                    client.sendall(b"+ idling\r\n" + self._come("IDLE"))
                    lines.readline()
                client.sendall(self._answer(command.upper(), rest.strip()) + tag.encode() + self._end(command, rest))

    def _come(self, moment: str) -> bytes:
        """The announcement of what comes in at ``moment``, if anything does."""
        if moment != self.when:
            return b""
        self.when = ""
        self.mails |= self.arriving
        return b"* %d EXISTS\r\n" % len(self.mails)

    def _answer(self, command: str, rest: str) -> bytes:
        if command == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1 IDLE\r\n"
        if command == "EXAMINE":
            return f"* {len(self.mails)} EXISTS\r\n* {self.uidvalidity}\r\n".encode()
        if rest.startswith("SEARCH"):
            self.searches += 1
            found = b"* SEARCH " + b" ".join(b"%d" % uid for uid in self.mails) + b"\r\n"
            return found + self._come(f"SEARCH {self.searches}")
        if "BODY.PEEK[]" in rest:
            asked = self._uids(rest)
            self.fetches.append(asked)
            return b"" if self.refused & {*asked} else b"".join(self._mail(uid) for uid in asked)
        if "RFC822.SIZE" in rest:
            return b"".join(b"* %d FETCH (UID %d RFC822.SIZE 100)\r\n" % (uid, uid) for uid in self._uids(rest))
        return b""

    def _mail(self, uid: int) -> bytes:
        times = sum(uid in asked for asked in self.fetches)
        items = self.mails[uid](times)
        return b"" if items is None else b"* %d FETCH (UID %d %s)\r\n" % (uid, uid, items)

    def _end(self, command: str, rest: str) -> bytes:
        refused = "BODY.PEEK[]" in rest and self.refused & {*self._uids(rest)}
        return b" NO this one cannot be converted\r\n" if refused else f" OK {command} done\r\n".encode()

    @staticmethod
    def _uids(rest: str) -> list[int]:
        found = re.match(r"FETCH ([\d,]+) ", rest)
        assert found
        return [int(uid) for uid in found[1].split(",")]


@contextmanager
def odd_imap(server: OddImap) -> Iterator[OddImap]:
    """``server`` on a free port while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=server.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
