"""What we send, as octets: pure, and the same for the same dispatch at every try, so that a copy is recognised.

A forward is multipart/mixed: a note in Swedish, the citizen's mail untouched, and ``arende.json`` for the
receiver's own system. docs/registrator.md shows it to those who get it.

Headers that were chosen with care:

- From is our own address, since a mail in the citizen's name from our servers would fail their DMARC.
  The envelope sender and Reply-To carry the token, so that bounces and answers come home to the case.
- A forward was decided by a person, so it bears no Auto-Submitted (RFC 3834 5.1); registrars' systems are
  known to drop what does. A reminder is written by the clock and says ``auto-generated``.
  X-Auto-Response-Suppress keeps Exchange from answering either with an absence note.
- Subject holds the neutral ärendemening, never the citizen's own words (OSL 5 kap. 2 §).
"""

from mailrouter.compose.citizen import acknowledgement, answer, notice
from mailrouter.compose.common import ComposeError, message_id, reply_address
from mailrouter.compose.completion import completion
from mailrouter.compose.digest import digest
from mailrouter.compose.forward import FLAG_WORDS, KIND_WORDS, forward
from mailrouter.compose.reminder import reminder
from mailrouter.compose.transparent import is_transparent

__all__ = [
    "FLAG_WORDS",
    "KIND_WORDS",
    "ComposeError",
    "acknowledgement",
    "answer",
    "completion",
    "digest",
    "forward",
    "is_transparent",
    "message_id",
    "notice",
    "reminder",
    "reply_address",
]
