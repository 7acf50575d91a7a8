"""GET /v1/diagnostics and GET /healthz: real faults are named with their remedies."""

from typing import Any

import psycopg
import pytest

from muster.api import app as api
from muster.db.migrate import migrate
from muster.db.schema import table_names
from tests.support.databases import MIGRATIONS, Cluster, Project
from tests.support.functions import Answer, Caller, a_batch, an_event

DIAGNOSTICS, HEALTH = "GET /v1/diagnostics", "GET /healthz"
CHECKS = [
    "connection",
    "tls",
    "server",
    "migrations",
    "schema",
    "grants",
    "write_canary",
    "partitions",
    "ingest_recent",
    "rejections",
    "losses",
    "reconciliation",
    "consent",
    "pilot_tokens",
    "queue",
    "rollups",
    "connections",
    "clock",
]


def diagnose(call: Caller, **options: Any) -> Answer:
    return call(DIAGNOSTICS, **{"kind": "read", **options})


def check(answer: Answer, name: str) -> dict[str, Any]:
    (found,) = [each for each in answer.json["checks"] if each["name"] == name]
    assert set(found) == {"name", "status", "summary", "remedy", "durationMs", "data"}
    assert found["status"] in ("pass", "skip") or found["remedy"]
    return dict(found)


def failing(answer: Answer) -> list[str]:
    return [each["name"] for each in answer.json["checks"] if each["status"] == "fail"]


