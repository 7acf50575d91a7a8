"""A funnel, compared with trying every path through it."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.metrics.funnel import get_funnel, parse_funnel_request
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to
from tests.support.requests import a_request

START = datetime(2015, 5, 18, tzinfo=UTC)
Event = tuple[str | None, int, str]

# Events at the same time have no order, so a user has one event at a time here.
events = st.lists(
    st.tuples(st.sampled_from([None, "ada", "bob"]), st.integers(0, 12), st.sampled_from("abc")),
    max_size=14,
    unique_by=lambda event: event[:2],
)
steps = st.lists(st.sampled_from("abc"), min_size=2, max_size=4)


@pytest.fixture(scope="module")
def database(postgres: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def furthest(own: list[tuple[int, str]], wanted: list[str], window: int) -> int:
    """The most steps that a user can take, by trying each event for each step, each event once."""

    def go(number: int, since: int, opened: int, used: frozenset[int]) -> int:
        if number == len(wanted):
            return number
        paths = [
            go(number + 1, at, opened if number else at, used | {place})
            for place, (at, kind) in enumerate(own)
            if kind == wanted[number] and place not in used and at >= since and (not number or at <= opened + window)
        ]
        return max(paths, default=number)

    return go(0, 0, 0, frozenset())


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=events, wanted=steps, window=st.integers(1, 10))
def test_a_funnel_counts_the_furthest_step_of_each_user(
    database: psycopg.Connection[Any], happened: list[Event], wanted: list[str], window: int
) -> None:
    body = {"steps": [{"eventType": kind} for kind in wanted], "window": f"PT{window}M", "start": "2015-05-18"}
    with database.transaction(force_rollback=True):
        project = create_project(database, "one")
        with database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id,"
                " event_type, area) VALUES (%s, %s, gen_random_uuid(), %s, gen_random_uuid(), %s, %s, 'x')",
                [(project, uuid.uuid4(), START + timedelta(minutes=at), user, kind) for user, at, kind in happened],
            )
        answer = get_funnel(database, access_to(project), parse_funnel_request(a_request(body=body)))
    reached = [
        furthest([(at, kind) for user, at, kind in happened if user == who], wanted, window) for who in ("ada", "bob")
    ]
    assert [step.count for step in answer.steps] == [
        sum(far > number for far in reached) for number in range(len(wanted))
    ]
