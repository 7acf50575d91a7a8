"""`make bench-ingest`: what storing costs, against COPY, executemany, and the service that Muster replaces."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.batches import make_batches
from benchmarks.carried import Carried, measure_carried
from benchmarks.contenders import Contender, Copy, ExecuteMany, Muster, Replaced
from benchmarks.machine import describe
from benchmarks.parallel import SECONDS, events_a_second
from benchmarks.report import DOCS, draw_bars, table, write_section
from benchmarks.target import Target, own_target
from benchmarks.turns import Tally, Turn, take_turns

SIZES = (1, 10, 50, 500)
CONTENDERS: tuple[type[Contender], ...] = (Copy, Muster, ExecuteMany, Replaced)
CONNECTIONS = (1, 2, 4)
GROWTH = (1_000_000, 5_000_000, 10_000_000)
GROWN_SIZE = 50
GOING_ON = 4
# What we want, by events a batch where it depends on them.
OF_COPY, TO_REPLACED = {50: 0.60, 500: 0.50}, {1: 2.2, 50: 30.0, 500: 55.0}
MOST_WAL, LEAST_OF_EMPTY, MOST_CARRIED = 1.7, 0.9, 0.08


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="blocks of each contender")
    parser.add_argument("--without-growth", action="store_true", help="leave out the part with millions of rows")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="events a batch")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a block of several connections")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of benchmarks.md")
    options = parser.parse_args(arguments)
    with own_target() as target, target.connect() as server:
        machine = describe(server)
        print(f"{machine}; a server that commits to disk, synchronous_commit on, one batch after another.")
        tallies = {size: _sizes(target, server, size, options.rounds) for size in options.sizes}
        going_on = _sizes(target, server, 1, options.rounds, a_session=GOING_ON)
        parallel = {count: _parallel(target, count, options.seconds) for count in options.connections}
    carried = measure_carried((options.rounds + 1) // 2, options.seconds / 2)
    grown = {} if options.without_growth else _growth((options.rounds + 1) // 2)
    body, missed = _report(options.output, machine, tallies, going_on, parallel, carried, grown)
    write_section(options.output, "bench-ingest", "Ingest (`make bench-ingest`)", body)
    print(body)
    for sentence in missed:
        print(f"Not reached: {sentence}")
    return 0


def _sizes(
    target: Target, server: psycopg.Connection[Any], size: int, rounds: int, *, a_session: int = 1
) -> dict[str, Tally]:
    contenders = [make(target) for make in CONTENDERS]
    counts = [_block(make, size) for make in CONTENDERS]
    turns = []
    for number, (contender, count) in enumerate(zip(contenders, counts, strict=True)):
        contender.prepare()
        seed = (number * 1000 + size) * 10 + a_session
        batches = make_batches(seed, size, count * (rounds + 1), a_session=a_session)
        requests = [contender.encode(batch) for batch in batches]
        turns.append(Turn(contender.send, requests, contender.server_pid, size))
    with _quiet():
        take_turns(turns, server, rounds=rounds, requests=counts)
    for contender in contenders:
        contender.close()
    found = {contender.name: turn.tally for contender, turn in zip(contenders, turns, strict=True)}
    print(
        f"  {size} events a batch, {a_session} to a session: Muster at {_ratio(found, Copy, Muster):.2f} of COPY.",
        flush=True,
    )
    return found


def _block(contender: type[Contender], size: int) -> int:
    """Requests of a block: fewer of those that are slow."""
    return max(200 // size, 3) if contender is Replaced else min(max(6_000 // size, 12), 200)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log lines are written, to nowhere: what a terminal takes for them is none of ours."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _parallel(target: Target, count: int, seconds: float) -> dict[str, float]:
    found = {}
    for make in (Copy, Muster):
        contender = make(target)
        contender.prepare()
        contender.close()
        found[make.name] = events_a_second(target, make, count, seconds=seconds)
    print(f"  {count} connections: Muster at {found[Muster.name] / found[Copy.name]:.2f} of COPY.", flush=True)
    return found


def _growth(rounds: int) -> dict[int, float]:
    """Throughput with so many rows already in this month's partition, of that on an empty one; in turns."""
    found = {}
    with own_target() as empty, own_target() as grown, grown.connect() as server:
        rows = 0
        for wanted in GROWTH:
            _fill(grown, server, wanted - rows)
            rows = wanted
            turns: list[Turn] = []
            for target in (empty, grown):
                contender = Muster(target)
                batches = make_batches(wanted + len(turns), GROWN_SIZE, 100 * (rounds + 1))
                requests = [contender.encode(batch) for batch in batches]
                turns.append(Turn(contender.send, requests, contender.server_pid, GROWN_SIZE))
            with _quiet():
                take_turns(turns, server, rounds=rounds, requests=[100, 100])
            found[wanted] = turns[0].tally.of(turns[1].tally)
            print(f"  {wanted:,} rows: {found[wanted]:.2f} of the throughput on an empty table.", flush=True)
    return found


