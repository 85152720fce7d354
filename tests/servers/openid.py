"""A small OpenID provider on a loopback port: discovery, keys, codes with PKCE, signed tokens."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.clock import NOW

CLIENT, SECRET = "mailrouter", "hemlig nyckel"


@dataclass
class OpenId:
    """A provider where one person is logged in already; ``claims`` are what it says of that person."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "Anna.Berg"})
    over: dict[str, Any] = field(default_factory=dict)  # claims of the next token that are wrong on purpose
    key: RSAKey = field(default_factory=lambda: new_key("one"))
    forger: RSAKey | None = None  # signs instead of it, under its name
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def about(self) -> dict[str, str]:
        """The discovery document."""
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in paths.items()}

    def authorize(self, address: str) -> str:
        """What a browser does that follows ``address``: where it is sent back to, with a code."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def token(self, authorization: str, form: dict[str, str]) -> dict[str, str] | None:
        """A signed token for a code, once, when client and verifier are right."""
        asked = self.codes.pop(form.get("code", ""), None)
        proof = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or authorization != f"Basic {proof}" or asked["code_challenge"] != challenge:
            return None
        now = int(NOW.timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        signed = jwt.encode(
            {"alg": "RS256", "kid": self.key.kid}, claims | self.claims | self.over, self.forger or self.key
        )
        return {"access_token": "x", "token_type": "Bearer", "id_token": signed}


def new_key(name: str) -> RSAKey:
    """A key of the provider's."""
    return RSAKey.generate_key(2048, {"kid": name})


@contextmanager
def openid() -> Iterator[OpenId]:
    """The provider while the block runs."""
    known = OpenId()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = {"/.well-known/openid-configuration": known.about(), "/keys": KeySet([known.key]).as_dict()}
            self._answer(said.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(known.token(self.headers["authorization"], form))

        def _answer(self, value: object) -> None:
            self.send_response(400 if value is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value or {"error": "invalid_grant"}).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the signature is the library's)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    known.issuer = f"http://127.0.0.1:{server.server_port}"
    yield known
    server.shutdown()
    thread.join()
    server.server_close()
