"""Several clients at once, each a process with a connection of its own."""

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
from benchmarks.contenders import Contender
from benchmarks.target import Target

SECONDS = 2.0
SIZE = 50
MOST_BATCHES_A_SECOND = 1_000


def events_a_second(target: Target, make: type[Contender], count: int, *, seconds: float = SECONDS) -> float:
    """What so many of a contender store together, each as fast as it can."""
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
def writing(target: Target, make: type[Contender], count: int, *, batches_a_second: float) -> Iterator[None]:
    """Have so many of a contender store at an even pace, each so many batches a second, while the context lasts."""
    context = multiprocessing.get_context("fork")
    barrier, stop = context.Barrier(count + 1), context.Event()
    workers = [
        context.Process(target=_keep_pace, args=(target, make, number, barrier, stop, batches_a_second))
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
    target: Target, make: type[Contender], number: int, barrier: BarrierType, stop: Event, batches_a_second: float
) -> None:
    contender, chance = make(target, number), random.Random(time.time_ns() + number)
    with contextlib.redirect_stdout(io.StringIO()):
        barrier.wait(60)
        due = time.perf_counter()
        while not stop.wait(max(due - time.perf_counter(), 0)):
            contender.send(contender.encode(make_batch(chance, SIZE, datetime.now(UTC))))
            due += 1 / batches_a_second


def _work(
    target: Target, make: type[Contender], number: int, barrier: BarrierType, results: Any, seconds: float
) -> None:
    contender, most = make(target, number), int(seconds * MOST_BATCHES_A_SECOND) + 1
    # Others in each run: of the same again, all would be duplicates.
    requests = [contender.encode(batch) for batch in make_batches(time.time_ns() + number, SIZE, most)]
    with contextlib.redirect_stdout(io.StringIO()):
        barrier.wait()
        started, sent = time.perf_counter(), 0
        while time.perf_counter() - started < seconds and sent < len(requests):
            contender.send(requests[sent])
            sent += 1
        results.put(sent * SIZE / (time.perf_counter() - started))
