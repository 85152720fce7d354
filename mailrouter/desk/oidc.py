"""Logging in by the city's own accounts: OpenID Connect 1.0, code flow with PKCE, state and nonce.

The provider's description and keys are fetched when they are needed and kept for a while. What it says of a
user decides, at each login, what the user may do; an account from here has no password.
"""

import json
import logging
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlmodel import Session, select

from mailrouter.config import Oidc
from mailrouter.desk import auth
from mailrouter.desk.auth import AccountError
from mailrouter.tables import Role, User

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
LEEWAY_SECONDS = 60  # clocks differ
KEPT = timedelta(hours=1)
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # signed with a key of the provider's, never with a shared one
_BROADEST = (Role.ADMIN, Role.SERVICEVAGLEDARE, Role.REGISTRATOR, Role.CHEF)


class OidcError(Exception):
    """The login cannot be finished; the message is for the log and holds nothing of the user."""


class ProviderAwayError(OidcError):
    """The provider does not answer as one."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login under way, kept in a cookie of the browser that began it."""

    state: str
    nonce: str
    verifier: str
    wanted: str

    def written(self) -> str:
        """For the cookie."""
        return urlencode(asdict(self))

    @classmethod
    def read(cls, cookie: str) -> "Attempt | None":
        """What the cookie says, or None when it was not ours."""
        said = dict(parse_qsl(cookie, keep_blank_values=True))
        return cls(**said) if said.keys() == {"state", "nonce", "verifier", "wanted"} else None


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in, as the provider says."""

    subject: str
    name: str
    role: Role
    unit: str
    clearances: Sequence[str]


class Provider:
    """The OpenID provider of the settings."""

    def __init__(self, settings: Oidc, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._kept: tuple[datetime, dict[str, Any], KeySet] | None = None
        self._lock = threading.Lock()

    def begin(self, wanted: str, now: datetime) -> tuple[str, Attempt]:
        """Where to send the browser, and what to remember meanwhile. Raises ProviderAwayError."""
        about, _ = self._about(now)
        attempt = Attempt(auth.new_token(), auth.new_token(), secrets.token_urlsafe(48), wanted)
        address, _ = self._client().create_authorization_url(
            about["authorization_endpoint"],
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(address), attempt

    def finish(self, attempt: Attempt, answer: Mapping[str, str], now: datetime) -> Person:
        """Who came back from the provider. Raises OidcError."""
        if not auth.same(answer.get("state", ""), attempt.state):
            raise OidcError("state differs")
        if answer.get("error") or not answer.get("code"):
            raise OidcError("the provider refused")
        about, keys = self._about(now)
        if answer.get("iss", about["issuer"]) != about["issuer"]:
            raise OidcError("another issuer answered")  # RFC 9207 2.4
        token = self._id_token(about["token_endpoint"], answer["code"], attempt)
        return self._person(self._claims(token, keys, attempt.nonce, now))

    def _client(self) -> OAuth2Client:
        secret = self._settings.client_secret
        return OAuth2Client(
            client_id=self._settings.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            scope=" ".join(self._settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
        )

    def _id_token(self, endpoint: str, code: str, attempt: Attempt) -> str:
        try:
            with self._client() as client:
                answer = client.fetch_token(endpoint, code=code, code_verifier=attempt.verifier)
        except (AuthlibBaseError, httpx.HTTPError, json.JSONDecodeError) as error:
            raise OidcError(f"no token: {type(error).__name__}") from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("no id_token came along")
        return token

    def _claims(self, token: str, keys: KeySet, nonce: str, now: datetime) -> dict[str, Any]:
        """The claims of a token that is from the provider, for us, for this login (OpenID Connect Core 3.1.3.7)."""
        try:
            decoded = self._decode(token, keys, now)
            registry = jwt.JWTClaimsRegistry(
                now=int(now.timestamp()),
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise OidcError(f"the id_token is not valid: {type(error).__name__}") from error
        claims = decoded.claims
        if claims.get("azp", self._settings.client_id) != self._settings.client_id:
            raise OidcError("the id_token is for somebody else")
        return claims

    def _decode(self, token: str, keys: KeySet, now: datetime) -> jwt.Token:
        """With the keys we know, or with newer ones when the provider has changed them."""
        try:
            return jwt.decode(token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            self._kept = None
            _, newer = self._about(now)
            return jwt.decode(token, newer, algorithms=ALGORITHMS)

    def _person(self, claims: dict[str, Any]) -> Person:
        said = _values(claims, self._settings.role_claim)
        roles = {Role(self._settings.roles[value]) for value in said if value in self._settings.roles}
        role = next((role for role in _BROADEST if role in roles), None)
        if role is None:
            raise OidcError("the user has no role here")
        cleared = {one for value in said for one in self._settings.clearances.get(value, ())}
        limited = role in (Role.REGISTRATOR, Role.CHEF)
        unit = next(iter(_values(claims, self._settings.unit_claim)), "") if limited else ""
        name = next(iter(_values(claims, self._settings.name_claim)), "") or str(claims["sub"])
        return Person(f"{self._settings.issuer} {claims['sub']}", name, role, unit, sorted(cleared))

    def _about(self, now: datetime) -> tuple[dict[str, Any], KeySet]:
        """The provider's description (OpenID Connect Discovery 1.0) and keys. Raises ProviderAwayError."""
        with self._lock:
            if self._kept is None or now - self._kept[0] > KEPT:
                self._kept = now, *self._fetch()
            return self._kept[1], self._kept[2]

    def _fetch(self) -> tuple[dict[str, Any], KeySet]:
        address = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            with httpx.Client(timeout=TIMEOUT_SECONDS) as http:
                about = http.get(address).raise_for_status().json()
                if about["issuer"] != self._settings.issuer:
                    raise ProviderAwayError("the provider names itself otherwise than oidc.issuer")
                for endpoint in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    str(about[endpoint])
                return about, KeySet.import_key_set(http.get(about["jwks_uri"]).raise_for_status().json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, JoseError) as error:
            raise ProviderAwayError(f"the provider does not answer as one: {type(error).__name__}") from error


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    """The texts of a claim, one or several; ``path`` may lead into it, as realm_access.roles."""
    found: Any = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    return [value for value in listed if isinstance(value, str) and value]


def let_in(session: Session, person: Person, now: datetime) -> User:
    """The account of somebody the provider has named: made at the first login, brought up to date at each.

    Raises AccountError when the account is closed, or somebody else has the name.
    """
    user = session.exec(select(User).where(User.subject == person.subject).with_for_update()).first()
    if user is None:
        return auth.create_user(
            session,
            person.name,
            None,
            person.role,
            now,
            unit=person.unit,
            clearances=person.clearances,
            subject=person.subject,
        )
    if not user.active:
        raise AccountError("the account is closed")
    auth.allow(user, role=person.role, unit=person.unit, clearances=person.clearances)
    return user
