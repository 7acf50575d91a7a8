"""The archive: it holds every stored event exactly once, whatever fails."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from functions.maintain import app
from muster.db.queries import query
from muster.maintenance import archive
from tests.support.databases import Project
from tests.support.functions import Caller, Context, a_batch, an_event
from tests.support.golden import is_golden, written

BUCKET = "archive"
ROUTE = "POST /v1/events"


@pytest.fixture
def s3(environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket in moto, and the environment of function maintain."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "testing")
    environment.setenv("ARCHIVE_BUCKET", BUCKET)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def maintain(environment: pytest.MonkeyPatch, s3: Any) -> Any:
    """Invokes the function as its schedule does, and returns its report on the archive."""

    def invoke() -> Any:
        environment.setenv("DATABASE_ROLE", "muster_admin")
        try:
            return app.lambda_handler({}, Context())["archived"]
        finally:
            environment.setenv("DATABASE_ROLE", "muster_ingest")

    return invoke


def lines(s3: Any) -> list[dict[str, Any]]:
    """All events in the archive."""
    found = []
    for listed in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        content = s3.get_object(Bucket=BUCKET, Key=listed["Key"])["Body"].read()
        found += [json.loads(line) for line in gzip.decompress(content).splitlines()]
    return found


def execute(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_every_event_is_archived_once_by_project_and_day(
    post: Caller, maintain: Any, s3: Any, project: Project
) -> None:
    first = an_event(data={"plan": "pilot", "path": "/é"}, timestamp="2015-11-01T10:05:03.25+02:00")
    post(ROUTE, a_batch(first, an_event(), userId="ada"), kind="admin")
    assert maintain() == {"objects": 1, "events": 2, "complete": True}
    post(ROUTE, a_batch(an_event()))
    assert maintain() == {"objects": 1, "events": 1, "complete": True}
    assert maintain() == {"objects": 0, "events": 0, "complete": True}
    archived = {line["id"]: line for line in lines(s3)}
    assert len(archived) == len(lines(s3)) == 3
    line = archived[first["id"]]
    assert json.loads(line["data"]) == first["data"]
    assert (line["user_id"], line["occurred_at"]) == ("ada", "2015-11-01T08:05:03.250000Z")
    day = line["received_at"][:10]
    prefix = f"events/project={project.id}/day={day}/"
    assert all(each["Key"].startswith(prefix) for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"])


def test_the_log_says_what_was_archived(post: Caller, maintain: Any, capsys: pytest.CaptureFixture[str]) -> None:
    post(ROUTE, a_batch(an_event()))
    written(capsys)
    maintain()
    lines = written(capsys)
    for name in ("maintain_result", "archive_result"):
        (line,) = lines[name]
        assert is_golden(name, line)


def test_many_events_are_archived_in_steps(
    post: Caller, maintain: Any, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_EVENTS", 10)
    for _ in range(9):
        post(ROUTE, a_batch(*(an_event() for _ in range(4))))
    report = maintain()
    assert (report["events"], report["complete"]) == (36, True)
    assert report["objects"] >= 4
    assert set(Counter(line["id"] for line in lines(s3)).values()) == {1}
    assert len(lines(s3)) == 36


def test_events_that_s3_refuses_are_archived_the_next_time(
    post: Caller, maintain: Any, s3: Any, database_url: str
) -> None:
    post(ROUTE, a_batch(an_event()))
    s3.delete_bucket(Bucket=BUCKET)
    with pytest.raises(ClientError):
        maintain()
    s3.create_bucket(Bucket=BUCKET)
    assert maintain()["events"] == len(lines(s3)) == 1


def test_objects_of_an_invocation_that_died_are_replaced(
    post: Caller, maintain: Any, s3: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(ROUTE, a_batch(an_event()))
    with monkeypatch.context() as dying:
        # After the object is written and before it is recorded.
        dying.setattr(
            archive, "query", lambda name: b"SELECT 1/0" if name.startswith("maintenance/move_") else query(name)
        )
        with pytest.raises(psycopg.errors.DivisionByZero):
            maintain()
    assert len(lines(s3)) == 1
    maintain()
    assert len(lines(s3)) == 1


def test_a_transaction_that_commits_late_is_archived(
    post: Caller, maintain: Any, s3: Any, database_url: str, project: Project
) -> None:
    post(ROUTE, a_batch(an_event()))
    with psycopg.connect(database_url) as slow:
        slow.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, event_type, area)"
            " VALUES (%s, gen_random_uuid(), gen_random_uuid(), now(), gen_random_uuid(), 'late', 'tests')",
            [project.id],
        )
        post(ROUTE, a_batch(an_event()))
        maintain()
        slow.commit()
    maintain()
    assert sorted(Counter(line["event_type"] for line in lines(s3)).items()) == [("late", 1), ("page_view", 2)]


def test_two_invocations_at_once_write_the_same_objects(
    post: Caller, maintain: Any, s3: Any, database_url: str
) -> None:
    post(ROUTE, a_batch(an_event()))
    with psycopg.connect(database_url, autocommit=True) as other:
        plan = "SELECT from_xid, to_xid FROM muster.next_archive_window(10)"
        planned = other.execute(plan).fetchone()
        post(ROUTE, a_batch(an_event()))
        assert other.execute(plan).fetchone() == planned
    assert maintain()["events"] == 2
    assert len({line["id"] for line in lines(s3)}) == len(lines(s3)) == 2


@pytest.mark.parametrize("ahead", [1_000_000, -1])
def test_nothing_is_left_out_after_a_move_to_another_server(
    post: Caller, maintain: Any, s3: Any, database_url: str, ahead: int
) -> None:
    post(ROUTE, a_batch(an_event()))
    maintain()
    # As after restoring a dump into a server with lower, or higher, transaction numbers.
    post(ROUTE, a_batch(an_event()))
    execute(database_url, f"UPDATE muster.analytics_events SET xid = xid + {ahead}")
    execute(database_url, f"UPDATE muster.archive_state SET watermark = watermark + {ahead}, system_identifier = 1")
    post(ROUTE, a_batch(an_event()))
    while not maintain()["complete"]:
        pass
    assert len({line["id"] for line in lines(s3)}) == 3


def test_without_its_state_the_archive_starts_over(post: Caller, maintain: Any, s3: Any, database_url: str) -> None:
    post(ROUTE, a_batch(an_event()))
    execute(database_url, "DELETE FROM muster.archive_state")
    assert maintain()["events"] == 1


def test_the_ingest_role_cannot_read_events_through_the_archive(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE muster_ingest")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM muster.next_archive_window(1)")