def _fill(target: Target, server: psycopg.Connection[Any], rows: int) -> None:
    """Rows like those of the batches, in this month's partition."""
    step = 250_000
    for _ in range(0, rows, step):
        server.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id,"
            " event_type, area, data) SELECT %s, s.id, gen_random_uuid(), now() - random() * interval '1 hour', s.id,"
            """ 'user-1', 'click', 'course', '{"page": "/course/12/lesson/345", "label": "chapter", "ms": 1.25}'"""
            " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s / 10)) s, generate_series(1, 10)",
            (target.project_id, step),
        )
    server.execute("CHECKPOINT")


def _ratio(found: dict[str, Tally], one: type[Contender], other: type[Contender]) -> float:
    return found[one.name].of(found[other.name])


def _report(
    folder: Path,
    machine: str,
    tallies: dict[int, dict[str, Tally]],
    going_on: dict[str, Tally],
    parallel: dict[int, dict[str, float]],
    carried: Carried,
    grown: dict[int, float],
) -> tuple[str, list[str]]:
    of_copy = {size: _ratio(found, Copy, Muster) for size, found in tallies.items()}
    of_old = {size: _ratio(found, Replaced, Muster) for size, found in tallies.items()}
    wal = {size: _per_event(found, "wal_bytes", Muster, Copy) for size, found in tallies.items()}
    missed = [
        *(f"{of_copy[size]:.0%} of COPY at {size} a batch; wanted {wanted:.0%}."
          for size, wanted in OF_COPY.items() if of_copy.get(size, wanted) < wanted),
        *(f"{of_old[size]:.1f} × the replaced service at {size} a batch; wanted {wanted} ×."
          for size, wanted in TO_REPLACED.items() if of_old.get(size, wanted) < wanted),
        *([f"{wal[50]:.2f} × COPY's WAL; wanted {MOST_WAL} ×."] if wal.get(50, 0) > MOST_WAL else []),
        *(f"{1 - each.carrying:.0%} lost to rollups at {count} connections; wanted {MOST_CARRIED:.0%}."
          for count, each in carried.items() if 1 - each.carrying > MOST_CARRIED),
        *([f"{min(grown.values()):.2f} of the empty table's throughput; wanted {LEAST_OF_EMPTY}."]
          if grown and min(grown.values()) < LEAST_OF_EMPTY else []),
    ]  # fmt: skip
    rows = [
        [
            str(size),
            f"{of_copy[size]:.0%}",
            f"{_ratio(found, Copy, ExecuteMany):.0%}",
            f"{_ratio(found, Copy, Replaced):.1%}",
            f"{of_old[size]:.1f} ×",
            f"{wal[size]:.2f} ×",
            f"{_per_event(found, 'cpu_seconds', Muster, Copy):.2f} ×",
        ]
        for size, found in tallies.items()
    ]
    head = [
        "events a batch",
        "Muster of COPY",
        "executemany of COPY",
        "replaced of COPY",
        "Muster to replaced",
        "WAL to COPY's",
        "CPU to COPY's",
    ]
    picture = draw_bars(
        folder,
        "ingest",
        "Events a second, of COPY into a bare table (1 connection)",
        [f"{size} a batch" for size in tallies],
        {make.name: [_ratio(found, Copy, make) for found in tallies.values()] for make in CONTENDERS},
        "of COPY",
    )
    connections = [
        [
            str(count),
            f"{found[Muster.name] / found[Copy.name]:.0%}",
            f"{found[Muster.name] / next(iter(parallel.values()))[Muster.name]:.2f} ×",
        ]
        for count, found in parallel.items()
    ]
    parts = [
        f"{machine}. Events of about 310 bytes, committed to disk; contenders in turns, the medians of their ratios. "
        "Muster is the whole handler: the event's JSON in, key, validation, one call of the database, log line, the "
        "response's JSON out. "
        "COPY puts the same rows into a table without an index. The replaced service, for each event: select the "
        "session, insert it where there is none, update it, select the user, insert the event, each committed by "
        "itself. Each batch opens a session, as in the prototypes whose figures are our goals.",
        table(head, rows),
        picture,
        f"Where {GOING_ON} batches of one event go to a session, so that the replaced service inserts a session for "
        f"only one of them: {_ratio(going_on, Copy, Muster):.0%} of COPY, "
        f"{_ratio(going_on, Replaced, Muster):.1f} × the replaced service.",
        "At several connections, 50 events a batch:",
        table(["connections", "Muster of COPY", "to one connection"], connections),
    ]
    parts += [
        "What rollups cost ingest, 50 a batch: what each event carries for them (the transaction that stored it, and an"
        " index over that), and folding beside it, as fast as it goes, on the same two processors:",
        table(
            ["connections", "with what is carried, of without", "and folded beside it"],
            [[str(count), f"{each.carrying:.2f}", f"{each.folding:.2f}"] for count, each in carried.items()],
        ),
    ]
    if grown:
        parts += [
            "With rows already in the month's partition, of the throughput on an empty one, 50 a batch:",
            table(["rows", "of an empty table"], [[f"{count:,}", f"{ratio:.2f}"] for count, ratio in grown.items()]),
        ]
    return "\n\n".join(parts + [f"Not reached: {sentence}" for sentence in missed]), missed


def _per_event(found: dict[str, Tally], what: str, one: type[Contender], other: type[Contender]) -> float:
    ours, theirs = found[one.name], found[other.name]
    return float(getattr(ours, what) / ours.events) / float(getattr(theirs, what) / theirs.events)


if __name__ == "__main__":
    sys.exit(main())
