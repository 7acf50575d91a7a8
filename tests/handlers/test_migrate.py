"""The function migrate, by direct invocation."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest

from functions.migrate import app
from muster.errors import MusterError
from muster.schema import table_names
from tests.support.databases import MIGRATIONS, Cluster, Project
from tests.support.functions import Caller, Context, a_batch


@pytest.fixture
def invoke(environment: pytest.MonkeyPatch) -> Any:
    environment.setenv("MIGRATIONS_DIR", str(MIGRATIONS))
    environment.delenv("DATABASE_ROLE")
    yield lambda **event: app.lambda_handler(event, Context())
    environment.setenv("DATABASE_ROLE", "muster_ingest")


def test_by_default_it_migrates_and_verifies(invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch) -> None:
    names = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))
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


def test_status_tells_without_changing_anything(
    invoke: Any, postgres: Cluster, environment: pytest.MonkeyPatch
) -> None:
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


def test_keys_are_stored_as_hashes_alone(invoke: Any, database_url: str) -> None:
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
        ({"action": "drop"}, "There is no such action; known are migrate, verify"),
        ({"action": 7}, "There is no such action"),
        ({"action": "create_project"}, "'name' is required"),
        ({"action": "create_project", "name": "tests"}, "There is a project of this name already"),
        ({"action": "create_project", "name": "x" * 201}, "1 to 200 characters"),
        ({"action": "create_key", "project": "nowhere", "kind": "read"}, "There is no project 'nowhere'"),
        ({"action": "create_key", "project": "tests", "kind": "root"}, "'kind' is one of"),
        (
            {"action": "create_key", "project": "00000000-0000-0000-0000-000000000000", "kind": "read"},
            "There is no project of this id",
        ),
    ],
)
def test_what_cannot_be_done_fails_the_invocation_with_a_sentence(
    invoke: Any, project: Project, event: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MusterError, match=sentence):
        invoke(**event)


def test_before_the_migration_a_project_is_refused_with_the_remedy(
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
    """An address that takes CloudFormation's answers, and the answers."""
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
    assert answer["Data"] == {"Status": "ok", "Applied": len(list(MIGRATIONS.glob("*.sql")))}
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
