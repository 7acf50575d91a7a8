"""What is answered from rollups, compared with the same from the events, for random histories of a project."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.metrics.models import Metrics
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to

FIRST = datetime(2015, 3, 25, tzinfo=UTC)
DAYS = 9
# Where a day has 23 hours among those, where all have 24, and where the offset is no whole hour.
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata"]
SESSIONS = [uuid.UUID(int=number) for number in range(1, 6)]
USERS = [None, "ada", "bob", "eve"]
PARTICIPANT_TYPES = ["tester", "control"]
TYPES, AREAS, COLOURS = ["view", "click"], ["shop", "home"], [None, "red", ""]

Connection = psycopg.Connection[Any]
INSERT = (
    "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, event_type, "
    "area, data) VALUES (%s, %s, %s, %s, gen_random_uuid(), %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)


@dataclass
class World:
    """A project under change, a writer who may have a transaction open, and all that was ever written."""

    connection: Connection
    writer: Connection
    project: uuid.UUID
    written: list[tuple[Any, ...]] = field(default_factory=list)


Step = Callable[[World], None]

moments = st.builds(
    lambda day, minute: FIRST + timedelta(days=day, minutes=minute),
    st.integers(0, DAYS - 1),
    st.sampled_from([0, 1, 60, 719, 1320, 1380, 1439]) | st.integers(0, 1439),
)
events = st.tuples(
    st.sampled_from(SESSIONS),
    st.uuids(version=4),
    moments,
    st.sampled_from(USERS),
    st.sampled_from(TYPES),
    st.sampled_from(AREAS),
    st.sampled_from(COLOURS).map(lambda colour: json.dumps({} if colour is None else {"colour": colour})),
)
batches = st.lists(events, min_size=1, max_size=12)


def insert(connection: Connection, world: World, batch: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [(world.project, *event) for event in batch])
    world.written += batch


def write(batch: list[tuple[Any, ...]]) -> Step:
    return lambda world: insert(world.connection, world, batch)


def begin(batch: list[tuple[Any, ...]]) -> Step:
    """Write in a transaction that stays open, and that what commits meanwhile overtakes."""
    return lambda world: insert(world.writer, world, batch)


def end(*, commits: bool) -> Step:
    return lambda world: world.writer.commit() if commits else world.writer.rollback()


def replay(places: list[int]) -> Step:
    """Send again what was sent: some of it is there, some was deleted or rolled back."""

    def step(world: World) -> None:
        again = [world.written[place % len(world.written)] for place in places if world.written]
        # A transaction that is open may hold the same event: then we would wait for ourselves.
        if world.writer.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            insert(world.connection, world, again)

    return step


def fold(most: int) -> Step:
    return lambda world: call(world, "SELECT muster.roll_up(%s, %s)", world.project, most)


def delete(sessions: list[uuid.UUID], user: str | None) -> Step:
    return lambda world: call(world, "SELECT muster.delete_events(%s, %s, %s)", world.project, sessions, user)


def claim(session: uuid.UUID, user: str) -> Step:
    """As a session does whose user becomes known, where the project wants its earlier events to be the user's."""

    def step(world: World) -> None:
        call(world, "SELECT muster.claim_session(%s, %s, %s)", world.project, session, user)

    return step


def own(session: uuid.UUID, user: str | None) -> Step:
    """A session is known, and whose it is; it lasts as long as events can be."""
    return lambda world: call(
        world,
        "INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (project_id, id) DO UPDATE SET"
        " user_id = coalesce(s.user_id, excluded.user_id)",
        world.project,
        session,
        user,
        FIRST - timedelta(days=1),
        FIRST + timedelta(days=DAYS + 1),
    )


def redeem(participant_type: str, user: str | None, session: uuid.UUID | None) -> Step:
    """A token is issued and redeemed, whatever has happened until now and is folded of it."""
    return lambda world: call(
        world,
        "WITH token AS (INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type)"
        " VALUES (%s, sha256(gen_random_uuid()::text::bytea), 'mp_', %s) RETURNING *)"
        " INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id)"
        " SELECT project_id, id, participant_type, %s, %s FROM token",
        world.project,
        participant_type,
        user,
        session,
    )


def change(zone: str, keys: list[str]) -> Step:
    return lambda world: call(
        world, "UPDATE muster.projects SET time_zone = %s, rollup_keys = %s WHERE id = %s", zone, keys, world.project
    )


def restore(number: int) -> Step:
    """As if from a dump: the server is another, and so are its transactions' numbers; a reader comes by at once."""

    def step(world: World) -> None:
        call(world, "UPDATE muster.analytics_events SET xid = %s WHERE project_id = %s", number, world.project)
        call(world, "UPDATE muster.rollup_state SET system_identifier = 1 WHERE project_id = %s", world.project)

    return step


def call(world: World, statement: str, *values: Any) -> None:
    world.connection.execute(statement.encode(), values)


