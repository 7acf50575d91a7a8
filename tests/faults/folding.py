"""Maintenance that folds events into rollups all the while, and is hit by every fault."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.world import World

PAUSE_SECONDS = 0.1
FOLDED_AT_ONCE = 200


@contextmanager
def folding(made: World) -> Iterator[None]:
    """Fold, whatever becomes of it, until the context ends."""
    told_to_stop = threading.Event()

    def fold() -> None:
        while not told_to_stop.wait(PAUSE_SECONDS):
            try:
                made.execute(f"SELECT muster.roll_up(id, {FOLDED_AT_ONCE}) FROM muster.projects")
                made.folds += 1
            except psycopg.Error:
                made.broken_folds += 1

    thread = threading.Thread(target=fold)
    thread.start()
    try:
        yield
    finally:
        told_to_stop.set()
        thread.join()
