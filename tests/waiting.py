"""Waiting for what other threads and processes do: poll with a deadline, never sleep and hope."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(look: Callable[[], Value | None], seconds: float = 30.0) -> Value:
    """The first true value that ``look`` gives. Raises AssertionError when it gives none in time."""
    deadline = time.monotonic() + seconds
    while not (value := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain; last seen: {value!r}")
        time.sleep(0.02)
    return value
