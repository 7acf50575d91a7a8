"""The benchmarks run on a small scale and write their sections. The tests do not check the figures."""

import re
import sys
from pathlib import Path

import psycopg
import pytest

from benchmarks.history import seed
from benchmarks.report import write_section
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to
from tests.support.programs import run_program


def run(module: str, folder: Path, *options: str) -> str:
    run_program(module, "--rounds", "1", "--output", str(folder), *options, home=folder)
    return (folder / "benchmarks.md").read_text("utf-8")


def test_each_benchmark_writes_its_own_section(tmp_path: Path) -> None:
    sizes = ("--sizes", "1", "10", "--connections", "1", "--seconds", "0.1")
    run("benchmarks.ingest", tmp_path, "--without-growth", *sizes)
    run("benchmarks.metrics", tmp_path, "--events", "3000", "6000")
    page = run("benchmarks.http", tmp_path, "--clients", "1", "--seconds", "0.2")
    names = ("bench-ingest", "bench-metrics", "bench-http")
    assert [page.count(f"<!-- {name} -->") for name in names] == [1, 1, 1]
    assert re.search(r"^\| 1 +\| +10 events per request \| +0[.]\d+ \|", page, re.MULTILINE)
    assert re.search(r"^\| 10 +\| +\d+%", page, re.MULTILINE)
    assert re.search(r"^\| without the branch +\| +\d+[.]\d\d .", page, re.MULTILINE)
    assert re.search(r"^\| overview, a month +\| +\d+ \|", page, re.MULTILINE)
    for chart in ("ingest", "metrics", "http"):
        assert "<svg" in (tmp_path / "benchmarks" / f"{chart}.svg").read_text("utf-8")


def test_a_section_that_is_written_again_replaces_itself_alone(tmp_path: Path) -> None:
    for name, body in (("one", "alpha"), ("two", "beta"), ("three", "gamma"), ("two", "delta")):
        write_section(tmp_path, name, f"Section {name}", body)
    page = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert [word for word in page.split() if word in ("alpha", "beta", "gamma", "delta")] == [
        "alpha",
        "delta",
        "gamma",
    ]
    assert [page.count(f"<!-- {name} -->") for name in ("one", "two", "three")] == [1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="the emulator in the SAM CLI is a Linux program")
def test_a_cold_start_is_measured_under_the_emulator(tmp_path: Path, build: Path) -> None:
    page = run("benchmarks.cold", tmp_path, "--build", str(build), "--routes", "POST /v1/events", "GET /healthz")
    for row in ("POST /v1/events", "POST /v1/events, with a bad event", "GET /healthz", "the floor: imports"):
        assert re.search(rf"^\| {row}.*\| +\d[.]\d\d . \|", page, re.MULTILINE), page


def test_seeded_history_has_the_reported_size_and_is_rolled_up(postgres: Cluster) -> None:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        project = create_project(connection, "seeded")
        *_, done = seed(connection, project, 5_000)
        row = connection.execute("SELECT count(*), count(DISTINCT session_id) FROM muster.analytics_events").fetchone()
        assert row == (done.events, done.sessions)
        assert abs(done.events - 5_000) < 500
        request = MetricsRequest(timeframe="year")
        access = access_to(project)
        rolled, raw = get_metrics(connection, access, request), get_raw_metrics(connection, access, request)
        assert rolled.explain.source == "rollups"
        assert (rolled.totals, rolled.previous, rolled.series) == (raw.totals, raw.previous, raw.series)
        differing = connection.execute(
            "SELECT count(*) FROM muster.analytics_sessions s WHERE s.events_count <> (SELECT count(*) FROM "
            "muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id)"
        ).fetchone()
        assert differing == (0,)


def test_a_dense_history_has_all_its_events_in_the_given_days(postgres: Cluster) -> None:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        *_, done = seed(connection, create_project(connection, "dense"), 2_000, days=3)
        row = connection.execute(
            "SELECT count(*), count(DISTINCT occurred_at::date) FROM muster.analytics_events "
            "WHERE occurred_at > now() - interval '3 days 4 hours'"
        ).fetchone()
        assert row is not None
        assert row[0] == done.events
        assert 3 <= row[1] <= 5
