"""The outbox: claim a dispatch, hand it to the smarthost, settle what became of it; delivery reports come home here.

``sending`` claims (T4a) and writes the attempt down, then hands over with no transaction open;
``settling`` writes down what became of it (T4b). A crash in between is healed by the lease: the mail goes
out again under the same Message-ID, so that at most a second copy arrives and none is lost.
"""

from mailrouter.forward.outbox import outbox
from mailrouter.forward.sending import send_due
from mailrouter.forward.settling import retry_wait, take_report

__all__ = ["outbox", "retry_wait", "send_due", "take_report"]
