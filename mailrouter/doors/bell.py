"""How an event loop waits for the intake: woken once for all mails of a commit, not once for each."""

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


class Bell:
    """``hang`` and ``wait`` are for the loop's thread, ``ring`` for any."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[Future[Any], asyncio.Future[None]] = {}

    def hang(self) -> None:
        """Ring in the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Have the loop look which futures are done."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, future: Future[Result]) -> Result:
        """The result of ``future``, or its exception; it must be done before the bell rings."""
        if not future.done():
            waiter = self._waiting[future] = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                self._waiting.pop(future, None)
        return future.result()

    def _wake(self) -> None:
        for future in [future for future in self._waiting if future.done()]:
            waiter = self._waiting.pop(future)
            if not waiter.done():
                waiter.set_result(None)
