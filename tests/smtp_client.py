"""An SMTP client that says exactly what it is told, for what no library would say."""

import socket
import ssl
from contextlib import suppress
from typing import Self

RECIPIENT = "goteborg@stad.example"


class RawSmtp:
    """A connection that has read the greeting."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(30)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        self.greeting = self.reply()

    def send(self, octets: bytes) -> None:
        """Put octets on the wire as they are."""
        self.socket.sendall(octets)

    def reply(self) -> str:
        """The next reply, its lines joined by a space; empty when the server has closed."""
        lines = []
        with suppress(ConnectionError):
            while line := self._file.readline().decode().rstrip("\r\n"):
                lines.append(line)
                if line[3:4] != "-":
                    break
        return " ".join(lines)

    def ask(self, command: str) -> str:
        """Send a command, read its reply."""
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def envelope(self, *recipients: str, sender: str = "anna@post.example", hello: str = "EHLO") -> None:
        """Everything up to the point where the mail itself is expected."""
        assert self.ask(f"{hello} client.example").startswith("250")
        self.transaction(*recipients, sender=sender)

    def transaction(self, *recipients: str, sender: str = "anna@post.example") -> None:
        """A further mail in the same session, up to its octets."""
        assert self.ask(f"MAIL FROM:<{sender}>").startswith("250")
        for recipient in recipients or (RECIPIENT,):
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.ask("DATA").startswith("354")

    def starttls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS after the server has said 220."""
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._file = self.socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wire(octets: bytes) -> bytes:
    """A mail as it goes over the wire: dots doubled, end mark behind (RFC 5321 4.5.2). It must end in CR LF."""
    assert octets.endswith(b"\r\n") or not octets
    return (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
