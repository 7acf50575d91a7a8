"""`make bench-ingest`: compares ingest with COPY, executemany, and the service that Muster replaces."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.batches import make_batches
from benchmarks.candidates import Candidate, Copy, ExecuteMany, Muster, OneBranch, Replaced
from benchmarks.interleave import Run, Tally, interleave
from benchmarks.machine import describe
from benchmarks.parallel import SECONDS, events_per_second
from benchmarks.report import DOCS, draw_bars, table, write_section
from benchmarks.rollup_cost import RollupCosts, measure_rollup_cost
from benchmarks.target import Target, own_target

SIZES = (1, 10, 50, 500)
CANDIDATES: tuple[type[Candidate], ...] = (Copy, Muster, ExecuteMany, Replaced)
CONNECTIONS = (1, 2, 4)
GROWTH = (1_000_000, 5_000_000, 10_000_000)
GROWN_SIZE = 50
BATCHES_PER_SESSION = 4
# The goals. Some depend on the number of events per batch.
MIN_OF_COPY, MIN_TO_REPLACED = {50: 0.60, 500: 0.50}, {1: 2.2, 50: 30.0, 500: 55.0}
MAX_WAL, MIN_OF_EMPTY, MAX_ROLLUP_LOSS = 1.7, 0.9, 0.08
_COLUMNS = "(project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area, data)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="blocks of each candidate")
    parser.add_argument("--without-growth", action="store_true", help="skip the part with millions of rows")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="events per batch")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS), help="numbers of connections")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a block with several connections")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of benchmarks.md")
    options = parser.parse_args(arguments)
    with own_target() as target, target.connect() as server:
        machine = describe(server)
        print(f"{machine}. The server commits to disk with synchronous_commit on. Batches are sent one after another.")
        tallies = {size: _sizes(target, server, size, options.rounds) for size in options.sizes}
        continued = _sizes(target, server, 1, options.rounds, per_session=BATCHES_PER_SESSION)
        parallel = {count: _parallel(target, count, options.seconds) for count in options.connections}
    rollup_costs = measure_rollup_cost((options.rounds + 1) // 2, options.seconds / 2)
    grown = {} if options.without_growth else _growth((options.rounds + 1) // 2)
    body, missed = _report(options.output, machine, tallies, continued, parallel, rollup_costs, grown)
    write_section(options.output, "bench-ingest", "Ingest (`make bench-ingest`)", body)
    print(body)
    for sentence in missed:
        print(f"Goal missed: {sentence}")
    return 0


def _sizes(
    target: Target, server: psycopg.Connection[Any], size: int, rounds: int, *, per_session: int = 1
) -> dict[str, Tally]:
    has_ablation = size == 1 and per_session == 1
    makes: tuple[type[Candidate], ...] = (*CANDIDATES, OneBranch) if has_ablation else CANDIDATES
    candidates = [make(target) for make in makes]
    counts = [_block_size(make, size) for make in makes]
    runs = []
    for number, (candidate, count) in enumerate(zip(candidates, counts, strict=True)):
        candidate.prepare()
        seed = (number * 1000 + size) * 10 + per_session
        batches = make_batches(seed, size, count * (rounds + 1), per_session=per_session)
        requests = [candidate.encode(batch) for batch in batches]
        runs.append(Run(candidate.send, requests, candidate.server_pid, size))
    with _without_output():
        interleave(runs, server, rounds=rounds, requests=counts)
    for candidate in candidates:
        candidate.close()
    tallies = {candidate.name: run.tally for candidate, run in zip(candidates, runs, strict=True)}
    print(
        f"  Events per batch: {size}, batches per session: {per_session}. Muster reaches "
        f"{_ratio(tallies, Copy, Muster):.0%} of COPY.",
        flush=True,
    )
    return tallies


def _block_size(candidate: type[Candidate], size: int) -> int:
    """The number of requests in a block. The slow candidate sends fewer."""
    return max(200 // size, 3) if candidate is Replaced else min(max(6_000 // size, 12), 200)


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Discard standard output, because the time that a terminal takes must not count."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _parallel(target: Target, count: int, seconds: float) -> dict[str, float]:
    rates = {}
    for make in (Copy, Muster):
        candidate = make(target)
        candidate.prepare()
        candidate.close()
        rates[make.name] = events_per_second(target, make, count, seconds=seconds)
    print(f"  Connections: {count}. Muster reaches {rates[Muster.name] / rates[Copy.name]:.0%} of COPY.", flush=True)
    return rates


def _growth(rounds: int) -> dict[int, float]:
    """Throughput by the number of rows in this month's partition, as a ratio to that on an empty one, interleaved."""
    ratios = {}
    with own_target() as empty, own_target() as grown, grown.connect() as server:
        rows = 0
        for wanted in GROWTH:
            _fill(grown, server, wanted - rows)
            rows = wanted
            runs: list[Run] = []
            for target in (empty, grown):
                candidate = Muster(target)
                batches = make_batches(wanted + len(runs), GROWN_SIZE, 100 * (rounds + 1))
                requests = [candidate.encode(batch) for batch in batches]
                runs.append(Run(candidate.send, requests, candidate.server_pid, GROWN_SIZE))
            with _without_output():
                interleave(runs, server, rounds=rounds, requests=[100, 100])
            ratios[wanted] = runs[0].tally.ratio_to(runs[1].tally)
            print(f"  {wanted:,} rows: {ratios[wanted]:.2f} of the throughput on an empty table.", flush=True)
    return ratios


