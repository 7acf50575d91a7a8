"""What rollups cost ingest: what each event carries for them, and folding beside it."""

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from uuid import UUID

import psycopg

from benchmarks.contenders import Muster
from benchmarks.parallel import events_a_second
from benchmarks.target import Target, own_target
from muster.metrics.rollups import roll_up

CONNECTIONS = (1, 4)
FOLDED_AT_ONCE = 20_000
PAUSE_SECONDS = 0.1
_WITHOUT = """
DROP INDEX muster.analytics_events_xid;
ALTER TABLE muster.analytics_events ALTER xid DROP NOT NULL, ALTER xid DROP DEFAULT;
"""


@dataclass(frozen=True)
class Cost:
    """Throughput of ingest, of what it is without rollups."""

    carrying: float
    """Where each event has its transaction, and an index over it."""
    folding: float
    """Where events are folded as they come, too."""


Carried = Mapping[int, Cost]
"""By number of connections."""


def measure_carried(rounds: int, seconds: float) -> Carried:
    """In turns: without, with, and with folding beside it."""
    found = {}
    with own_target() as without, own_target() as carrying:
        with without.connect() as connection:
            connection.execute(_WITHOUT)
        for count in CONNECTIONS:
            turns: list[tuple[float, float, float]] = []
            for number in range(rounds + 1):
                # Who begins takes turns too: the first finds the processor as folding left it.
                both = (without, carrying) if number % 2 else (carrying, without)
                measured = {target: events_a_second(target, Muster, count, seconds=seconds) for target in both}
                bare, carried = measured[without], measured[carrying]
                with _folding(carrying):
                    folded = events_a_second(carrying, Muster, count, seconds=seconds)
                if number:
                    turns.append((bare, carried, folded))
            found[count] = Cost(
                carrying=statistics.median(carried / bare for bare, carried, _ in turns),
                folding=statistics.median(folded / bare for bare, _, folded in turns),
            )
            print(
                f"  {count} connections: {found[count].carrying:.2f} of the throughput without rollups, "
                f"{found[count].folding:.2f} with folding beside it.",
                flush=True,
            )
    return found


@contextmanager
def _folding(target: Target) -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    ready, stop = context.Event(), context.Event()
    folder = context.Process(target=_fold, args=(target.url, target.project_id, ready, stop))
    folder.start()
    # What came before is none of this turn's.
    ready.wait(120)
    try:
        yield
    finally:
        stop.set()
        folder.join()


def _fold(url: str, project_id: UUID, ready: Event, stop: Event) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            folded, is_all = roll_up(connection, project_id, FOLDED_AT_ONCE)
            if is_all or not folded:
                ready.set()
                time.sleep(PAUSE_SECONDS)
