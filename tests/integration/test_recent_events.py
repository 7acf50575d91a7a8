"""Pages of events hold every matching event once, newest first, rolled up or not."""

import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.db.queries import query
from muster.metrics.events import get_recent_events
from muster.metrics.models import SeenSession, StoredEvent
from muster.metrics.request import MetricsRequest, parse_events_request
from muster.metrics.rollups import roll_up
from muster.metrics.sessions import get_recent_sessions
from muster.platform.errors import DatabaseUnavailable
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to
from tests.support.requests import a_request

NOW = datetime.now(UTC).replace(microsecond=0)
FILTERS = st.fixed_dictionaries(
    {"limit": st.sampled_from(["1", "7", "1000"])},
    optional={
        "eventType": st.lists(st.sampled_from(["often", "rare", "never"]), min_size=1, max_size=2, unique=True),
        "area": st.sampled_from([["home"], ["shop"]]),
        "userId": st.sampled_from([["ada"], ["bob"], ["nobody"]]),
        "participantType": st.sampled_from([["tester"], ["tester", "nothing"]]),
        "data.n": st.sampled_from([["1"], ["2"]]),
        "sessionId": st.sampled_from([[str(uuid.UUID(int=3))], [str(uuid.UUID(int=4)), str(uuid.UUID(int=99))]]),
    },
)
PARTICIPANTS = [uuid.UUID(int=3), uuid.UUID(int=5)]
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def connection(postgres: Cluster) -> Iterator[Connection]:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT muster.ensure_partitions((now() - interval '5 months')::date, now()::date)")
        yield connection


def store(connection: Connection, project: uuid.UUID, rng: random.Random, count: int) -> None:
    """Store events of the last 100 days: type "often" on every day, type "rare" on a few."""
    for _ in range(count):
        is_rare = rng.random() < 0.1
        days = rng.choice([3, 40, 41, 99]) if is_rare else rng.random() * 100
        connection.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, "
            "event_type, area, data) VALUES (%s, %s, gen_random_uuid(), %s, gen_random_uuid(), %s, %s, %s, %s)",
            (
                project,
                uuid.UUID(int=rng.randrange(30)),
                NOW - timedelta(days=days, seconds=rng.randrange(3)),
                rng.choice(["ada", "bob", None]),
                "rare" if is_rare else "often",
                rng.choice(["home", "shop"]),
                f'{{"n": {rng.randrange(3)}}}',
            ),
        )


def make_participants(connection: Connection, project: uuid.UUID) -> None:
    """Redeem a token by a session and another by a user who has a session."""
    connection.execute(
        "INSERT INTO muster.analytics_sessions (project_id, id, user_id, started_at, last_seen_at)"
        " SELECT project_id, session_id, CASE WHEN session_id = %s THEN 'eve' END, min(occurred_at), max(occurred_at)"
        " FROM muster.analytics_events WHERE project_id = %s GROUP BY project_id, session_id",
        (PARTICIPANTS[1], project),
    )
    connection.execute(
        "WITH token AS (INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type)"
        " VALUES (%s, sha256(gen_random_uuid()::text::bytea), 'mp_', 'tester') RETURNING *)"
        " INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id)"
        " SELECT project_id, token.id, participant_type, s.user_id, s.session_id"
        " FROM token, (VALUES ('eve', NULL), (NULL, %s::uuid)) s(user_id, session_id)",
        (project, PARTICIPANTS[0]),
    )


def all_pages(connection: Connection, project: uuid.UUID, filters: dict[str, list[str]]) -> list[StoredEvent]:
    found, cursor = list[StoredEvent](), None
    while True:
        page = get_recent_events(connection, access_to(project), page_after(cursor, filters))
        assert len(page.events) <= int(filters["limit"][0])
        found += page.events
        cursor = page.next_cursor
        if cursor is None:
            return found


def all_sessions(connection: Connection, project: uuid.UUID, filters: dict[str, list[str]]) -> list[SeenSession]:
    found, cursor = list[SeenSession](), None
    while True:
        page = get_recent_sessions(connection, access_to(project), page_after(cursor, filters))
        assert len(page.sessions) <= int(filters["limit"][0])
        found += page.sessions
        cursor = page.next_cursor
        if cursor is None:
            return found


def page_after(cursor: str | None, filters: dict[str, list[str]]) -> MetricsRequest:
    return parse_events_request(a_request({**filters, "timeframe": "all", **({"cursor": cursor} if cursor else {})}))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), rolled_up=st.booleans(), late=st.integers(0, 15), filters=FILTERS)