def _fill(target: Target, server: psycopg.Connection[Any], rows: int) -> None:
    """Copy rows like those of the batches into this month's partition."""
    step = 250_000
    rows_sql = (
        "COPY (SELECT %s::uuid, s.id, gen_random_uuid(), now() - random() * interval '1 hour', s.id, 'user-1', 'click',"
        """ 'course', '{"page": "/course/12/lesson/345", "label": "chapter", "ms": 1.25}'::jsonb"""
        " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s / 10)) s, generate_series(1, 10))"
        " TO STDOUT (FORMAT binary)"
    )
    with target.connect() as source:
        for _ in range(0, rows, step):
            with (
                source.cursor().copy(rows_sql, (target.project_id, step)) as made,
                server.cursor().copy(f"COPY muster.analytics_events {_COLUMNS} FROM STDIN (FORMAT binary)") as stored,
            ):
                for row in made:
                    stored.write(row)
    server.execute("CHECKPOINT")


def _ratio(tallies: dict[str, Tally], one: type[Candidate], other: type[Candidate]) -> float:
    """The time of one candidate, as a ratio to that of another."""
    return tallies[one.name].ratio_to(tallies[other.name])


def _report(
    folder: Path,
    machine: str,
    tallies: dict[int, dict[str, Tally]],
    continued: dict[str, Tally],
    parallel: dict[int, dict[str, float]],
    rollup_costs: RollupCosts,
    grown: dict[int, float],
) -> tuple[str, list[str]]:
    of_copy = {size: _ratio(found, Copy, Muster) for size, found in tallies.items()}
    to_replaced = {size: _ratio(found, Replaced, Muster) for size, found in tallies.items()}
    wal = {size: _per_event(found, "wal_bytes", Muster, Copy) for size, found in tallies.items()}
    missed = [
        *(f"{of_copy[size]:.0%} of COPY at {size} events per batch. The goal is {goal:.0%}."
          for size, goal in MIN_OF_COPY.items() if of_copy.get(size, goal) < goal),
        *(f"{to_replaced[size]:.1f} × the replaced service at {size} events per batch. The goal is {goal} ×."
          for size, goal in MIN_TO_REPLACED.items() if to_replaced.get(size, goal) < goal),
        *([f"{wal[50]:.2f} × the WAL of COPY. The goal is {MAX_WAL} ×."] if wal.get(50, 0) > MAX_WAL else []),
        *(f"Roll-ups cost {1 - cost.with_column:.0%} (connections: {count}). The goal is {MAX_ROLLUP_LOSS:.0%}."
          for count, cost in rollup_costs.items() if 1 - cost.with_column > MAX_ROLLUP_LOSS),
        *([f"{min(grown.values()):.2f} of the empty table's throughput. The goal is {MIN_OF_EMPTY}."]
          if grown and min(grown.values()) < MIN_OF_EMPTY else []),
    ]  # fmt: skip
    rows = [
        [
            str(size),
            f"{of_copy[size]:.0%}",
            f"{_ratio(found, Copy, ExecuteMany):.0%}",
            f"{_ratio(found, Copy, Replaced):.1%}",
            f"{to_replaced[size]:.1f} ×",
            f"{wal[size]:.2f} ×",
            f"{_per_event(found, 'cpu_seconds', Muster, Copy):.2f} ×",
        ]
        for size, found in tallies.items()
    ]
    head = [
        "events per batch",
        "Muster / COPY",
        "executemany / COPY",
        "replaced / COPY",
        "Muster / replaced",
        "WAL / COPY's",
        "CPU / COPY's",
    ]
    chart = draw_bars(
        folder,
        "ingest",
        "Events per second, as a share of COPY into a bare table (1 connection)",
        [f"{size} per batch" for size in tallies],
        {make.name: [_ratio(found, Copy, make) for found in tallies.values()] for make in CANDIDATES},
        "share of COPY",
    )
    connections = [
        [
            str(count),
            f"{rates[Muster.name] / rates[Copy.name]:.0%}",
            f"{rates[Muster.name] / next(iter(parallel.values()))[Muster.name]:.2f} ×",
        ]
        for count, rates in parallel.items()
    ]
    parts = [
        f"{machine}. Events have about 310 bytes and are committed to disk. Muster is the whole handler, from the "
        "JSON of the event to the JSON of the response: key, validation, one database call and a log line. COPY "
        "stores the same rows in a table without an index. For each event the replaced service selects the session, "
        "inserts it if there is none, updates it, selects the user and inserts the event, each in its own "
        "transaction. Each batch opens a session, as in the prototypes that our goals come from. The first four "
        "ratios compare events per second.",
        table(head, rows),
        chart,
        f"With {BATCHES_PER_SESSION} batches of one event per session, the replaced service inserts only one session "
        f"for them. Muster then reaches {_ratio(continued, Copy, Muster):.0%} of COPY and "
        f"{_ratio(continued, Replaced, Muster):.1f} × the replaced service.",
        "With several connections and 50 events per batch:",
        table(["connections", "Muster / COPY", "Muster / 1 connection"], connections),
        *([_ablation(tallies[1])] if 1 in tallies else []),
        "What roll-ups cost ingest at 50 events per batch, as a share of the throughput without them. Each event "
        "stores the number of its transaction, and an index holds these numbers. In the last column another process "
        "rolls up the events as fast as it can, on the same two processors:",
        table(
            ["connections", "with roll-ups", "while rolling up"],
            [
                [str(count), f"{cost.with_column:.2f}", f"{cost.while_rolling_up:.2f}"]
                for count, cost in rollup_costs.items()
            ],
        ),
    ]
    if grown:
        parts += [
            "With rows already in the month's partition, as a share of the throughput on an empty one, at 50 events "
            "per batch:",
            table(["rows", "share"], [[f"{count:,}", f"{ratio:.2f}"] for count, ratio in grown.items()]),
        ]
    return "\n\n".join(parts + [f"Goal missed: {sentence}" for sentence in missed]), missed


def _ablation(tallies: dict[str, Tally]) -> str:
    sentence = (
        "`ingest_fast_path` has a branch for a batch of one event. Without this branch, a batch of one event takes the "
        "statement for many. As a ratio to the real function, at 1 event per batch:"
    )
    row = [
        "without the branch",
        f"{_ratio(tallies, OneBranch, Muster):.2f} ×",
        f"{_per_event(tallies, 'server_cpu_seconds', OneBranch, Muster):.2f} ×",
        f"{_per_event(tallies, 'wal_bytes', OneBranch, Muster):.2f} ×",
    ]
    return f"{sentence}\n\n{table(['ablation', 'time', 'CPU of the server', 'WAL'], [row])}"


def _per_event(tallies: dict[str, Tally], what: str, one: type[Candidate], other: type[Candidate]) -> float:
    """A field of one candidate's tally per event, as a ratio to that of another."""
    ours, theirs = tallies[one.name], tallies[other.name]
    return float(getattr(ours, what) / ours.events) / float(getattr(theirs, what) / theirs.events)


if __name__ == "__main__":
    sys.exit(main())