often = st.one_of(
    batches.map(write),
    batches.map(begin),
    st.sampled_from([True, True, False]).map(lambda commits: end(commits=commits)),
    st.sampled_from([1, 5, 1000]).map(fold),
    st.just(1000).map(fold),
)
seldom = st.one_of(
    st.lists(st.integers(0, 100), min_size=1, max_size=5).map(replay),
    st.builds(delete, st.lists(st.sampled_from(SESSIONS), min_size=1, max_size=5), st.sampled_from(USERS)),
    st.builds(claim, st.sampled_from(SESSIONS), st.sampled_from(["ada", "bob"])),
    st.builds(change, st.sampled_from(ZONES), st.sampled_from([[], ["colour"]])),
    st.sampled_from([3, 2**40]).map(restore),
)
pilot = st.one_of(
    st.builds(own, st.sampled_from(SESSIONS), st.sampled_from(USERS)),
    st.builds(redeem, st.sampled_from(PARTICIPANT_TYPES), st.sampled_from(USERS), st.sampled_from(SESSIONS)),
    st.builds(redeem, st.sampled_from(PARTICIPANT_TYPES), st.sampled_from(USERS[1:]), st.none()),
)
steps = st.one_of(often, often, often, pilot, seldom)


@st.composite
def requests(draw: st.DrawFn) -> MetricsRequest:
    zone = draw(st.sampled_from(ZONES))
    days = st.integers(-1, DAYS + 1).map(
        lambda day: (FIRST + timedelta(days=day)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    )
    start, stop = sorted(draw(st.lists(st.one_of(days, days, moments), min_size=2, max_size=2, unique=True)))
    filters: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {},
                {},
                {"eventType": ("view",)},
                {"area": ("home",)},
                {"data": {"colour": ("red",)}},
                {"userId": ("ada",)},
                {"userId": ("ada", "bob"), "area": ("home",)},
                {"eventType": ("view", "click")},
                {"participantType": ("tester",)},
                {"participantType": ("tester", "control"), "area": ("home",)},
            ]
        )
    )
    return MetricsRequest(
        timeframe=None,
        start=start,
        end=stop,
        timezone=zone,
        granularity=draw(st.sampled_from(["hour", "day", "day", "week", "month"])),
        breakdown=draw(
            st.sampled_from([None, None, "area", "participantType"])
            if filters
            else st.sampled_from(
                [None, "eventType", "area", "userId", "participantType", "participantType", "data.colour"]
            )
        ),
        limit=draw(st.sampled_from([1, 100])),
        filters=filters,
    )


def prepare(connection: Connection) -> None:
    """Make a few events a long session, and plan each statement once: the histories repeat the same ones."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION muster.long_session() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 6'"
    )
    connection.execute("SET jit = off")  # as the functions' connections do
    connection.execute("SET plan_cache_mode = force_generic_plan")


@pytest.fixture(scope="module")
def connections(postgres: Cluster) -> Iterator[tuple[Connection, Connection]]:
    with (
        postgres.database() as url,
        psycopg.connect(url, autocommit=True) as connection,
        psycopg.connect(url) as writer,
    ):
        prepare(connection)
        yield connection, writer


def comparable(answer: Metrics) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(answer)
    del found["asOf"], found["explain"]["source"], found["explain"]["hint"]
    for totals in (found["totals"], found["previous"]):
        totals["averageSessionSeconds"] = round(totals["averageSessionSeconds"], 6)
        totals["bounceRate"] = round(totals["bounceRate"], 9)
    return found


@settings(max_examples=400, deadline=None)
@given(history=st.lists(steps, min_size=8, max_size=30), asked=st.lists(requests(), min_size=2, max_size=3))
def test_rollups_give_the_same_metrics_as_events(
    connections: tuple[Connection, Connection], history: list[Step], asked: list[MetricsRequest]
) -> None:
    answer_alike(connections, history, asked)


@settings(max_examples=200, deadline=None)
@given(
    history=st.lists(st.one_of(often, often, often, pilot), min_size=8, max_size=30),
    asked=st.lists(
        requests().map(
            lambda request: replace(
                request,
                filters={},
                breakdown="participantType",
            )
        ),
        min_size=2,
        max_size=3,
    ),
)
def test_participant_metrics_are_the_same_from_rollups_and_events(
    connections: tuple[Connection, Connection], history: list[Step], asked: list[MetricsRequest]
) -> None:
    answer_alike(connections, history, asked)


def answer_alike(connections: tuple[Connection, Connection], history: list[Step], asked: list[MetricsRequest]) -> None:
    connection, writer = connections
    world = World(connection, writer, create_project(connection, str(uuid.uuid4())))
    try:
        for step in history:
            step(world)
        for request in asked:
            rolled = get_metrics(connection, access_to(world.project), request)
            assert comparable(rolled) == comparable(get_raw_metrics(connection, access_to(world.project), request))
    finally:
        writer.rollback()
