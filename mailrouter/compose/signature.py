"""DKIM (RFC 6376, RFC 8463): our signature over a mail as it leaves, so that a receiver can prove it is ours."""

import base64
import re
from dataclasses import dataclass, field
from functools import cache

import dkim

from mailrouter.config import ConfigError, Forward

# What a receiver shows or acts on. From stands twice: a second one that somebody adds breaks the signature.
_SIGNED = (
    b"From", b"From", b"To", b"Reply-To", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References",
    b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding", b"Auto-Submitted",
)  # fmt: skip
_OUR_TAG = re.compile(rb"^(X-Mailrouter-[A-Za-z-]+):", re.MULTILINE)
_ED25519_HEAD = bytes.fromhex("302e020100300506032b657004220420")  # PKCS #8 around 32 octets (RFC 8410 7)
_RSA, _ED25519 = b"rsa-sha256", b"ed25519-sha256"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with its place in the DNS."""

    selector: bytes
    domain: bytes
    algorithm: bytes
    key: bytes = field(repr=False)

    def sign(self, octets: bytes) -> bytes:
        """``octets`` with our signature on top. The body counts exactly as it is (``simple``)."""
        head = octets.partition(b"\r\n\r\n")[0]
        tags = tuple(dict.fromkeys(_OUR_TAG.findall(head)))
        signature = dkim.sign(
            octets,
            self.selector,
            self.domain,
            self.key,
            canonicalize=(b"relaxed", b"simple"),
            signature_algorithm=self.algorithm,
            include_headers=[*_SIGNED, *tags],
        )
        return bytes(signature) + octets


def signer(settings: Forward) -> Signer | None:
    """The signer that the settings name, or None. Raises ConfigError for a key that cannot sign."""
    if settings.dkim_key is None:
        return None
    domain = settings.dkim_domain or settings.from_address.rpartition("@")[2]
    try:
        return _tried_out(settings.dkim_selector, domain, settings.dkim_key.get_secret_value())
    except (dkim.DKIMException, ValueError) as error:
        raise ConfigError(f"forward.dkim_key_file: cannot sign with {settings.dkim_key_file}: {error}") from error


@cache
def _tried_out(selector: str, domain: str, written: str) -> Signer:
    algorithm, key = _key(written)
    made = Signer(selector.encode("idna"), domain.encode("idna"), algorithm, key)
    made.sign(b"From: a@b.example\r\n\r\n")
    return made


def _key(text: str) -> tuple[bytes, bytes]:
    """Algorithm and key as dkimpy takes them: RSA in PEM, Ed25519 as the base64 of its 32 octets."""
    der = base64.b64decode("".join(re.sub(r"-----[^-]+-----", "", text).split()))
    if der.startswith(_ED25519_HEAD):
        return _ED25519, base64.b64encode(der[len(_ED25519_HEAD) :])
    return (_ED25519, base64.b64encode(der)) if len(der) == 32 else (_RSA, text.encode())
