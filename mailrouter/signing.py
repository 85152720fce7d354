"""Signatures of the links we send out: who holds such a link may do one thing with one case, without a login.

The keys are the lines of ``city.link_key_file``; without that file a key is made once and kept in the
database, so that every node signs alike and a restored backup still knows the links that are out there.
The first key signs and all of them verify: to change keys, put a new line on top and take the old one
away when its links have lost their use.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

from sqlmodel import Session, col, select

from mailrouter.config import City
from mailrouter.tables import LinkKey

Keys = tuple[bytes, ...]

_KEY_OCTETS = 32
_SIGNATURE_OCTETS = 16  # 128 bits: not to be guessed, and the link stays on one line


def keys(session: Session, settings: City) -> Keys:
    """The keys, the one that signs first; none before ``make_key`` was called."""
    if settings.link_keys:
        return settings.link_keys
    stored = session.exec(select(LinkKey).order_by(col(LinkKey.id).desc())).all()
    return tuple(bytes.fromhex(key.secret) for key in stored)


def make_key(session: Session, settings: City, now: datetime) -> Keys:
    """The keys; when there is none, one is made, in the transaction of ``store.write()``.

    Two nodes that start at the same moment may make one each, which does no harm: both verify.
    """
    known = keys(session, settings)
    if known:
        return known
    secret = secrets.token_bytes(_KEY_OCTETS)
    session.add(LinkKey(secret=secret.hex(), created_at=now))
    session.flush()
    return (secret,)


def sign(keys: Keys, purpose: str, value: str) -> str:
    """The signature of ``value`` for ``purpose``: 26 small letters and digits, fit for the end of a link.

    A signature for one purpose is none for another. Raises ValueError when there is no key.
    """
    if not keys:
        raise ValueError("there is no key to sign with")
    return _signature(keys[0], purpose, value)


def verify(keys: Keys, purpose: str, value: str, signature: str) -> bool:
    """True when one of the keys signed ``value`` for ``purpose``; takes as long for a wrong one as for a right one."""
    given = signature.encode(errors="replace")
    matches = [hmac.compare_digest(_signature(key, purpose, value).encode(), given) for key in keys]
    return any(matches)


def _signature(key: bytes, purpose: str, value: str) -> str:
    mac = hmac.digest(key, f"{purpose}\0{value}".encode(), hashlib.sha256)
    return base64.b32encode(mac[:_SIGNATURE_OCTETS]).decode().rstrip("=").lower()
