"""`make bench-metrics`: compares metrics with plain SQL on the same events with an index, as a project grows."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import orjson
import psycopg
from psycopg.types.json import set_json_loads

from benchmarks.candidates import Muster
from benchmarks.history import seed
from benchmarks.machine import describe
from benchmarks.parallel import SIZE, writing
from benchmarks.report import DOCS, draw_bars, table, write_section
from benchmarks.target import Target, own_target
from muster.auth.keys import Access
from muster.http.request import Request
from muster.metrics.cohorts import get_retention
from muster.metrics.events import get_recent_events
from muster.metrics.funnel import get_funnel, parse_funnel_request
from muster.metrics.overview import get_metrics
from muster.metrics.request import parse_events_request, parse_metrics_request, parse_retention_request
from muster.metrics.sessions import get_recent_sessions
from muster.metrics.user_profile import get_user

Connection = psycopg.Connection[Any]
Work = Callable[[Connection], object]

SIZES = (100_000, 1_000_000, 10_000_000)
WRITERS, EVENTS_PER_SECOND = 4, 2_000
# The goals: growth from the smallest to the largest size, and the speed compared with plain SQL at the largest.
MAX_GROWTH, MIN_SPEEDUP = 1.3, {"overview, a month": 100, "overview, a year": 50}
MONTH = "overview, a month"
OVERVIEWS = {MONTH: 30, "overview, a year": 365}
# The queries of a dashboard on plain tables: totals, those of the previous range, a series by day, the top ten.
PLAIN = (
    "SELECT count(*), count(DISTINCT user_id), count(DISTINCT session_id) FROM muster.analytics_events "
    "WHERE project_id = %(project)s AND occurred_at >= %(start)s AND occurred_at < %(end)s",
    "SELECT count(*), count(DISTINCT user_id), count(DISTINCT session_id) FROM muster.analytics_events "
    "WHERE project_id = %(project)s AND occurred_at >= %(before)s AND occurred_at < %(start)s",
    "SELECT date_trunc('day', occurred_at, 'UTC'), count(*), count(DISTINCT user_id), count(DISTINCT session_id) "
    "FROM muster.analytics_events WHERE project_id = %(project)s AND occurred_at >= %(start)s AND occurred_at < %(end)s"
    " GROUP BY 1 ORDER BY 1",
    "SELECT event_type, count(*), count(DISTINCT user_id), count(DISTINCT session_id) FROM muster.analytics_events "
    "WHERE project_id = %(project)s AND occurred_at >= %(start)s AND occurred_at < %(end)s "
    "GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each request")
    parser.add_argument("--events", type=int, nargs="*", default=list(SIZES), help="sizes of the project, in events")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of benchmarks.md")
    options = parser.parse_args(arguments)
    ours: dict[int, dict[str, list[float]]] = {}
    plain: dict[int, dict[str, list[float]]] = {}
    busy: dict[int, dict[str, list[float]]] = {}
    machine = ""
    for events in options.events:
        with own_target() as target, target.connect() as server:
            machine = describe(server)
            _seed(server, target, events)
            with _copy_with_index(target) as raw_url:
                ours[events], plain[events] = _measure(target, raw_url, options.rounds)
            busy[events] = _measure_busy(target, options.rounds)
    body, missed = _report(options.output, machine, ours, plain, busy)
    write_section(options.output, "bench-metrics", "Metrics (`make bench-metrics`)", body)
    print(body)
    for sentence in missed:
        print(f"Goal missed: {sentence}")
    return 0


def _seed(server: Connection, target: Target, events: int) -> None:
    for done in seed(server, target.project_id, events):
        if sys.stdout.isatty() or done.events % 1_000_000 < 45_000:
            print(
                f"  {done.events:,} of {events:,} events stored. Roll-ups took "
                f"{done.rollup_seconds / done.seconds:.0%} of the time.",
                flush=True,
            )
    server.execute("VACUUM ANALYZE")
    # Maintenance does this every hour.
    server.execute("SELECT muster.summarize_partitions()")


@contextmanager
def _copy_with_index(target: Target) -> Iterator[str]:
    """A copy of the database with the index that plain SQL needs. Yields its URL."""
    name = urlsplit(target.url).path.removeprefix("/")
    maintenance, raw = (urlunsplit(urlsplit(target.url)._replace(path=path)) for path in ("/postgres", "/plain"))
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name])
        connection.execute(f'CREATE DATABASE plain TEMPLATE "{name}" STRATEGY file_copy'.encode())
    with psycopg.connect(raw, autocommit=True) as connection:
        connection.execute("CREATE INDEX ON muster.analytics_events (project_id, occurred_at)")
        connection.execute("VACUUM ANALYZE muster.analytics_events")
    yield raw


def _measure(target: Target, raw_url: str, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    routes, plain = _routes(target), _plain(target)
    ours: dict[str, list[float]] = {name: [] for name in routes}
    theirs: dict[str, list[float]] = {name: [] for name in plain}
    with (
        psycopg.connect(target.url, autocommit=True, prepare_threshold=None) as connection,
        psycopg.connect(raw_url, autocommit=True, prepare_threshold=None) as raw,
    ):
        set_json_loads(orjson.loads, connection)
        connection.execute("SET ROLE muster_reader")
        for number in range(rounds + 1):
            for name, work in routes.items():
                _time(ours[name], work, connection, warm=number == 0)
            if number < 4:  # they are slow, and their times vary little
                for name, work in plain.items():
                    _time(theirs[name], work, raw, warm=number == 0)
    for name in OVERVIEWS:
        print(f"  {name}: {_median(theirs[name]) / _median(ours[name]):.0f} times as fast as plain SQL.", flush=True)
    return ours, theirs


def _measure_busy(target: Target, rounds: int) -> dict[str, list[float]]:
    """Measure the routes while writers store events in the same project."""
    routes = _routes(target)
    ours: dict[str, list[float]] = {name: [] for name in routes}
    with (
        psycopg.connect(target.url, autocommit=True, prepare_threshold=None) as connection,
        writing(target, Muster, WRITERS, batches_per_second=EVENTS_PER_SECOND / WRITERS / SIZE),
    ):
        set_json_loads(orjson.loads, connection)
        connection.execute("SET ROLE muster_reader")
        for number in range(rounds + 1):
            for name, work in routes.items():
                _time(ours[name], work, connection, warm=number == 0)
    return ours


def _time(times: list[float], work: Work, connection: Connection, *, warm: bool) -> None:
    started = time.perf_counter()
    work(connection)
    if not warm:
        times.append(time.perf_counter() - started)


def _routes(target: Target) -> dict[str, Work]:
    access, today = Access(found_project_id=target.project_id), datetime.now(UTC).date()

    def metrics(**query: str) -> Work:
        request = parse_metrics_request(_request(query))
        return lambda connection: get_metrics(connection, access, request)

    def days(count: int) -> dict[str, str]:
        return {"start": str(today - timedelta(days=count)), "end": str(today)}

    month, latest = days(30), parse_events_request(_request({}))
    steps = [{"eventType": name} for name in ("page_view", "search", "quiz_answer")]
    funnel = parse_funnel_request(_request({}, json.dumps({"steps": steps, "by": "session", **month})))
    retention = parse_retention_request(_request(month))
    return {
        **{name: metrics(breakdown="eventType", limit="10", **days(count)) for name, count in OVERVIEWS.items()},
        "one event type, a month": metrics(eventType="page_view", **month),
        "by user, a month": metrics(breakdown="userId", limit="10", **month),
        "the last 24 hours": metrics(timeframe="day"),
        "one user, a month": metrics(userId="user-0000020", **month),
        "latest events": lambda connection: get_recent_events(connection, access, latest),
        "latest sessions": lambda connection: get_recent_sessions(connection, access, latest),
        "funnel, a month": lambda connection: get_funnel(connection, access, funnel),
        "retention, a month": lambda connection: get_retention(connection, access, retention),
        "a user's summary": lambda connection: get_user(connection, access, "user-0000020"),
    }


def _request(query: Mapping[str, str], body: str | None = None) -> Request:
    http = {"requestContext": {"http": {"method": "GET"}}, "rawPath": "/"}
    return Request({**http, "rawQueryString": urlencode(query), "body": body}, "benchmark")


def _plain(target: Target) -> dict[str, Work]:
    today = datetime.now(UTC).date()

    def ask(days: int) -> Work:
        values = {
            "project": target.project_id,
            "before": _midnight(today - timedelta(days=2 * days)),
            "start": _midnight(today - timedelta(days=days)),
            "end": _midnight(today),
        }
        return lambda connection: [connection.execute(statement, values).fetchall() for statement in PLAIN]

    return {name: ask(days) for name, days in OVERVIEWS.items()}


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _median(times: Sequence[float]) -> float:
    return statistics.median(times)


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def _report(
    folder: Path,
    machine: str,
    ours: Mapping[int, dict[str, list[float]]],
    plain: Mapping[int, dict[str, list[float]]],
    busy: Mapping[int, dict[str, list[float]]],
) -> tuple[str, list[str]]:
    sizes = list(ours)
    smallest, largest = ours[sizes[0]], ours[sizes[-1]]
    head = ["request", *(f"{size:,} events" for size in sizes), "p95 / median", "while writing"]
    rows = [
        [
            name,
            *(f"{_median(ours[size][name]) / _median(smallest[name]):.2f}" for size in sizes),
            f"{_p95(largest[name]) / _median(largest[name]):.2f}",
            f"{_median(busy[sizes[-1]][name]) / _median(largest[name]):.2f}",
        ]
        for name in smallest
    ]
    speedups = [
        [name, *(f"{_median(plain[size][name]) / _median(ours[size][name]):.0f}" for size in sizes)]
        for name in OVERVIEWS
    ]
    chart = draw_bars(
        folder,
        "metrics",
        "Time of plain SQL / time of Muster",
        [f"{size:,} events" for size in sizes],
        {name: [_median(plain[size][name]) / _median(ours[size][name]) for size in sizes] for name in OVERVIEWS},
        "times as long",
    )
    growth = _median(largest[MONTH]) / _median(smallest[MONTH])
    times = {name: _median(plain[sizes[-1]][name]) / _median(largest[name]) for name in OVERVIEWS}
    missed = [
        *([f"An overview of a month takes {growth:.2f} × its time at the smallest size. The goal is {MAX_GROWTH} ×."]
          if growth > MAX_GROWTH else []),
        *(f"{name}: {each:.0f} times as fast as plain SQL. The goal is {MIN_SPEEDUP[name]}."
          for name, each in times.items() if each < MIN_SPEEDUP[name] and sizes[-1] == SIZES[-1]),
    ]  # fmt: skip
    text = "\n\n".join(
        [
            f"{machine}. A made-up project of two years, with the usual mix of sessions, users and event types. "
            "Figures are ratios of medians. An overview has totals, those of the previous range, a series by day and "
            "the top ten event types. Plain SQL is four statements for the same numbers, on the same partitions with "
            "a btree index on project and time.",
            "How many times as long plain SQL takes for the same overview:",
            table(["request", *(f"{size:,} events" for size in sizes)], speedups),
            chart,
            "How the time of each request grows, as a ratio to its time at the smallest size. A month of the largest "
            "size has a hundred times the events of the smallest. The last column is the median at the largest size "
            f"while {WRITERS} writers store {EVENTS_PER_SECOND:,} events per second in the same project on the same "
            "two processors, as a ratio to the median without them:",
            table(head, rows),
            *(f"Goal missed: {sentence}" for sentence in missed),
        ]
    )
    return text, missed


if __name__ == "__main__":
    sys.exit(main())
