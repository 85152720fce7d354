"""Runs a module of mailrouter and kills the process, as a power cut does, when it logs a certain event.

Usage: python -m tests.crash EVENT MODULE [ARGUMENT ...]. The events stand at the arrows of docs/flow.md.
"""

import logging
import os
import runpy
import signal
import sys


class _PowerCut(logging.Handler):
    def __init__(self, event: str) -> None:
        super().__init__()
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().split(" ")[0] == self._event:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, event, module, *arguments = sys.argv
    logging.getLogger("mailrouter").addHandler(_PowerCut(event))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
