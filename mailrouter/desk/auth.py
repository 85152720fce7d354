"""Who may come in: users with argon2 hashes, logins of which only the cookie's hash is kept, a limit on guessing."""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mailrouter.store import Store
from mailrouter.tables import Login, LoginTry, Restriction, Role, User

SHORTEST_PASSWORD = 8  # NIST SP 800-63B 3.1.1.2
LONGEST_PASSWORD = 1024  # more would only be work for argon2
LONGEST_NAME = 80

# OWASP's setting for argon2id on one core: a login costs a guesser this much, and many logins at once not our memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _HASHER.hash(secrets.token_hex())  # verified for unknown names, so that time tells nothing


class AccountError(ValueError):
    """The account cannot be made; the message is the sentence a person reads."""


class Act(StrEnum):
    """What a page may ask leave for."""

    SORT = "sort"  # confirm, close, release, reopen
    SETTLE = "settle"  # diarienummer, answered, fel förvaltning
    OVERSEE = "oversee"  # managers' figures
    ADMINISTER = "administer"  # users, and what the installation rests on


MAY: dict[Role, frozenset[Act]] = {
    Role.SERVICEVAGLEDARE: frozenset({Act.SORT, Act.SETTLE}),
    Role.REGISTRATOR: frozenset({Act.SETTLE}),
    Role.CHEF: frozenset({Act.OVERSEE}),
    Role.ADMIN: frozenset(Act),
}


class Viewer(Protocol):
    """Whoever looks, a person or a program: what decides which cases there are for them."""

    @property
    def only_unit(self) -> str | None:
        """The one unit whose cases may be seen, or None for all."""

    @property
    def clearances(self) -> Collection[str]:
        """The Restrictions whose cases may be seen."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in. ``unit`` limits a registrator, or a manager who has one, to that unit's cases."""

    user_id: int
    name: str
    role: Role
    unit: str
    csrf: str
    clearances: Collection[str] = ()

    def may(self, act: Act) -> bool:
        """True when the role allows it."""
        return act in MAY[self.role]

    @property
    def only_unit(self) -> str | None:
        """The one unit whose cases may be seen, or None for all: each nämnd is its own authority (OSL 8:1)."""
        limited = self.role is Role.REGISTRATOR or (self.role is Role.CHEF and self.unit)
        return self.unit if limited else None


def create_user(
    session: Session,
    name: str,
    password: str | None,
    role: Role,
    now: datetime,
    *,
    unit: str = "",
    clearances: Collection[str] = (),
    subject: str = "",
) -> User:
    """Add somebody who may log in: with a password, or without one as ``subject`` of the OpenID provider.

    Names are kept in lower case. Raises AccountError.
    """
    wanted = _plain(name)
    if not wanted or len(wanted) > LONGEST_NAME or not wanted.isprintable():
        raise AccountError(f"a user name is 1 to {LONGEST_NAME} printable characters")
    if session.exec(select(User).where(User.name == wanted)).first() is not None:
        raise AccountError(f"there is a user {wanted} already")
    kept = "" if password is None else hash_password(password)
    user = User(name=wanted, password_hash=kept, role=role, subject=subject, created_at=now)
    allow(user, role=role, unit=unit, clearances=clearances)
    session.add(user)
    session.flush()
    return user


def find_user(session: Session, name: str) -> User:
    """The user with that name, to be changed. Raises AccountError."""
    found = session.exec(select(User).where(User.name == _plain(name)).with_for_update()).first()
    if found is None:
        raise AccountError(f"there is no user {_plain(name)}")
    return found


def allow(user: User, *, role: Role, unit: str, clearances: Collection[str]) -> None:
    """Say what a user may do and see. Raises AccountError."""
    if role is Role.REGISTRATOR and not unit:
        raise AccountError("a registrator needs the unit whose cases may be seen")
    unknown = set(clearances) - set(Restriction)
    if unknown:
        raise AccountError(f"there is no clearance {', '.join(sorted(unknown))}; choose among {', '.join(Restriction)}")
    user.role, user.unit, user.clearances = role, unit, sorted(clearances)


def change_password(session: Session, user: User, password: str) -> None:
    """Give a user another password; logins that are open end. Raises AccountError."""
    user.password_hash = hash_password(password)
    end_logins(session, user)


def set_active(session: Session, user: User, *, active: bool) -> None:
    """Let a user in again, or keep the user out; what the user did stays in the history."""
    user.active = active
    if not active:
        end_logins(session, user)


