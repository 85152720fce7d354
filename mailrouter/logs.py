"""Logging: one line an event, case numbers only. Logs are public documents too, so no mail ever stands in one."""

import logging
import re
from types import TracebackType

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
NOISY = (
    "alembic", "apscheduler", "httpcore", "httpx", "imapclient", "mail.log", "mailparser", "python_multipart",
    "uvicorn.error",
)  # fmt: skip
_ROW = re.compile(r"^.*DETAIL: .*$\n?", re.MULTILINE)  # PostgreSQL repeats the row that it refused


class _Discreet(logging.Formatter):
    def formatException(  # noqa: N802 (the name is logging's)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return _ROW.sub("", super().formatException(ei))


def set_up(level: str) -> None:
    """Log to standard error at ``level``; chatty libraries only when something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Discreet(FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a beat that is skipped while work goes on is no fault
