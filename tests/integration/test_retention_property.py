"""What is answered from rollups while retention takes days away, compared with what the events that are left say."""

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
    Step,
    World,
    call,
    comparable,
    often,
    prepare,
    requests,
    seldom,
)
from tests.support.databases import Cluster, access_to


def make_months(connection: Connection) -> None:
    """Those of all events: what is dropped of them is made again."""
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


def keep(world: World, kept_from: datetime) -> None:
    """From that moment's day on; a little is given, for the clock goes on."""
    age = datetime.now(UTC) - kept_from
    call(world, "UPDATE muster.projects SET retention_days = %s WHERE id = %s", age.days, world.project)


def expire(day: int) -> Step:
    """Take away the days before one, as a step of maintenance does."""

    def step(world: World) -> None:
        kept_from = FIRST + timedelta(days=day)
        keep(world, kept_from)
        call(world, "SELECT muster.expire_events(%s, %s)", world.project, kept_from.date())
        assert_kept(world)

    return step


def drop(day: int) -> Step:
    """Take away the same, but what partitions can be dropped for."""

    def step(world: World) -> None:
        if world.writer.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return  # it would have to wait for us
        kept_from = FIRST + timedelta(days=day)
        keep(world, kept_from)
        before = count(world)
        try:
            (gone,) = world.connection.execute(
                "SELECT coalesce(sum(events), 0) FROM muster.expired_partitions() x, muster.expire_partition(x.name)"
            ).fetchone() or (0,)
        except psycopg.errors.LockNotAvailable:
            gone = 0  # autovacuum is in the default partition, which a drop needs too: then nothing has changed
        assert count(world) == before - gone
        assert_kept(world)
        make_months(world.connection)

    return step


def count(world: World) -> int:
    row = world.connection.execute(
        "SELECT count(*) FROM muster.analytics_events WHERE project_id = %s", [world.project]
    ).fetchone()
    return int(row[0]) if row else 0


def assert_kept(world: World) -> None:
    """Every total that a dashboard shows is what the events say, at this commit."""
    request = MetricsRequest(
        timeframe=None, start=FIRST, end=FIRST + timedelta(days=DAYS + 1), granularity="day", breakdown="eventType"
    )
    assert comparable(get_metrics(world.connection, access_to(world.project), request)) == comparable(
        get_raw_metrics(world.connection, access_to(world.project), request)
    )


def assert_users(world: World) -> None:
    """What is folded of users is what a fold of the events that are left would hold."""
    world.writer.rollback()
    call(world, "SELECT muster.roll_up(%s, 100000)", world.project)
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
    folded = world.connection.execute(days.encode(), [world.project]).fetchall()
    events = world.connection.execute(of_users.encode(), [world.project]).fetchall()
    assert sorted(row[:4] for row in folded) == sorted(events)
    oldest = min((row[1] for row in folded), default=None)
    assert all(last_day >= oldest for row in folded for last_day in row[5])


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
    world = World(connection, writer, create_project(connection, str(uuid.uuid4())))
    try:
        for step in history:
            step(world)
        for request in asked:
            rolled = get_metrics(connection, access_to(world.project), request)
            assert comparable(rolled) == comparable(get_raw_metrics(connection, access_to(world.project), request))
        assert_users(world)
    finally:
        writer.rollback()
        call(world, "DELETE FROM muster.analytics_events WHERE project_id = %s", world.project)
        call(world, "UPDATE muster.projects SET retention_days = NULL WHERE id = %s", world.project)
