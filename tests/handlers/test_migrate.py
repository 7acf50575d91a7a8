"""Function migrate, invoked directly."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from functions.migrate import app
from muster.db.schema import table_names
from muster.platform.errors import MusterError
from tests.support.databases import MIGRATIONS, Cluster, Project
from tests.support.functions import Caller, Context, a_batch

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def invoke(environment: pytest.MonkeyPatch) -> Any:
    environment.setenv("MIGRATIONS_DIR", str(MIGRATIONS))
    environment.delenv("DATABASE_ROLE")
    yield lambda **event: app.lambda_handler(event, Context())
    environment.setenv("DATABASE_ROLE", "muster_ingest")


def test_by_default_it_migrates_and_verifies(invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch) -> None:
    names = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.sql"))
    with postgres.database(template="template0") as empty:
        environment.setenv("DATABASE_URL", empty)
        first, second = invoke(), invoke(action="migrate")
    assert (first["status"], first["applied"], first["alreadyApplied"]) == ("ok", names, [])
    assert (first["verified"], first["differences"]) == (True, [])
    assert first["tables"]["analytics_events"] == {"exists": True, "rows": 0}
    assert set(first["tables"]) == set(table_names())
    assert (second["applied"], second["alreadyApplied"]) == ([], names)


def test_verify_names_differences_and_counts_rows(invoke: Any, database_url: str, project: Project) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE muster.pilot_attempts")
    answer = invoke(action="verify")
    assert (answer["status"], answer["verified"]) == ("different", False)
    assert answer["tables"]["pilot_attempts"] == {"exists": False, "rows": None}
    assert answer["tables"]["api_keys"] == {"exists": True, "rows": 3}
    first = answer["differences"][0]
    assert (first["object"], first["problem"]) == ("table muster.pilot_attempts", "missing")
    assert first["remedy"].startswith("SET ROLE muster_owner; CREATE TABLE muster.pilot_attempts")


def test_status_changes_nothing(invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch) -> None:
    with postgres.database(template="template0") as empty:
        environment.setenv("DATABASE_URL", empty)
        before = invoke(action="status")
        assert (before["status"], before["alreadyApplied"]) == ("pending", [])
        invoke()
        assert invoke(action="status")["status"] == "ok"


def test_a_new_project_works_with_its_keys(invoke: Any, post: Caller) -> None:
    made = invoke(action="create_project", name="My pilot")
    assert {kind: key[:3] for kind, key in made["keys"].items()} == {"write": "mw_", "read": "mr_", "admin": "ma_"}
    caller = Caller(post.handler, Project(made["projectId"], made["keys"]), post.role, post.environment)
    post.environment.setenv("DATABASE_ROLE", "muster_ingest")
    assert caller("POST /v1/events", a_batch()).status == 200


def test_keys_are_stored_only_as_hashes(invoke: Any, database_url: str) -> None:
    made = invoke(action="create_project", name="My pilot")
    another = invoke(action="create_key", project="My pilot", kind="read", note="for the dashboard")
    by_id = invoke(action="create_key", project=made["projectId"], kind="write")
    assert another["key"].startswith("mr_")
    assert by_id["prefix"] == by_id["key"][:8]
    with psycopg.connect(database_url) as connection:
        stored = str(connection.execute("SELECT k::text FROM muster.api_keys k").fetchall())
    for key in [*made["keys"].values(), another["key"], by_id["key"]]:
        assert key not in stored
        assert key[:8] in stored


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"action": "drop"}, "Unknown action. The actions are migrate, verify"),
        ({"action": 7}, "Unknown action"),
        ({"action": "create_project"}, "'name' is required"),
        ({"action": "create_project", "name": "tests"}, "A project with this name exists"),
        ({"action": "create_project", "name": "x" * 201}, "1 to 200 characters"),
        (
            {"action": "create_project", "name": "a", "timezone": "UTC"},
            "Unknown setting 'timezone'. The settings are",
        ),
        ({"action": "create_project", "name": "a", "timeZone": "Mars/Olympus"}, "'timeZone' must be the IANA name"),
        ({"action": "create_project", "name": "a", "timeZone": 7}, "'timeZone' must be the IANA name"),
        ({"action": "create_project", "name": "a", "timeZone": "FOO+3"}, "'timeZone' must be the IANA name"),
        ({"action": "update_project", "project": "tests"}, "Nothing to change"),
        ({"action": "update_project", "project": "nowhere", "consentMode": "off"}, "There is no project 'nowhere'"),
        ({"action": "update_project", "project": NOBODY, "consentMode": "off"}, "There is no project with this id"),
        ({"action": "update_project", "project": "tests", "consentMode": "maybe"}, "'consentMode' must be one of off"),
        ({"action": "update_project", "project": "tests", "allowedOrigins": "*"}, "'allowedOrigins' must be a list"),
        ({"action": "update_project", "project": "tests", "eventWindowDays": 0}, "from 1 to 36500"),
        ({"action": "update_project", "project": "tests", "eventWindowDays": True}, "from 1 to 36500"),
        ({"action": "update_project", "project": "tests", "eventWindowDays": None}, "from 1 to 36500"),
        ({"action": "update_project", "project": "tests", "retentionDays": "90"}, "or null to keep events forever"),
        ({"action": "update_project", "project": "tests", "rollupKeys": ["plan", "plan"]}, "must list each key once"),
        ({"action": "update_project", "project": "tests", "rollupKeys": [""]}, "a string of 1 to 100"),
        ({"action": "update_project", "project": "tests", "redactedKeys": "email"}, "at most 100 keys of data"),
        ({"action": "update_project", "project": "tests", "redactedKeys": [7]}, "a string of 1 to 100"),
        ({"action": "update_project", "project": "tests", "redactsCards": "no"}, "must be true or false"),
        ({"action": "update_project", "project": "tests", "name": "x" * 201}, "1 to 200 characters"),
        ({"action": "revoke_key", "key": "mw_nobod"}, "There is no such key"),
        ({"action": "revoke_key"}, "'key' is required"),
        ({"action": "list_keys", "project": "nowhere"}, "There is no project 'nowhere'"),
        ({"action": "list_keys", "project": NOBODY}, "There is no project with this id"),
        ({"action": "create_key", "project": "tests", "kind": "read", "note": 7}, "'note' must be a string"),
        ({"action": "create_key", "project": "nowhere", "kind": "read"}, "There is no project 'nowhere'"),
        ({"action": "create_key", "project": "tests", "kind": "root"}, "'kind' must be one of"),
        (
            {"action": "create_key", "project": NOBODY, "kind": "read"},
            "There is no project with this id",
        ),
    ],
)
def test_an_impossible_action_fails_with_a_sentence(
    invoke: Any, project: Project, event: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MusterError, match=sentence):
        invoke(**event)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/shop",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://bücher.example",
        "https://*.example.com",
        "null",
        "",
        7,
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(invoke: Any, project: Project, origin: Any) -> None:
    with pytest.raises(MusterError, match="as browsers send them"):
        invoke(action="update_project", project="tests", allowedOrigins=[origin])


def test_settings_that_are_not_named_do_not_change(invoke: Any) -> None:
    origins = ["https://app.example.com", "http://localhost:5173", "capacitor://localhost", "http://[::1]:8080"]
    made = invoke(action="create_project", name="My pilot", timeZone="Europe/Berlin", allowedOrigins=origins)
    days = invoke(
        action="update_project", project="My pilot", eventWindowDays=30, retentionDays=90, rollupKeys=["plan"]
    )
    last = invoke(action="update_project", project=made["projectId"], name="Our pilot", consentMode="opt_in")["project"]
    assert days["project"]["retentionDays"] == 90
    assert invoke(action="list_projects")["projects"] == [last]
    assert last.pop("createdAt")
    assert last == {
        "id": made["projectId"],
        "name": "Our pilot",
        "timeZone": "Europe/Berlin",
        "consentMode": "opt_in",
        "allowedOrigins": origins,
        "eventWindowDays": 30,
        "retentionDays": 90,
        "rollupKeys": ["plan"],
        "honorsSignals": False,
        "identifiesBackwards": False,
        "redactedKeys": ["email", "password", "token"],
        "redactsCards": True,
    }
    forever = invoke(action="update_project", project="Our pilot", retentionDays=None)["project"]
    assert (forever["retentionDays"], forever["eventWindowDays"]) == (None, 30)


def test_a_project_with_a_wrong_setting_is_not_created(invoke: Any) -> None:
    with pytest.raises(MusterError, match="consentMode"):
        invoke(action="create_project", name="half", consentMode="perhaps")
    assert invoke(action="list_projects")["projects"] == []


def test_the_name_of_another_project_is_refused(invoke: Any, project: Project) -> None:
    invoke(action="create_project", name="other")
    with pytest.raises(MusterError, match="A project with this name exists"):
        invoke(action="update_project", project="other", name="tests")


def test_keys_are_listed_without_key_and_hash(invoke: Any) -> None:
    made = invoke(action="create_project", name="My pilot")
    note = invoke(action="create_key", project="My pilot", kind="read", note="for the dashboard")
    listed = invoke(action="list_keys", project="My pilot")
    assert [(key["kind"], key["note"]) for key in listed["keys"]][-1] == ("read", "for the dashboard")
    assert set(listed["keys"][0]) == {"id", "prefix", "kind", "note", "createdAt", "lastUsedAt", "revokedAt"}
    for key in [*made["keys"].values(), note["key"]]:
        assert key[:8] in str(listed)
        assert key not in str(listed)
        assert hashlib.sha256(key.encode()).hexdigest() not in str(listed)


@pytest.mark.parametrize("by", ["id", "prefix", "itself"])
def test_a_revoked_key_is_refused_at_once_on_open_connections(
    invoke: Any, post: Caller, on_metrics: Caller, project: Project, by: str
) -> None:
    keys = {key["kind"]: key for key in invoke(action="list_keys", project="tests")["keys"]}
    post.environment.setenv("DATABASE_ROLE", "muster_ingest")
    assert post("POST /v1/events", a_batch()).status == 200
    named = {"itself": project.keys["write"], **keys["write"]}[by]
    post.environment.delenv("DATABASE_ROLE")
    revoked = invoke(action="revoke_key", key=named)
    assert (revoked["projectId"], revoked["key"]["kind"]) == (str(project.id), "write")
    post.environment.setenv("DATABASE_ROLE", "muster_ingest")
    refused = post("POST /v1/events", a_batch())
    assert (refused.status, refused.code) == (401, "invalid_key")
    assert on_metrics("GET /v1/metrics", kind="read").status == 200
    post.environment.delenv("DATABASE_ROLE")
    # Revoking it again changes nothing.
    assert invoke(action="revoke_key", key=named) == revoked


def test_a_prefix_that_two_keys_have_revokes_neither(invoke: Any, database_url: str, project: Project) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE muster.api_keys SET prefix = 'mw_alike'")
    with pytest.raises(MusterError, match="Several keys have this prefix"):
        invoke(action="revoke_key", key="mw_alike")
    assert {key["revokedAt"] for key in invoke(action="list_keys", project="tests")["keys"]} == {None}


def test_creating_a_project_before_migrating_names_the_remedy(
    invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch
) -> None:
    with postgres.database(template="template0") as empty:
        environment.setenv("DATABASE_URL", empty)
        with pytest.raises(MusterError, match="Run migrate"):
            invoke(action="create_project", name="early")


def test_maintenance_makes_the_partitions_that_will_be_needed(invoke: Any, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        statement = "SELECT to_char(now() + interval '2 months', '\"analytics_events_\"YYYY_MM')"
        row = connection.execute(statement).fetchone()
        assert row is not None
        connection.execute(f"DROP TABLE muster.{row[0]}")
    assert invoke(action="maintain") == {"status": "ok", "partitionsCreated": 1}
    assert invoke(action="maintain") == {"status": "ok", "partitionsCreated": 0}


@pytest.fixture
def cloudformation() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL for responses to CloudFormation, and the responses it received."""
    answers: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", answers
    server.shutdown()
    server.server_close()


