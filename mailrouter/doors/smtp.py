"""The SMTP and LMTP door: listening sockets, one event loop in a thread of its own, an orderly end."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from mailrouter.config import Settings
from mailrouter.doors.bell import Bell
from mailrouter.doors.intake import Intake
from mailrouter.doors.listen import bind, server_tls
from mailrouter.doors.recipients import Recipients
from mailrouter.doors.session import GOODBYE, LmtpSession, Refusal, Session, Shared

log = logging.getLogger(__name__)


class SmtpDoor:
    """Takes mail by SMTP and LMTP where ``settings.smtp`` says, and hands it to ``intake``.

    ``limits`` overrides the timeouts and sizes of ``session.Shared`` by name.
    Raises ConfigError when the certificate cannot be used, and from ``start`` when a port is taken.
    """

    def __init__(self, intake: Intake, settings: Settings, **limits: Any) -> None:
        smtp = settings.smtp
        self._listen = {"smtp": smtp.listen, "lmtp": smtp.lmtp_listen}
        self._sockets: dict[str, socket.socket] = {}
        self._shared = Shared(
            intake=intake,
            bell=Bell(),
            recipients=Recipients(settings),
            hostname=smtp.hostname,
            max_bytes=smtp.max_bytes,
            max_recipients=smtp.max_recipients,
            max_connections=smtp.max_connections,
            tls=server_tls(smtp),
            **limits,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._grace = 0.0

    def start(self) -> None:
        """Listen. When it returns, connections are taken."""
        try:
            for name, listen in self._listen.items():
                if listen:
                    setting = "smtp.listen" if name == "smtp" else "smtp.lmtp_listen"
                    self._sockets[name] = bind(setting, listen)
        except Exception:
            self._close_sockets()
            raise
        if not self._sockets:
            return
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="smtp", daemon=True)
        self._thread.start()
        ready.wait()

    def alive(self) -> bool:
        """False when the door should be open and its thread has died."""
        return self._thread is None or self._thread.is_alive()

    def close(self, grace_seconds: float = 10.0) -> None:
        """Take no new connection, finish the mails that are under way within the grace, then end."""
        if self._thread is None:
            return
        self._grace = grace_seconds
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    def address(self, name: str) -> Any:
        """Where ``smtp`` or ``lmtp`` listens, as the socket says it: (host, port, ...) or a path."""
        return self._sockets[name].getsockname()

    def status(self) -> dict[str, Any]:
        """For the heartbeat: what is open, and counts since the start."""
        shared = self._shared
        return {
            "listening": {name: listen for name, listen in self._listen.items() if listen},
            "connections": len(shared.sessions),
            "taken": shared.taken,
            "deferred": shared.deferred,
            "waiting": shared.waiting,
            "held_octets": shared.held,
        }

    def _run(self, ready: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready))
        finally:
            self._close_sockets()
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._shared.bell.hang()
        self._shared.intake.tell(self._shared.bell.ring)
        servers = []
        for name, listening in self._sockets.items():
            kind = Session if name == "smtp" else LmtpSession
            if listening.family == socket.AF_UNIX:
                servers.append(await self._loop.create_unix_server(self._greeter(kind), sock=listening))
            else:
                servers.append(await self._loop.create_server(self._greeter(kind), sock=listening))
        ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        await self._let_go()

    def _greeter(self, kind: type[Session]) -> Callable[[], asyncio.Protocol]:
        def greet() -> asyncio.Protocol:
            if self._shared.closing or len(self._shared.sessions) >= self._shared.max_connections:
                return Refusal()
            return kind(self._shared, self._loop)

        return greet

    async def _let_go(self) -> None:
        """Send idle clients away at once, the others when their mail is settled or the grace is over."""
        shared = self._shared
        shared.closing = True
        for session in [*shared.sessions]:
            if not session.in_data:
                session.dismiss(GOODBYE)
        end = self._loop.time() + self._grace
        while shared.sessions and self._loop.time() < end:
            await asyncio.sleep(0.02)
        for session in [*shared.sessions]:
            session.dismiss(GOODBYE)
        await asyncio.sleep(0)

    def _close_sockets(self) -> None:
        for name, opened in self._sockets.items():
            opened.close()
            if opened.family == socket.AF_UNIX:
                Path(self._listen[name]).unlink(missing_ok=True)
