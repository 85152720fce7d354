"""Considers the reminders that are due at a given moment, once.

Usage: python -m tests.remind_once DATABASE MOMENT
"""

import logging
import sys
from datetime import datetime

from mailrouter import config, deadlines, store

if __name__ == "__main__":
    logging.getLogger("mailrouter").setLevel(logging.DEBUG)
    opened = store.connect(config.Store(url=sys.argv[1]))
    deadlines.remind_due(opened, config.Settings(), datetime.fromisoformat(sys.argv[2]))
