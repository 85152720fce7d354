"""S/MIME where the text lies inside the signature (RFC 8551 3.5.2), opened with asn1crypto; nothing is verified."""

import logging

from asn1crypto import cms

TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
DEPTH = 3  # signed, encrypted, signed again (RFC 2634 1.1)

log = logging.getLogger(__name__)


def signed(octets: bytes) -> bytes | None:
    """The MIME entity that was signed, b"" when the signature holds none, or None when this is not signed data."""
    try:
        info = cms.ContentInfo.load(octets)
        if info["content_type"].native != "signed_data":
            return None
        content = info["content"]["encap_content_info"]["content"].native
    except Exception:  # asn1crypto reads untrusted binary data and raises whatever it trips over
        log.info("an S/MIME part could not be read", exc_info=True)
        return None
    return content if isinstance(content, bytes) else b""