def end_logins(session: Session, user: User) -> None:
    """End every login of a user, wherever it is open."""
    session.execute(delete(Login).where(col(Login.user_id) == user.id))


def hash_password(password: str) -> str:
    """What is kept of a password. Raises AccountError when it is too short or absurdly long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return _HASHER.hash(password)


def check_password(session: Session, name: str, password: str) -> User | None:
    """The active user with that name and password, or None. Takes the same time for names that do not exist."""
    user = session.exec(select(User).where(User.name == _plain(name), col(User.active).is_(True))).first()
    known = (user.password_hash if user else "") or _NOBODY
    try:
        _HASHER.verify(known, password[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return None
    return user


def _plain(name: str) -> str:
    return name.strip().casefold()


def new_token() -> str:
    """256 bits for a cookie or a form."""
    return secrets.token_urlsafe(32)


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time; an empty one is equal to nothing."""
    return bool(left) and hmac.compare_digest(left.encode(), right.encode())


def open_login(session: Session, user: User, *, now: datetime, hours: int) -> str:
    """Begin a login and give the cookie's value; logins that have ended are swept away."""
    session.execute(delete(Login).where(col(Login.expires_at) <= now))
    token = new_token()
    session.add(
        Login(
            token_hash=_hash(token),
            user_id=user.id,
            csrf=new_token(),
            created_at=now,
            expires_at=now + timedelta(hours=hours),
        )
    )
    session.flush()
    return token


def find_login(session: Session, token: str, now: datetime) -> Visitor | None:
    """Whose cookie this is, or None when the login has ended or the account is closed."""
    if not token:
        return None
    statement = (
        select(Login, User)
        .join(User, col(User.id) == Login.user_id)
        .where(Login.token_hash == _hash(token), col(Login.expires_at) > now, col(User.active).is_(True))
    )
    found = session.exec(statement).first()
    if found is None:
        return None
    login, user = found
    return Visitor(user.id, user.name, user.role, user.unit, login.csrf, tuple(user.clearances))


def close_login(session: Session, token: str) -> None:
    """End a login."""
    session.execute(delete(Login).where(col(Login.token_hash) == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


TRIES_FOR_NAME = 5
TRIES_FOR_ADDRESS = 50  # a whole office may share one
TRIES_WINDOW = timedelta(minutes=15)


def count_try(store: Store, name: str, address: str, now: datetime) -> timedelta:
    """Count a try before a secret is looked at; how long to wait when there were too many, else zero.

    Few for a name from an address, more for an address as a whole; counted together for all nodes. Whoever has
    to wait costs no writing.
    """
    limits = {_key(name, address): TRIES_FOR_NAME, _key("", address): TRIES_FOR_ADDRESS}
    with store.read() as session:
        known = session.exec(select(LoginTry).where(col(LoginTry.key).in_(limits))).all()
    if wait := max((_wait(row, limits[row.key], now) for row in known), default=timedelta()):
        return wait
    with store.write() as session:
        session.execute(delete(LoginTry).where(col(LoginTry.since) <= now - TRIES_WINDOW))
        rows = [_tries(session, key, now) for key in limits]
        wait = max(_wait(row, limits[row.key], now) for row in rows)
        for row in rows:
            row.tries += not wait
    return wait


def _wait(row: LoginTry, most: int, now: datetime) -> timedelta:
    return max(row.since + TRIES_WINDOW - now, timedelta()) if row.tries >= most else timedelta()


def forget_tries(session: Session, name: str, address: str) -> None:
    """A right password clears the name's tries, and its own one for the address."""
    session.execute(delete(LoginTry).where(col(LoginTry.key) == _key(name, address)))
    shared = session.get(LoginTry, _key("", address), with_for_update=True)
    if shared is not None and shared.tries:
        shared.tries -= 1


def _tries(session: Session, key: str, now: datetime) -> LoginTry:
    """The row of a key, locked."""
    row = session.get(LoginTry, key, with_for_update=True)
    if row is None:
        with suppress(IntegrityError), session.begin_nested():  # somebody else may try just now
            session.add(LoginTry(key=key, since=now, tries=0))
            session.flush()
        row = session.get_one(LoginTry, key, with_for_update=True)
    return row


def _key(name: str, address: str) -> str:
    """A name may be a password in the wrong field: it is never kept as typed."""
    return _hash(f"{_plain(name)}\0{address}")
