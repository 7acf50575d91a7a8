"""Waits for conditions. A wait that takes too long fails and says what did not happen."""

import time
from collections.abc import Callable

# Generous: a busy machine needs several times as long as a quiet one.
TIMEOUT_SECONDS = 180.0
PAUSE_SECONDS = 0.05


def wait_until(condition: Callable[[], object], message: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not hold in time; the text is `message` and the time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message} within {timeout_seconds:.0f} s.")
        time.sleep(PAUSE_SECONDS)
