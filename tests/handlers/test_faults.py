"""Responses while the database is broken, and recovery without a restart."""

import psycopg
import pytest

from muster.api import app as api
from tests.support.databases import Cluster
from tests.support.functions import Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def test_a_stopped_database_is_a_503_and_works_again_without_a_restart(post: Caller, postgres: Cluster) -> None:
    assert post(ROUTE, a_batch()).status == 200
    postgres.server.stop()
    try:
        down = post(ROUTE, a_batch())
        still_down = post(ROUTE, a_batch())
    finally:
        postgres.server.start()
    for answer in (down, still_down):
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert post(ROUTE, a_batch()).status == 200


def test_a_bad_body_is_reported_while_the_database_is_down(post: Caller, postgres: Cluster) -> None:
    postgres.server.stop()
    try:
        assert post(ROUTE, "not json").code == "invalid_json"
    finally:
        postgres.server.start()


@pytest.mark.parametrize("table", ["analytics_events", "analytics_sessions", "projects", "api_keys"])
def test_a_dropped_table_is_a_503_and_never_a_200(post: Caller, database_url: str, table: str) -> None:
    assert post(ROUTE, a_batch()).status == 200
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE muster.{table} CASCADE")
    answer = post(ROUTE, a_batch())
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert "/v1/diagnostics" in answer.json["error"]["message"]


@pytest.mark.parametrize(("function", "number"), [("ingest_fast_path", 1), ("ingest_fast_path", 2)])
def test_a_role_without_a_grant_is_a_503(post: Caller, database_url: str, function: str, number: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"REVOKE EXECUTE ON FUNCTION muster.{function} FROM muster_ingest")
    refused = post(ROUTE, a_batch(*(an_event() for _ in range(number))))
    assert (refused.status, refused.code) == (503, "database_unavailable")


@pytest.mark.parametrize("prepares", ["on", "off"])
def test_a_connection_killed_between_two_requests_is_not_noticed(
    post: Caller, database_url: str, environment: pytest.MonkeyPatch, prepares: str
) -> None:
    environment.setenv("DATABASE_PREPARES", prepares)
    assert post(ROUTE, a_batch()).status == 200
    assert post(ROUTE, a_batch()).status == 200
    process = api.database().connection().info.backend_pid
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT pg_terminate_backend(%s, 5000)", (process,)).fetchone() == (True,)
    assert post(ROUTE, a_batch()).status == 200
    assert api.database().reconnects == 1


def test_a_migration_that_changes_a_prepared_statement_is_survived(
    post: Caller, database_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("DATABASE_PREPARES", "on")
    assert [post(ROUTE, a_batch()).status for _ in range(3)] == [200, 200, 200]
    connection = api.database().connection()
    assert connection.execute("SELECT name FROM pg_prepared_statements").fetchall() == [("muster_0",)]
    with psycopg.connect(database_url, autocommit=True) as granting:
        granting.execute("REVOKE EXECUTE ON FUNCTION muster.ingest_fast_path FROM muster_ingest")
        assert [post(ROUTE, a_batch()).status for _ in range(2)] == [503, 503]
        granting.execute("GRANT EXECUTE ON FUNCTION muster.ingest_fast_path TO muster_ingest")
    # A failure of another kind does not prepare the statement again.
    assert connection.execute("SELECT name FROM pg_prepared_statements").fetchall() == [("muster_0",)]
    with psycopg.connect(database_url) as migrating:
        found = migrating.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE oid = 'muster.ingest_fast_path'::regproc"
        ).fetchone()
        assert found is not None
        migrating.execute("DROP FUNCTION muster.ingest_fast_path")
        migrating.execute(str(found[0]).replace("RETURNS text\n", "RETURNS varchar\n"))
        migrating.execute("GRANT EXECUTE ON FUNCTION muster.ingest_fast_path TO muster_ingest")
    # Nothing is stored. The client sends the batch again.
    refused = post(ROUTE, a_batch())
    assert (refused.status, refused.code) == (503, "database_unavailable")
    assert post(ROUTE, a_batch()).status == 200


@pytest.mark.parametrize("prepares", ["on", "off"])
@pytest.mark.parametrize("path", ["one event", "several events", "full path"])
@pytest.mark.parametrize(
    "at_commit",
    ["RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'", "PERFORM pg_terminate_backend(pg_backend_pid())"],
    ids=["the commit fails", "the server ends the connection"],
)
def test_a_batch_that_fails_at_its_commit_is_not_acknowledged(
    post: Caller, database_url: str, environment: pytest.MonkeyPatch, at_commit: str, path: str, prepares: str
) -> None:
    # The server has answered the statement with its row by then; the error comes after it.
    environment.setenv("DATABASE_PREPARES", prepares)
    invalid = [an_event(type="")] if path == "full path" else []
    batch = a_batch(*(an_event() for _ in range(1 if path == "one event" else 2)), *invalid)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ "
            f"BEGIN {at_commit}; RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON muster.analytics_sessions "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()"
        )
        answer = post(ROUTE, batch)
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert connection.execute("SELECT count(*) FROM muster.analytics_events").fetchone() == (0,)
        connection.execute("DROP FUNCTION fail CASCADE")
    assert post(ROUTE, batch).json["accepted"] == len(batch["events"]) - len(invalid)


def test_a_read_only_server_is_a_503_and_stores_nothing(post: Caller, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert (post(ROUTE, a_batch()).status, post(ROUTE, a_batch()).code) == (503, "database_unavailable")
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert post(ROUTE, a_batch()).status == 200


def test_the_ingest_role_can_read_nothing(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE muster_ingest")
        for table in ("analytics_events", "analytics_sessions", "api_keys", "projects", "analytics_rejections"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT 1 FROM muster.{table}")


def test_a_statement_that_takes_too_long_is_a_503_that_says_so(post: Caller, database_url: str) -> None:
    post(ROUTE, a_batch())
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE muster.analytics_sessions")
        api.database().connection().execute("SET statement_timeout = '100ms'")
        answer = post(ROUTE, a_batch())
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert "too long" in answer.json["error"]["message"]
    api.database().connection().execute("RESET statement_timeout")
    assert post(ROUTE, a_batch()).status == 200


def test_an_unexpected_error_is_a_500_without_its_message(
    post: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("hunter2 is in here")

    monkeypatch.setattr("muster.ingest.handler.read_fast_batch", fail)
    answer = post(ROUTE, a_batch())
    assert (answer.status, answer.code) == (500, "internal_error")
    printed = capsys.readouterr().out
    assert "RuntimeError" in printed
    assert "hunter2" not in printed + str(answer.json)
