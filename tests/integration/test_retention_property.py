"""Metrics from rollups equal metrics from the remaining events while data retention deletes days."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.projects.projects import create_project
from tests.integration.test_rollups_property import (
    DAYS,
    FIRST,
    Connection,
    State,
    Step,
    call,
    comparable,
    often,
    prepare,
    requests,
    seldom,
)
from tests.support.databases import Cluster, access_to


def make_months(connection: Connection) -> None:
    """Create the partitions of all events again where they were dropped."""
    connection.execute("SELECT muster.ensure_partitions(%s, %s)", [FIRST.date(), (FIRST + timedelta(days=DAYS)).date()])


@pytest.fixture(scope="module")
def connections(postgres: Cluster) -> Iterator[tuple[Connection, Connection]]:
    with (
        postgres.database() as url,
        psycopg.connect(url, autocommit=True) as connection,
        psycopg.connect(url) as writer,
    ):
        prepare(connection)
        make_months(connection)
        yield connection, writer


def keep(state: State, kept_from: datetime) -> None:
    """Set the data retention so that events from that day on are stored."""
    age = datetime.now(UTC) - kept_from
    call(state, "UPDATE muster.projects SET retention_days = %s WHERE id = %s", age.days, state.project)


def expire(day: int) -> Step:
    """Delete the days before a day, as one maintenance step does."""

    def step(state: State) -> None:
        kept_from = FIRST + timedelta(days=day)
        keep(state, kept_from)
        call(state, "SELECT muster.expire_events(%s, %s)", state.project, kept_from.date())
        assert_kept(state)

    return step


def drop(day: int) -> Step:
    """Delete the same days by dropping partitions."""

    def step(state: State) -> None:
        if state.writer.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return  # it would have to wait for us
        kept_from = FIRST + timedelta(days=day)
        keep(state, kept_from)
        before = count(state)
        try:
            (deleted,) = state.connection.execute(
                "SELECT coalesce(sum(events), 0) FROM muster.expired_partitions() x, muster.expire_partition(x.name)"
            ).fetchone() or (0,)
        except psycopg.errors.LockNotAvailable:
            deleted = 0  # autovacuum holds the default partition, which a drop locks too
        assert count(state) == before - deleted
        assert_kept(state)
        make_months(state.connection)

    return step


def count(state: State) -> int:
    row = state.connection.execute(
        "SELECT count(*) FROM muster.analytics_events WHERE project_id = %s", [state.project]
    ).fetchone()
    return int(row[0]) if row else 0


def assert_kept(state: State) -> None:
    """Compare the totals from rollups with those from events at this commit."""
    request = MetricsRequest(
        timeframe=None, start=FIRST, end=FIRST + timedelta(days=DAYS + 1), granularity="day", breakdown="eventType"
    )
    assert comparable(get_metrics(state.connection, access_to(state.project), request)) == comparable(
        get_raw_metrics(state.connection, access_to(state.project), request)
    )


def assert_users(state: State) -> None:
    """Compare the rolled-up user activity with what the remaining events give."""
    state.writer.rollback()
    call(state, "SELECT muster.roll_up(%s, 100000)", state.project)
    days = (
        "SELECT user_id, day, events, first_at, value_ids, last_days FROM muster.rollup_user_days WHERE project_id = %s"
    )
    of_users = (
        "WITH day AS (SELECT e.user_id, muster.day_of(e.occurred_at, s.time_zone) AS day, e.occurred_at"
        " FROM muster.analytics_events e JOIN muster.rollup_state s USING (project_id)"
        " WHERE e.project_id = %s AND e.user_id IS NOT NULL)"
        " SELECT d.user_id, d.day, count(*), (SELECT min(f.occurred_at) FROM day f WHERE f.user_id = d.user_id)"
        " FROM day d GROUP BY d.user_id, d.day"
    )
    rolled_up = state.connection.execute(days.encode(), [state.project]).fetchall()
    events = state.connection.execute(of_users.encode(), [state.project]).fetchall()
    assert sorted(row[:4] for row in rolled_up) == sorted(events)
    oldest = min((row[1] for row in rolled_up), default=None)
    assert all(last_day >= oldest for row in rolled_up for last_day in row[5])


steps = st.one_of(
    often,
    often,
    often,
    seldom,
    st.integers(0, DAYS + 1).map(expire),
    st.integers(0, DAYS + 1).map(drop),
)


@settings(max_examples=300, deadline=None)
@given(history=st.lists(steps, min_size=8, max_size=30), asked=st.lists(requests(), min_size=1, max_size=2))
def test_rollups_give_the_metrics_of_the_remaining_events(
    connections: tuple[Connection, Connection], history: list[Step], asked: list[MetricsRequest]
) -> None:
    connection, writer = connections
    state = State(connection, writer, create_project(connection, str(uuid.uuid4())))
    try:
        for step in history:
            step(state)
        for request in asked:
            rolled = get_metrics(connection, access_to(state.project), request)
            assert comparable(rolled) == comparable(get_raw_metrics(connection, access_to(state.project), request))
        assert_users(state)
    finally:
        writer.rollback()
        call(state, "DELETE FROM muster.analytics_events WHERE project_id = %s", state.project)
        call(state, "UPDATE muster.projects SET retention_days = NULL WHERE id = %s", state.project)
