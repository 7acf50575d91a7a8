"""Runs several clients at once, each a process with its own connection."""

import contextlib
import io
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier as BarrierType
from multiprocessing.synchronize import Event
from typing import Any

from benchmarks.batches import make_batch, make_batches
from benchmarks.candidates import Candidate
from benchmarks.target import Target

SECONDS = 2.0
SIZE = 50
MAX_BATCHES_PER_SECOND = 1_000


def events_per_second(target: Target, make: type[Candidate], count: int, *, seconds: float = SECONDS) -> float:
    """The throughput of `count` clients together, each as fast as it can."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.Queue()
    workers = [
        context.Process(target=_work, args=(target, make, number, barrier, results, seconds)) for number in range(count)
    ]
    for worker in workers:
        worker.start()
    total = sum(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    return float(total)


@contextmanager
def writing(target: Target, make: type[Candidate], count: int, *, batches_per_second: float) -> Iterator[None]:
    """Let `count` clients store at an even pace inside the context, each `batches_per_second` batches."""
    context = multiprocessing.get_context("fork")
    barrier, stop = context.Barrier(count + 1), context.Event()
    workers = [
        context.Process(target=_keep_pace, args=(target, make, number, barrier, stop, batches_per_second))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    barrier.wait(60)
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _keep_pace(
    target: Target, make: type[Candidate], number: int, barrier: BarrierType, stop: Event, batches_per_second: float
) -> None:
    candidate, rng = make(target), random.Random(time.time_ns() + number)
    with contextlib.redirect_stdout(io.StringIO()):
        barrier.wait(60)
        due = time.perf_counter()
        while not stop.wait(max(due - time.perf_counter(), 0)):
            candidate.send(candidate.encode(make_batch(rng, SIZE, datetime.now(UTC))))
            due += 1 / batches_per_second


def _work(
    target: Target, make: type[Candidate], number: int, barrier: BarrierType, results: Any, seconds: float
) -> None:
    candidate, count = make(target), int(seconds * MAX_BATCHES_PER_SECOND) + 1
    # Each run needs new events, or all would be duplicates.
    requests = [candidate.encode(batch) for batch in make_batches(time.time_ns() + number, SIZE, count)]
    with contextlib.redirect_stdout(io.StringIO()):
        barrier.wait()
        started, sent = time.perf_counter(), 0
        while time.perf_counter() - started < seconds and sent < len(requests):
            candidate.send(requests[sent])
            sent += 1
        results.put(sent * SIZE / (time.perf_counter() - started))
