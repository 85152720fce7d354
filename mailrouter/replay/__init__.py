"""Judge old mail before going live: what would have gone where, how sure, and how right, as a page with pictures.

Reads an mbox, a Maildir, a folder of .eml files or an IMAP folder, and writes nothing but its report: no
register is opened, no flag is set on the server. Streaming, so that a hundred thousand mails need no more
memory than a hundred.
"""

from mailrouter.replay.run import replay
from mailrouter.replay.sources import ReplayError, Source, opened
from mailrouter.replay.tally import Tally
from mailrouter.replay.truth import Truth

__all__ = ["ReplayError", "Source", "Tally", "Truth", "opened", "replay"]
