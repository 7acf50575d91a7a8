"""Roll-ups of events that no client sends: a dump from another server, and one large transaction."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from muster.db.client import connect
from muster.maintenance.hourly import maintain
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest, parse_metrics_request
from muster.metrics.rollups import roll_up
from muster.platform.settings import Settings
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to
from tests.support.requests import a_request

MONTH = MetricsRequest(timeframe="month", breakdown="eventType")
INSERT = (
    "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, area)"
    " SELECT %s, md5((n / 10)::text)::uuid, gen_random_uuid(), now() - n * interval '1 second', gen_random_uuid(), "
    "'user-' || n %% 7, 'a', 'b' FROM generate_series(1, %s) n"
)


@pytest.fixture
def database(postgres: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def unrolled_count(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM muster.analytics_events e, muster.rollup_state s WHERE e.xid >= s.watermark"
    ).fetchone()
    return int(row[0]) if row else 0


def assert_exact(connection: psycopg.Connection[Any], project: uuid.UUID, events: int) -> None:
    access = access_to(project)
    rolled, raw = get_metrics(connection, access, MONTH), get_raw_metrics(connection, access, MONTH)
    assert rolled.explain.source == "rollups"
    assert rolled.totals.events == events
    assert (rolled.totals, rolled.series, rolled.breakdown) == (raw.totals, raw.series, raw.breakdown)


def test_events_from_another_server_do_not_stay_unrolled(database: psycopg.Connection[Any]) -> None:
    project = create_project(database, "restored")
    database.execute(INSERT, (project, 3_000))
    roll_up(database, project, 10_000)
    assert unrolled_count(database) == 0
    database.execute("UPDATE muster.analytics_events SET xid = xid + 1000000000000")
    database.execute("UPDATE muster.rollup_state SET system_identifier = 1")
    for _ in range(2):
        roll_up(database, project, 10_000)
    assert unrolled_count(database) == 0
    assert_exact(database, project, 3_000)


def test_a_large_transaction_is_rolled_up_in_parts(database: psycopg.Connection[Any]) -> None:
    project, events = create_project(database, "loaded"), 60_000
    roll_up(database, project, 10_000)
    database.execute(INSERT, (project, events))
    assert roll_up(database, project, 100_000_000) == (0, False)
    rolled_up, complete = roll_up(database, project, 20_000)
    assert (20_000 <= rolled_up < events, complete) == (True, False)
    assert get_metrics(database, access_to(project), MONTH).totals.events == events
    assert roll_up(database, project, 100_000_000)[1]
    assert_exact(database, project, events)


def test_finding_new_events_reads_no_past_month(database: psycopg.Connection[Any]) -> None:
    project = create_project(database, "of a past month")
    database.execute("SELECT muster.ensure_partitions((now() - interval '4 months')::date, now()::date)")
    # Of so many pages that an index's last range of them is not a whole one.
    database.execute(
        "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type,"
        " area) SELECT %s, gen_random_uuid(), gen_random_uuid(), date_trunc('month', now()) - interval '80 days',"
        " gen_random_uuid(), 'ada', 'a', 'b' FROM generate_series(1, 12000)",
        [project],
    )
    while not roll_up(database, project, 20_000)[1]:
        pass
    database.execute("VACUUM ANALYZE muster.analytics_events")
    before = pages_looked_at(database, project)
    assert maintain(database, Settings())["rangesSummarized"] > 0
    assert pages_looked_at(database, project) < before - 50
    assert maintain(database, Settings())["rangesSummarized"] == 0


def pages_looked_at(connection: psycopg.Connection[Any], project: uuid.UUID) -> int:
    statement = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*) FROM muster.unrolled_events(%s, %s)"
    plan: dict[str, Any] = {}
    for _ in range(2):  # the first time it is planned
        row = connection.execute(statement, (project, 2**62)).fetchone()
        plan = row[0][0]["Plan"] if row else {}
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_a_count_that_takes_too_long_is_partial_and_says_so(database: psycopg.Connection[Any]) -> None:
    project = create_project(database, "of three months")
    database.execute("SELECT muster.ensure_partitions((now() - interval '4 months')::date, now()::date)")
    for months in range(3):
        database.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, event_type, area) "
            "SELECT %s, gen_random_uuid(), gen_random_uuid(), date_trunc('month', now(), 'UTC') - make_interval("
            "months => %s), gen_random_uuid(), 'a', 'b' FROM generate_series(1, 5)",
            (project, months),
        )
    roll_up(database, project, 10_000)
    day = {"start": ["2026-01-01"], "end": ["2026-01-02"], "area": ["b"]}
    seen, unseen = (parse_metrics_request(a_request({**day, "eventType": name})) for name in ("a", "z"))
    explain = get_metrics(database, access_to(project), seen).explain
    assert (explain.rows_outside_range, explain.rows_outside_range_is_exact) == (15, True)
    found = database.execute("SELECT pg_get_functiondef('muster.count_rolled_up_events'::regproc)").fetchone()
    assert found is not None
    assert "0.25 seconds" in str(found[0])
    database.execute(str(found[0]).replace("0.25 seconds", "0 seconds").encode())
    explain = get_metrics(database, access_to(project), seen).explain
    assert (explain.rows_outside_range, explain.rows_outside_range_is_exact) == (5, False)
    assert "at least 5" in explain.hint
    explain = get_metrics(database, access_to(project), unseen).explain
    assert (explain.rows_outside_range, explain.rows_outside_range_is_exact) == (0, False)
    assert "or in the latest months" in explain.hint


def test_metrics_run_without_jit(postgres: Cluster) -> None:
    with postgres.database() as url:
        for role in ("muster_reader", None):
            with connect(Settings(database_url=url, database_role=role)) as connection:
                assert connection.execute("SHOW jit").fetchone() == ("off",)
