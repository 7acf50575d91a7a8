"""Rolls up events while the faults occur."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from tests.faults.environment import FaultEnvironment

PAUSE_SECONDS = 0.1
MAX_EVENTS = 200


@dataclass
class RollupCounts:
    """How often events were rolled up."""

    succeeded: int = 0
    failed: int = 0
    """Broken by a fault."""


@contextmanager
def running_rollups(environment: FaultEnvironment) -> Iterator[RollupCounts]:
    """Roll up until the context ends, whatever fails."""
    stopped, counts = threading.Event(), RollupCounts()

    def work() -> None:
        while not stopped.wait(PAUSE_SECONDS):
            try:
                environment.execute(f"SELECT muster.roll_up(id, {MAX_EVENTS}) FROM muster.projects")
                counts.succeeded += 1
            except psycopg.Error:
                counts.failed += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield counts
    finally:
        stopped.set()
        thread.join()