def test_pages_hold_each_matching_event_and_session_once(
    connection: Connection, seed: int, rolled_up: bool, late: int, filters: dict[str, Any]
) -> None:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    project = create_project(connection, str(uuid.uuid4()))
    store(connection, project, rng, 60)
    if rolled_up:
        while not roll_up(connection, project, 1_000)[1]:
            pass
    store(connection, project, rng, late)
    make_participants(connection, project)
    asked = {name: value if isinstance(value, list) else [value] for name, value in filters.items()}
    expected = connection.execute(
        "SELECT id, session_id, occurred_at FROM muster.analytics_events WHERE project_id = %(project)s"
        " AND (%(types)s::text[] IS NULL OR event_type = ANY (%(types)s))"
        " AND (%(areas)s::text[] IS NULL OR area = ANY (%(areas)s))"
        " AND (%(users)s::text[] IS NULL OR user_id = ANY (%(users)s))"
        " AND (%(participants)s::text[] IS NULL OR session_id = ANY (%(sessions)s))"
        " AND (%(n)s::text[] IS NULL OR data ->> 'n' = ANY (%(n)s))"
        " AND (%(named)s::uuid[] IS NULL OR session_id = ANY (%(named)s::uuid[]))"
        " ORDER BY occurred_at DESC, session_id DESC, id DESC",
        {
            "project": project,
            "types": asked.get("eventType"),
            "areas": asked.get("area"),
            "users": asked.get("userId"),
            "n": asked.get("data.n"),
            "named": asked.get("sessionId"),
            "participants": asked.get("participantType"),
            "sessions": PARTICIPANTS,
        },
    ).fetchall()
    assert [event.id for event in all_pages(connection, project, asked)] == [row[0] for row in expected]
    times = dict[uuid.UUID, list[datetime]]()
    for _, session, occurred_at in expected:
        times.setdefault(session, []).append(occurred_at)
    sessions = all_sessions(connection, project, asked)
    found = [(each.session_id, each.last_event_at, each.first_event_at, each.events_in_range) for each in sessions]
    assert found == [(each, when[0], when[-1], len(when)) for each, when in times.items()]
    assert all((each.participant_type == "tester") == (each.session_id in PARTICIPANTS) for each in sessions)


def test_an_unknown_value_is_searched_in_no_day(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    project = create_project(connection, str(uuid.uuid4()))
    rng = random.Random(1)  # noqa: S311 - repeatable, not secret
    store(connection, project, rng, 200)
    asked: list[str] = []

    def noted(name: str) -> bytes:
        asked.append(name)
        return query(name)

    monkeypatch.setattr("muster.metrics.windows.query", noted)

    def looks(event_type: str) -> int:
        asked.clear()
        all_pages(connection, project, {"eventType": [event_type], "limit": ["1000"]})
        return asked.count("metrics/get_recent_events")

    assert looks("never") > 5
    while not roll_up(connection, project, 1_000)[1]:
        pass
    assert looks("never") == 0
    assert 0 < looks("rare") < looks("often")


def test_a_page_over_distant_days_reads_each_day_once(connection: Connection) -> None:
    project = create_project(connection, str(uuid.uuid4()))
    for day in range(0, 140, 2):
        connection.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, event_type, area) "
            "VALUES (%s, %s, gen_random_uuid(), %s, gen_random_uuid(), 'rare', 'home')",
            (project, uuid.UUID(int=1), NOW - timedelta(days=day)),
        )
    while not roll_up(connection, project, 1_000)[1]:
        pass
    assert len(all_pages(connection, project, {"eventType": ["rare"], "limit": ["1000"]})) == 70


@pytest.mark.parametrize("pages", [all_pages, all_sessions])
def test_all_windows_together_share_one_time_limit(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, pages: Callable[..., Any]
) -> None:
    project = create_project(connection, str(uuid.uuid4()))
    store(connection, project, random.Random(1), 50)  # noqa: S311 - repeatable, not secret
    make_participants(connection, project)
    asked = {"data.n": ["7"], "limit": ["10"]}
    monkeypatch.setattr("muster.metrics.windows.BUDGET_SECONDS", 6.0)
    # In a hurry each statement is given what is left, and no longer than for itself.
    assert pages(connection, project, asked) == []
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
    monkeypatch.setattr("muster.metrics.windows.BUDGET_SECONDS", 0.0)
    with pytest.raises(DatabaseUnavailable, match="shorter range"):
        pages(connection, project, asked)
    monkeypatch.setattr("muster.metrics.windows.BUDGET_SECONDS", 0.3)

    def slow(name: str) -> bytes:
        return b"SELECT pg_sleep(60)" if name.startswith("metrics/get_recent_") else query(name)

    monkeypatch.setattr("muster.metrics.windows.query", slow)
    with pytest.raises(psycopg.errors.QueryCanceled):
        pages(connection, project, asked)
    # And the connection is as it was.
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