def deployment(url: str, kind: str) -> dict[str, Any]:
    ids = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "Schema"}
    return {"RequestType": kind, "ResponseURL": url, **ids}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deployment_migrates_and_succeeds(
    invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch, cloudformation: Any, kind: str
) -> None:
    url, answers = cloudformation
    with postgres.database(template="template0") as empty:
        environment.setenv("DATABASE_URL", empty)
        invoke(**deployment(url, kind))
    (answer,) = answers
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "muster-schema")
    assert answer["Data"] == {"Status": "ok", "Applied": len(list(MIGRATIONS.glob("[0-9]*.sql")))}
    assert (answer["StackId"], answer["RequestId"], answer["LogicalResourceId"]) == ("stack", "request", "Schema")


def test_a_refused_migration_fails_the_deployment_with_its_sentence(
    invoke: Any, database_url: str, cloudformation: Any
) -> None:
    url, answers = cloudformation
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE muster.schema_migrations SET checksum = 'x' WHERE version = 1")
    invoke(**deployment(url, "Update"))
    (edited,) = answers
    assert edited["Status"] == "FAILED"
    assert "was edited after it was applied" in edited["Reason"]


def test_a_deployment_without_its_tables_fails(invoke: Any, database_url: str, cloudformation: Any) -> None:
    url, answers = cloudformation
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE muster.pilot_attempts")
    invoke(**deployment(url, "Update"))
    assert answers[0]["Status"] == "FAILED"
    assert "table muster.pilot_attempts is missing" in answers[0]["Reason"]


def test_deleting_a_stack_touches_no_data_and_needs_no_database(
    invoke: Any, environment: pytest.MonkeyPatch, cloudformation: Any
) -> None:
    url, answers = cloudformation
    environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    invoke(**deployment(url, "Delete"))
    assert answers[0]["Status"] == "SUCCESS"


def test_a_deployment_without_a_database_fails_and_does_not_wait(
    invoke: Any, environment: pytest.MonkeyPatch, cloudformation: Any
) -> None:
    url, answers = cloudformation
    environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    invoke(**deployment(url, "Create"))
    assert answers[0]["Status"] == "FAILED"
    assert "migrate" in answers[0]["Reason"]
