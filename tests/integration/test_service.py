"""AnalyticsService from a Python shell, on the real database."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from muster.db.client import Database
from muster.metrics.request import MetricsRequest, parse_metrics_request
from muster.metrics.rollups import roll_up
from muster.platform.errors import DatabaseUnavailable, KeyNotAllowed, ProjectNotChosen, SessionBelongsToAnotherUser
from muster.platform.settings import Settings
from muster.service import AnalyticsService
from tests.support.databases import Cluster, Project, make_project
from tests.support.requests import a_request

SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(Settings(database_url=database_url))
    yield opened
    opened.close()


@pytest.fixture
def service(database: Database, project: Project) -> AnalyticsService:
    return AnalyticsService(database)


def an_event(**fields: object) -> dict[str, object]:
    return {"event_type": "sign_up", "timestamp": datetime.now(UTC), **fields}


def test_saved_events_are_in_metrics_and_counts(service: AnalyticsService) -> None:
    result = service.save_events("ada", SESSION, [an_event(), an_event(area="shop", data={"plan": "pilot"})])
    assert (result["status"], result["accepted"]) == ("committed", 2)
    metrics = service.get_metrics(parse_metrics_request(a_request({"timeframe": "day", "breakdown": "area"})))
    assert (metrics.totals.events, metrics.totals.users) == (2, 1)
    assert {value.value for value in metrics.breakdown} == {"shop", "unknown"}
    diagnostics = service.run_diagnostics()
    assert diagnostics.status == "ok"
    assert diagnostics.tables_exist["analytics_events"] is True
    assert diagnostics.counts["analytics_events"] == 2
    assert [event.event_type for event in service.get_recent_events(MetricsRequest(timeframe="all")).events] == [
        "sign_up"
    ] * 2


@pytest.mark.parametrize("number", [1, 3])
def test_fast_path_events_are_in_the_next_response_after_a_rollup(
    database: Database, project: Project, number: int
) -> None:
    service = AnalyticsService(database, key=project.keys["admin"])
    day = parse_metrics_request(a_request({"timeframe": "day"}))
    for batches in (1, 2):
        stored = service.save_events("ada", SESSION, [an_event(area=f"shop {place}") for place in range(number)])
        assert (stored["accepted"], service.get_metrics(day).totals.events) == (number, batches * number)
        roll_up(database.connection(), project.id, 10_000)
    rows = database.connection().execute(
        "SELECT count(DISTINCT xid), count(DISTINCT batch_id) FROM muster.analytics_events"
    )
    assert rows.fetchone() == (2, 2)


def test_an_invalid_event_is_rejected_alone_and_named(service: AnalyticsService) -> None:
    naive = an_event(timestamp=datetime(2026, 1, 1))
    result = service.save_events(None, uuid.UUID(SESSION), [an_event(), naive, an_event(data={"x": float("nan")})])
    assert [event["status"] for event in result["events"]] == ["accepted", "rejected", "rejected"]
    assert [event["details"][0]["loc"] for event in result["events"][1:]] == [
        ["events", 1, "timestamp"],
        ["events", 2, "data", "x"],
    ]


def test_values_without_a_json_type_are_refused_before_storing(service: AnalyticsService) -> None:
    with pytest.raises(TypeError, match="set"):
        service.save_events(None, SESSION, [an_event(data={"x": {1, 2}})])


def test_a_session_is_updated_and_keeps_its_user(service: AnalyticsService) -> None:
    assert service.update_session(SESSION, None).created is True
    assert service.update_session(SESSION, "ada").user_id == "ada"
    with pytest.raises(SessionBelongsToAnotherUser):
        service.update_session(SESSION, "bob")


def test_a_key_selects_its_project(database: Database, project: Project, database_url: str) -> None:
    other = make_project(database_url, "other")
    AnalyticsService(database, key=project.keys["write"]).save_events("ada", SESSION, [an_event()])
    counts = [
        AnalyticsService(database, key=keys["read"]).get_metrics(MetricsRequest()).totals.events
        for keys in (project.keys, other.keys)
    ]
    assert counts == [1, 0]
    with pytest.raises(KeyNotAllowed):
        AnalyticsService(database, key=project.keys["read"]).save_events("ada", SESSION, [an_event()])


def test_without_a_key_several_projects_are_refused(service: AnalyticsService, database_url: str) -> None:
    make_project(database_url, "other")
    with pytest.raises(ProjectNotChosen, match="several projects"):
        service.save_events(None, SESSION, [an_event()])


def test_a_lost_connection_is_detected_and_restored(service: AnalyticsService, postgres: Cluster) -> None:
    assert service.test_database_connection() is True
    postgres.server.stop()
    try:
        assert service.test_database_connection() is False
        with pytest.raises(DatabaseUnavailable) as error:
            service.save_events(None, SESSION, [an_event()])
        assert error.value.retry_after_seconds > 0
    finally:
        postgres.server.start()
    assert service.test_database_connection() is True
    assert service.save_events(None, SESSION, [an_event()])["accepted"] == 1


def test_a_batch_is_stored_once_if_its_response_is_lost(
    database: Database, project: Project, database_url: str
) -> None:
    service = AnalyticsService(database, key=project.keys["write"])
    events = [an_event(id=str(uuid.uuid4())) for _ in range(3)]
    service.save_events("ada", SESSION, events)
    replayed: list[int] = []

    def lose_the_answer(connection: psycopg.Connection[tuple[object, ...]]) -> int:
        connection.execute("SELECT 1")
        replayed.append(connection.info.backend_pid)
        if len(replayed) == 1:
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")
        return len(replayed)

    assert database.run(lose_the_answer) == 2
    assert replayed[0] != replayed[1]
    assert service.save_events("ada", SESSION, events)["duplicates"] == 3


def test_a_deadlock_is_retried_once(database: Database) -> None:
    tries: list[int] = []

    def deadlock_once(connection: psycopg.Connection[tuple[object, ...]]) -> str:
        tries.append(1)
        if len(tries) == 1:
            connection.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$")
        return "done"

    assert database.run(deadlock_once) == "done"


def test_events_within_the_time_window_are_stored_and_older_ones_not(service: AnalyticsService) -> None:
    ages = [timedelta(days=364), timedelta(days=366), timedelta(hours=-23), timedelta(hours=-25)]
    result = service.save_events(None, SESSION, [an_event(timestamp=datetime.now(UTC) - age) for age in ages])
    assert [event["status"] for event in result["events"]] == ["accepted", "rejected", "accepted", "rejected"]
