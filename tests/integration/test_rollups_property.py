"""Metrics from rollups equal metrics from events, for random histories of a project."""

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
class State:
    """A changing project, a second connection that can hold a transaction open, and all events written so far."""

    connection: Connection
    writer: Connection
    project: uuid.UUID
    written: list[tuple[Any, ...]] = field(default_factory=list)


Step = Callable[[State], None]

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


def insert(connection: Connection, state: State, batch: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [(state.project, *event) for event in batch])
    state.written += batch


def write(batch: list[tuple[Any, ...]]) -> Step:
    return lambda state: insert(state.connection, state, batch)


def begin(batch: list[tuple[Any, ...]]) -> Step:
    """Write in a transaction that stays open while other transactions commit."""
    return lambda state: insert(state.writer, state, batch)


def end(*, commits: bool) -> Step:
    return lambda state: state.writer.commit() if commits else state.writer.rollback()


def replay(places: list[int]) -> Step:
    """Send earlier events again: some are stored, some were deleted or rolled back."""

    def step(state: State) -> None:
        again = [state.written[place % len(state.written)] for place in places if state.written]
        # A transaction that is open may hold the same event: then we would wait for ourselves.
        if state.writer.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            insert(state.connection, state, again)

    return step


def roll_up(most: int) -> Step:
    return lambda state: call(state, "SELECT muster.roll_up(%s, %s)", state.project, most)


def delete(sessions: list[uuid.UUID], user: str | None) -> Step:
    return lambda state: call(state, "SELECT muster.delete_events(%s, %s, %s)", state.project, sessions, user)


def claim(session: uuid.UUID, user: str) -> Step:
    """Identify a session in a project that assigns its earlier events to the user."""

    def step(state: State) -> None:
        call(state, "SELECT muster.claim_session(%s, %s, %s)", state.project, session, user)

    return step


def own(session: uuid.UUID, user: str | None) -> Step:
    """Store a session that covers all possible event times, with its user."""
    return lambda state: call(
        state,
        "INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (project_id, id) DO UPDATE SET"
        " user_id = coalesce(s.user_id, excluded.user_id)",
        state.project,
        session,
        user,
        FIRST - timedelta(days=1),
        FIRST + timedelta(days=DAYS + 1),
    )


def redeem(participant_type: str, user: str | None, session: uuid.UUID | None) -> Step:
    """Issue and redeem a token at any point of the history."""
    return lambda state: call(
        state,
        "WITH token AS (INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type)"
        " VALUES (%s, sha256(gen_random_uuid()::text::bytea), 'mp_', %s) RETURNING *)"
        " INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id)"
        " SELECT project_id, id, participant_type, %s, %s FROM token",
        state.project,
        participant_type,
        user,
        session,
    )


def change(zone: str, keys: list[str]) -> Step:
    return lambda state: call(
        state, "UPDATE muster.projects SET time_zone = %s, rollup_keys = %s WHERE id = %s", zone, keys, state.project
    )


def restore(number: int) -> Step:
    """Restore a dump on another server, which has other transaction numbers."""

    def step(state: State) -> None:
        call(state, "UPDATE muster.analytics_events SET xid = %s WHERE project_id = %s", number, state.project)
        call(state, "UPDATE muster.rollup_state SET system_identifier = 1 WHERE project_id = %s", state.project)

    return step


def call(state: State, statement: str, *values: Any) -> None:
    state.connection.execute(statement.encode(), values)


often = st.one_of(
    batches.map(write),
    batches.map(begin),
    st.sampled_from([True, True, False]).map(lambda commits: end(commits=commits)),
    st.sampled_from([1, 5, 1000]).map(roll_up),
    st.just(1000).map(roll_up),
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
    state = State(connection, writer, create_project(connection, str(uuid.uuid4())))
    try:
        for step in history:
            step(state)
        for request in asked:
            rolled = get_metrics(connection, access_to(state.project), request)
            assert comparable(rolled) == comparable(get_raw_metrics(connection, access_to(state.project), request))
    finally:
        writer.rollback()
