"""Who asks the API: a token, its scopes, and how often."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mailrouter.desk.api import clients
from mailrouter.desk.api.clients import Client, Scope
from mailrouter.desk.api.problems import NotAllowedError, TooManyError, UnauthorizedError
from mailrouter.desk.context import AtDesk

_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token from `mailrouter client add`.")
_MINUTE = timedelta(minutes=1)


class Pace:
    """How many requests each client has made in this minute, at this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: dict[int, tuple[datetime, int]] = {}
        self._lock = threading.Lock()

    def step(self, client_id: int, now: datetime) -> int:
        """Count a request; the seconds to wait when there were too many, else zero."""
        with self._lock:
            since, made = self._made.get(client_id, (now, 0))
            if now - since >= _MINUTE:
                since, made = now, 0
            self._made[client_id] = since, made + 1
        return 0 if made < self._most else max(1, round((since + _MINUTE - now).total_seconds()))


def _client(
    request: Request, desk: AtDesk, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Client:
    """Whose token came along. Raises UnauthorizedError and TooManyError."""
    now = desk.clock()
    with desk.store.read() as session:
        found = clients.find(session, sent.credentials) if sent else None
    if found is None:
        raise UnauthorizedError
    client, last_used = found
    pace: Pace = request.app.state.pace
    if wait := pace.step(client.client_id, now):
        raise TooManyError(wait)
    if last_used is None or now - last_used >= clients.USED_EVERY:
        with desk.store.write() as session:
            clients.note_use(session, client, now)
    return client


def _with(scope: Scope) -> Callable[[Client], Client]:
    def allowed(client: Annotated[Client, Depends(_client)]) -> Client:
        if scope not in client.scopes:
            raise NotAllowedError(f"the token does not have the scope {scope.value}")
        return client

    return allowed


Reader = Annotated[Client, Depends(_with(Scope.READ))]
Sorter = Annotated[Client, Depends(_with(Scope.SORT))]
Settler = Annotated[Client, Depends(_with(Scope.SETTLE))]
