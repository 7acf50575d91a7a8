"""Measures what roll-ups cost ingest: the column and index of each event, and rolling up at the same time."""

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from uuid import UUID

import psycopg

from benchmarks.candidates import Muster
from benchmarks.parallel import events_per_second
from benchmarks.target import Target, own_target
from muster.metrics.rollups import roll_up

CONNECTIONS = (1, 4)
ROLLED_UP_AT_ONCE = 20_000
PAUSE_SECONDS = 0.1
_WITHOUT = """
DROP INDEX muster.analytics_events_xid;
ALTER TABLE muster.analytics_events ALTER xid DROP NOT NULL, ALTER xid DROP DEFAULT;
"""


@dataclass(frozen=True)
class RollupCost:
    """Throughput of ingest, as ratios to the throughput without roll-ups."""

    with_column: float
    """With the transaction number of each event and its index."""
    while_rolling_up: float
    """With the same while another process rolls up the events."""


RollupCosts = Mapping[int, RollupCost]
"""By number of connections."""


def measure_rollup_cost(rounds: int, seconds: float) -> RollupCosts:
    """Measure ingest without roll-ups, with them, and while rolling up, interleaved."""
    costs = {}
    with own_target() as without, own_target() as complete:
        with without.connect() as connection:
            connection.execute(_WITHOUT)
        for count in CONNECTIONS:
            measured: list[tuple[float, float, float]] = []
            for number in range(rounds + 1):
                # The order alternates, because the first one runs on a processor that is warm from the roll-up.
                both = (without, complete) if number % 2 else (complete, without)
                rates = {target: events_per_second(target, Muster, count, seconds=seconds) for target in both}
                with _rolling_up(complete):
                    busy = events_per_second(complete, Muster, count, seconds=seconds)
                if number:
                    measured.append((rates[without], rates[complete], busy))
            costs[count] = RollupCost(
                with_column=statistics.median(with_column / bare for bare, with_column, _ in measured),
                while_rolling_up=statistics.median(busy / bare for bare, _, busy in measured),
            )
            print(
                f"  Connections: {count}. Ingest reaches {costs[count].with_column:.2f} of its rate without roll-ups, "
                f"{costs[count].while_rolling_up:.2f} while rolling up.",
                flush=True,
            )
    return costs


@contextmanager
def _rolling_up(target: Target) -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_roll_up, args=(target.url, target.project_id, ready, stop))
    process.start()
    # Earlier events must not slow this measurement.
    ready.wait(120)
    try:
        yield
    finally:
        stop.set()
        process.join()


def _roll_up(url: str, project_id: UUID, ready: Event, stop: Event) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            count, is_all = roll_up(connection, project_id, ROLLED_UP_AT_ONCE)
            if is_all or not count:
                ready.set()
                time.sleep(PAUSE_SECONDS)
