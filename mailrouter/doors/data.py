"""The octets of one DATA command: found, counted and unstuffed without looking at single lines."""

_END = b"\r\n.\r\n"  # RFC 5321 4.1.1.4: this and nothing else ends a mail
TOO_LARGE = "552 5.3.4 The mail is larger than this server takes"


class DataCollector:
    """Gathers what follows DATA, up to the end mark (RFC 5321 4.1.1.4), within ``limit`` octets (RFC 1870).

    Only CR LF . CR LF ends a mail. A bare LF or CR is content, before or after a dot too: what another
    server takes for an end of data cannot smuggle a second mail through this door, and no octet is
    altered. Lines may be of any length; NULs are octets like others.

    ``refusal`` is the reply that says why the mail is not kept, empty while it is.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hard_limit = limit + limit // 2  # dots that were stuffed do not count, at most one in three octets
        self._buffer = bytearray(b"\r\n")  # so that a dot on the first line stands after a line end too
        self._searched = 0
        self.refusal = ""

    @property
    def held(self) -> int:
        """Octets in memory now."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take the next octets from the wire; return what follows the end mark, or None before it is seen."""
        self._buffer += chunk
        end = self._buffer.find(_END, self._searched)
        if end >= 0:
            rest = bytes(self._buffer[end + len(_END) :])
            del self._buffer[end + 2 :]
            return rest
        if len(self._buffer) > self._hard_limit:
            self.discard(TOO_LARGE)
        self._searched = max(0, len(self._buffer) - len(_END) + 1)
        return None

    def discard(self, refusal: str) -> None:
        """Keep no more than is needed to see the end mark: this mail will be refused."""
        self.refusal = self.refusal or refusal
        del self._buffer[: -len(_END) + 1]
        self._searched = 0

    def octets(self) -> bytes:
        """The mail as its sender wrote it, once ``feed`` has seen its end; ``refusal`` is then final."""
        if b"\r\n." in self._buffer:
            self._buffer = self._buffer.replace(b"\r\n.", b"\r\n")  # RFC 5321 4.5.2
        if len(self._buffer) - 2 > self._limit:
            self.discard(TOO_LARGE)
        return bytes(memoryview(self._buffer)[2:])
