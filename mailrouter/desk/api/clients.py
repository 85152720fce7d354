"""Programs that may use the API: a token of which only the hash is kept, and what it allows."""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlmodel import Session, col, select

from mailrouter.desk.auth import AccountError
from mailrouter.tables import ApiClient, Restriction

PREFIX = "mr_"  # so that a token that leaks into a file is found by those who look for such
USED_EVERY = timedelta(minutes=1)  # how exactly the last use is kept
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_CLEARED_FOR = "clearance:"


class Scope(StrEnum):
    """What a client may do."""

    READ = "read"  # list and read
    SORT = "sort"  # confirm, close, release, reopen, note
    SETTLE = "settle"  # diarienummer, answered, fel förvaltning


@dataclass(frozen=True, slots=True)
class Client:
    """A program that asks. ``unit`` limits it to the cases that the unit has or had."""

    client_id: int
    name: str
    scopes: Collection[str]
    unit: str
    clearances: Collection[str]

    @property
    def actor(self) -> str:
        """Its name in the history of a case."""
        return f"api:{self.name}"

    @property
    def only_unit(self) -> str | None:
        """The one unit whose cases may be seen, or None for all."""
        return self.unit or None


def create(
    session: Session,
    name: str,
    scopes: Collection[str],
    now: datetime,
    *,
    unit: str = "",
    clearances: Collection[str] = (),
) -> str:
    """Add a client and give its token, which cannot be had again. Raises AccountError."""
    if not _NAME.fullmatch(name):
        raise AccountError("a client's name is 1 to 40 of a-z, 0-9, full stop and hyphen")
    if not scopes or not set(scopes) <= set(Scope):
        raise AccountError(f"choose scopes among {', '.join(Scope)}")
    if not set(clearances) <= set(Restriction):
        raise AccountError(f"choose clearances among {', '.join(Restriction)}")
    if unit and Scope.SORT in scopes:
        raise AccountError("only the contact centre sorts: a client with a unit cannot have the scope sort")
    if session.exec(select(ApiClient).where(ApiClient.name == name)).first() is not None:
        raise AccountError(f"there is a client {name} already")
    token = PREFIX + secrets.token_urlsafe(32)
    kept = [*sorted(scopes), *(_CLEARED_FOR + clearance for clearance in sorted(clearances))]
    session.add(ApiClient(name=name, token_hash=_hash(token), scopes=kept, unit=unit, created_at=now))
    session.flush()
    return token


def disable(session: Session, name: str) -> None:
    """Let a client in no more; what it did stays in the history. Raises AccountError."""
    found = session.exec(select(ApiClient).where(ApiClient.name == name).with_for_update()).first()
    if found is None:
        raise AccountError(f"there is no client {name}")
    found.active = False


def listed(session: Session) -> list[dict[str, object]]:
    """Every client without its token, by name."""
    rows = session.exec(select(ApiClient).order_by(col(ApiClient.name)))
    return [row.model_dump(exclude={"id", "token_hash"}) for row in rows]


def find(session: Session, token: str) -> tuple[Client, datetime | None] | None:
    """Whose token this is and when it was used last, or None."""
    row = session.exec(
        select(ApiClient).where(ApiClient.token_hash == _hash(token), col(ApiClient.active).is_(True))
    ).first()
    if row is None:
        return None
    cleared = [scope.removeprefix(_CLEARED_FOR) for scope in row.scopes if scope.startswith(_CLEARED_FOR)]
    allowed = [scope for scope in row.scopes if not scope.startswith(_CLEARED_FOR)]
    return Client(row.id, row.name, tuple(allowed), row.unit, tuple(cleared)), row.last_used_at


def note_use(session: Session, client: Client, now: datetime) -> None:
    """Remember when a client was here last."""
    session.get_one(ApiClient, client.client_id, with_for_update=True).last_used_at = now


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