def execute(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_every_check_passes_in_a_new_project(on_diagnostics: Caller) -> None:
    answer = diagnose(on_diagnostics)
    assert (answer.status, answer.json["status"], answer.json["mode"]) == (200, "ok", "direct")
    assert [each["name"] for each in answer.json["checks"]] == CHECKS
    assert {each["status"] for each in answer.json["checks"]} == {"pass", "skip"}
    assert answer.json["tablesExist"] == dict.fromkeys(table_names(), True)
    assert on_diagnostics(HEALTH, kind=None).json == {"status": "ok"}


def test_the_report_names_the_project_of_the_key(on_diagnostics: Caller, project: Project, database_url: str) -> None:
    settings = "time_zone = 'Europe/Berlin', rollup_keys = '{plan}'"
    execute(database_url, f"UPDATE muster.projects SET {settings} WHERE id = '{project.id}'")
    said = diagnose(on_diagnostics).json["project"]
    assert said.pop("id") == str(project.id)
    assert said == {"name": "tests", "timeZone": "Europe/Berlin", "consentMode": "opt_out", "rollupKeys": ["plan"]}
    execute(database_url, "DROP TABLE muster.projects CASCADE")
    assert diagnose(on_diagnostics).json["project"] is None


def test_counts_are_those_of_the_project_alone(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post("POST /v1/events", a_batch(an_event(), an_event(), an_event(eventType=7)))
    counts = diagnose(on_diagnostics).json["counts"]
    assert {name: counts[name] for name in counts if name.startswith("analytics")} == {
        "analytics_events": 2,
        "analytics_sessions": 1,
        "analytics_rejections": 1,
        "analytics_ignored": 0,
        "analytics_consent": 0,
    }
    assert (counts["projects"], counts["api_keys"]) == (1, 3)


def test_the_write_canary_leaves_nothing_behind(on_diagnostics: Caller, database_url: str) -> None:
    diagnose(on_diagnostics)
    with psycopg.connect(database_url) as connection:
        for table in ("analytics_events", "analytics_sessions", "analytics_rejections", "analytics_ignored"):
            assert connection.execute(f"SELECT count(*) FROM muster.{table}").fetchone() == (0,)


def test_a_database_that_is_down_is_reported_without_a_key(on_diagnostics: Caller, postgres: Cluster) -> None:
    postgres.server.stop()
    try:
        answer = diagnose(on_diagnostics)
        health = on_diagnostics(HEALTH, kind=None)
    finally:
        postgres.server.start()
    assert (answer.status, answer.json["status"]) == (200, "failing")
    assert [each["name"] for each in answer.json["checks"]] == ["connection", "tls", "server"]
    assert check(answer, "connection")["status"] == "fail"
    assert (health.status, health.code) == (503, "database_unavailable")
    assert "127.0.0.1" not in str(answer.json)
    assert diagnose(on_diagnostics).json["status"] == "ok"


def test_it_needs_a_read_or_admin_key(on_diagnostics: Caller) -> None:
    assert [diagnose(on_diagnostics, kind=kind).status for kind in ("read", "admin", "write", None)] == [
        200,
        200,
        403,
        401,
    ]
    unknown = diagnose(on_diagnostics, kind=None, headers={"authorization": "Bearer mr_unknown"})
    assert (unknown.status, unknown.code) == (401, "invalid_key")


@pytest.mark.parametrize("table", [name for name in table_names() if name not in ("projects", "api_keys")])
def test_a_dropped_table_is_named_with_what_creates_it(on_diagnostics: Caller, database_url: str, table: str) -> None:
    execute(database_url, f"DROP TABLE muster.{table} CASCADE")
    answer = diagnose(on_diagnostics)
    assert answer.json["status"] == "failing"
    found = check(answer, "schema")
    assert found["status"] == "fail"
    assert f"table muster.{table} is missing" in found["summary"]
    assert f"CREATE TABLE muster.{table} (" in found["remedy"]
    assert answer.json["tablesExist"][table] is False
    assert answer.json["counts"][table] is None
    assert on_diagnostics(HEALTH, kind=None).status == 503


@pytest.mark.parametrize("broken", ["DROP TABLE muster.api_keys CASCADE", "DROP SCHEMA muster CASCADE"])
def test_without_the_key_table_only_the_schema_is_reported(
    on_diagnostics: Caller, database_url: str, broken: str
) -> None:
    execute(database_url, broken)
    answer = diagnose(on_diagnostics)
    assert (answer.status, answer.json["status"]) == (200, "failing")
    assert "schema" in failing(answer)
    assert "ingest_recent" not in [each["name"] for each in answer.json["checks"]]
    assert set(answer.json["counts"].values()) == {None}
    assert on_diagnostics(HEALTH, kind=None).status == 503


def test_the_remedies_fix_the_fault_that_they_name(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "DROP TABLE muster.analytics_sessions CASCADE")
    execute(database_url, "REVOKE EXECUTE ON FUNCTION muster.ingest_full_path FROM muster_ingest")
    answer = diagnose(on_diagnostics)
    assert failing(answer) == ["schema", "grants"]
    assert "see schema and grants" in check(answer, "write_canary")["summary"]
    for name in ("schema", "grants"):
        execute(database_url, check(answer, name)["remedy"])
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, MIGRATIONS)
    assert diagnose(on_diagnostics).json["status"] == "ok"


def test_a_revoked_grant_is_named(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "REVOKE SELECT ON muster.analytics_events FROM muster_reader")
    answer = diagnose(on_diagnostics)
    assert "grants" in failing(answer)
    assert "GRANT SELECT ON TABLE muster.analytics_events TO muster_reader" in check(answer, "grants")["remedy"]
    assert answer.json["counts"]["analytics_events"] is None


def test_a_missing_partition_is_named(on_diagnostics: Caller, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("SELECT 'analytics_events_' || to_char(now(), 'YYYY_MM')").fetchone()
        assert row is not None
        connection.execute(f"DROP TABLE muster.{row[0]}")
    found = check(diagnose(on_diagnostics), "partitions")
    assert found["status"] == "fail"
    assert row[0] in found["summary"]
    execute(database_url, found["remedy"])
    assert check(diagnose(on_diagnostics), "partitions")["status"] == "pass"


def test_an_event_that_cannot_be_stored_is_found_by_the_canary(on_diagnostics: Caller, database_url: str) -> None:
    execute(
        database_url,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON muster.analytics_events FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    )
    assert failing(diagnose(on_diagnostics)) == ["write_canary"]


def test_a_read_only_server_is_named(on_diagnostics: Caller, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        name = connection.info.dbname
    execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    answer = diagnose(on_diagnostics)
    assert failing(answer) == ["server"]
    assert "see server" in check(answer, "write_canary")["summary"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for statement in check(answer, "server")["remedy"].split(";")[:-1]:
            connection.execute(statement)
    assert diagnose(on_diagnostics).json["status"] == "ok"


def test_a_wrong_password_is_named(on_diagnostics: Caller, database_url: str) -> None:
    head, _, tail = database_url.partition("@")
    api.database().close()
    api.database.cache_clear()
    on_diagnostics.environment.setenv("DATABASE_URL", f"{head}x@{tail}")
    answer = diagnose(on_diagnostics)
    assert (answer.status, answer.json["status"]) == (200, "failing")
    assert check(answer, "connection")["summary"] == "The database refuses the login."
    on_diagnostics.environment.setenv("DATABASE_URL", f"{database_url}_is_not_there")
    api.database.cache_clear()
    assert "does not exist" in check(diagnose(on_diagnostics), "connection")["summary"]


def test_a_server_without_tls_that_must_have_it_is_named(on_diagnostics: Caller, database_url: str) -> None:
    api.database().close()
    api.database.cache_clear()
    on_diagnostics.environment.setenv("DATABASE_URL", f"{database_url}?sslmode=require")
    answer = diagnose(on_diagnostics)
    assert check(answer, "tls")["status"] == "fail"
    assert "sslmode" in check(answer, "tls")["remedy"]


def test_rejections_of_the_day_are_counted_by_reason(post: Caller, on_diagnostics: Caller) -> None:
    post("POST /v1/events", a_batch(an_event(eventType=7), an_event(timestamp="2001-01-01T00:00:00Z")))
    answer = diagnose(on_diagnostics)
    found = check(answer, "rejections")
    assert (found["status"], found["data"]["byReason"]) == ("warn", {"invalid_event": 1, "timestamp_out_of_range": 1})
    assert answer.json["status"] == "degraded"


def test_missing_consent_is_named(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "UPDATE muster.projects SET consent_mode = 'opt_in'")
    found = check(diagnose(on_diagnostics), "consent")
    assert found["status"] == "warn"
    execute(database_url, found["remedy"])
    assert check(diagnose(on_diagnostics), "consent")["status"] == "pass"


def test_a_day_without_events_is_a_warning(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post("POST /v1/events", a_batch())
    assert check(diagnose(on_diagnostics), "ingest_recent")["status"] == "pass"
    execute(database_url, "UPDATE muster.analytics_events SET received_at = now() - interval '25 hours'")
    assert check(diagnose(on_diagnostics), "ingest_recent")["status"] == "warn"


def test_a_changed_and_a_newer_migration_are_named(on_diagnostics: Caller, database_url: str) -> None:
    execute(database_url, "UPDATE muster.schema_migrations SET checksum = 'x' WHERE version = 3")
    assert "0003" in check(diagnose(on_diagnostics), "migrations")["summary"]
    execute(database_url, "DELETE FROM muster.schema_migrations WHERE version = 3")
    assert "0003" in check(diagnose(on_diagnostics), "migrations")["summary"]
