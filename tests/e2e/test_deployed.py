"""The life of a deployed stack: a database outage, an update, a broken schema, its deletion."""

import gzip
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from local.postgres import Postgres, start_postgres
from local.sam.deploy_local import Deployment, DeploymentError
from local.sam.ministack import MiniStack
from local.sam.sam_cli import HOST_ARCHITECTURE
from tests.blackbox.conftest import require_ministack
from tests.support.blackbox import Api, eventually
from tests.support.folders import open_folder
from tests.support.functions import a_batch, an_event

BATCHES, BATCH_EVENTS = 50, 200


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of this module's own, since it is stopped."""
    with open_folder(in_memory=True) as folder, start_postgres(folder / "data", durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def stack(postgres: Postgres, build: Any) -> Iterator[Deployment]:
    require_ministack()
    with MiniStack() as aws:
        deployed = Deployment(aws, build)
        parameters = {"Architecture": HOST_ARCHITECTURE, "DatabaseMode": "external", "DatabaseUrl": postgres.url}
        deployed.deploy({**parameters, "Stage": "test", "IngestMode": "buffered", "Archive": "on"})
        yield deployed


@pytest.fixture(scope="module")
def api(stack: Deployment) -> Api:
    made = stack.invoke("MigrateFunction", {"action": "create_project", "name": "tests"})
    return Api(stack.url, made["keys"], breaks_gzip=True)


def scalar(postgres: Postgres, statement: str) -> Any:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None


def execute(postgres: Postgres, statements: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(statements.encode())


def test_deploying_made_the_tables(stack: Deployment, postgres: Postgres) -> None:
    assert scalar(postgres, "SELECT count(*) > 0 FROM muster.schema_migrations") is True
    report = invoke(stack, "Migrate", {"action": "verify"})
    assert (report["status"], report["verified"], report["differences"]) == ("ok", True, [])
    assert all(
        "is left out: MiniStack does not know" in each or "reads the migrations" in each for each in stack.changes
    )


def test_events_sent_during_a_database_outage_are_stored_once(stack: Deployment, api: Api, postgres: Postgres) -> None:
    shorten_visibility(stack)
    postgres.stop()
    try:
        sessions = [str(uuid.uuid4()) for _ in range(BATCHES)]
        for session in sessions:
            answer = api.post(a_batch(*(an_event() for _ in range(BATCH_EVENTS)), sessionId=session))
            assert (answer.status_code, answer.json()["accepted"]) == (202, BATCH_EVENTS), answer.text
        # Some messages have failed and been delivered again.
        eventually(lambda: len(log_lines(stack, "Consume", "database_error")) > BATCHES // 10, True)
    finally:
        postgres.start()
    eventually(lambda: scalar(postgres, "SELECT count(*) FROM muster.analytics_events"), BATCHES * BATCH_EVENTS)
    assert scalar(postgres, "SELECT count(DISTINCT id) FROM muster.analytics_events") == BATCHES * BATCH_EVENTS
    assert scalar(postgres, "SELECT min(events_count) FROM muster.analytics_sessions") == BATCH_EVENTS
    queues = stack.client("sqs")
    (dead,) = [url for url in queues.list_queues()["QueueUrls"] if "DeadLetter" in url]
    counted = queues.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
    assert counted["Attributes"]["ApproximateNumberOfMessages"] == "0"


def shorten_visibility(stack: Deployment) -> None:
    """Deliver a failed message again after one second instead of three minutes."""
    queues = stack.client("sqs")
    (url,) = [url for url in queues.list_queues()["QueueUrls"] if "DeadLetter" not in url]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})


def test_a_running_stack_is_updated_while_events_flow(stack: Deployment, api: Api, postgres: Postgres) -> None:
    done = threading.Event()
    acknowledged: dict[str, int] = {}
    refused: set[int] = set()

    def keep_posting() -> None:
        while not done.is_set():
            event = an_event()
            answer = api.post(a_batch(event))
            if answer.status_code in (200, 202):
                acknowledged[event["id"]] = answer.status_code
            else:
                refused.add(answer.status_code)

    poster = threading.Thread(target=keep_posting)
    poster.start()
    try:
        stack.deploy({"IngestMode": "direct"})
    finally:
        done.set()
        poster.join(60)
    assert api.post(a_batch()).status_code == 200
    assert set(acknowledged.values()) >= {202}
    # Where an environment was replaced under a request, the client hears so, and keeps its batch.
    assert refused <= {500, 502, 503, 504}
    # What was queued before the update is stored after it all the same.
    listed = ",".join(f"'{each}'" for each in acknowledged)
    stored = f"SELECT count(*) FROM muster.analytics_events WHERE id IN ({listed})"
    eventually(lambda: scalar(postgres, stored), len(acknowledged))


def test_the_archive_holds_every_stored_event(stack: Deployment, api: Api, postgres: Postgres) -> None:
    api.post(a_batch())
    while not invoke(stack, "Maintain", {})["archived"]["complete"]:
        pass
    s3 = stack.client("s3")
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"] if "archive" in each["Name"]]
    archived: set[str] = set()
    for listed in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        content = gzip.decompress(s3.get_object(Bucket=bucket, Key=listed["Key"])["Body"].read())
        archived |= {json.loads(line)["id"] for line in content.splitlines()}
    assert len(archived) == scalar(postgres, "SELECT count(*) FROM muster.analytics_events")


def test_function_output_is_in_the_logs(stack: Deployment, api: Api) -> None:
    request_id = api.post(a_batch()).headers["x-request-id"]
    eventually(lambda: bool(log_lines(stack, "Ingest", request_id)), True)
    assert request_id in stack.logs("IngestFunction")


def test_a_parameter_change_under_snap_start_publishes_a_version(
    stack: Deployment, api: Api, postgres: Postgres
) -> None:
    secret = stack.client("secretsmanager").create_secret(Name="database", SecretString=postgres.url)["ARN"]
    stack.deploy({"DatabaseUrl": "", "DatabaseSecretArn": secret, "SnapStart": "on"})
    assert api.post(a_batch()).status_code == 200
    first = live_version(stack)
    stack.deploy({"Stage": "second"})
    assert int(live_version(stack)) > int(first)
    request_id = api.post(a_batch()).headers["x-request-id"]
    eventually(lambda: stages_of(stack, request_id), {"second"})
    stack.deploy({"SnapStart": "off", "DatabaseUrl": postgres.url, "DatabaseSecretArn": ""})
    assert api.post(a_batch()).status_code == 200


def function_name(stack: Deployment, part: str) -> str:
    """The name of the function that has a part in its name."""
    functions = stack.client("lambda").list_functions()["Functions"]
    (name,) = [each["FunctionName"] for each in functions if part in each["FunctionName"]]
    return str(name)


def invoke(stack: Deployment, function: str, event: dict[str, Any]) -> Any:
    """The result of a function, without the SAM CLI, which takes seconds to start."""
    name = function_name(stack, function)
    return json.load(stack.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))["Payload"])


def live_version(stack: Deployment) -> str:
    functions = stack.client("lambda")
    name = function_name(stack, "Ingest")
    version = str(functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"])
    assert functions.get_function_configuration(FunctionName=name)["SnapStart"]["ApplyOn"] == "PublishedVersions"
    return version


def stages_of(stack: Deployment, request_id: str) -> set[str]:
    """The stages in the log lines of a request."""
    lines = [json.loads(line) for line in log_lines(stack, "Ingest", request_id) if "ingest_result" in line]
    return {line["stage"] for line in lines if line["request_id"] == request_id}


def log_lines(stack: Deployment, function: str, text: str) -> list[str]:
    """The log lines of a function that contain a text."""
    logs = stack.client("logs")
    groups = [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]
    found = [
        event["message"]
        for group in groups
        if function in group
        for event in logs.filter_log_events(logGroupName=group, filterPattern=text)["events"]
    ]
    return [line for line in found if text in line]


def test_a_broken_schema_fails_the_next_deployment_by_name(stack: Deployment, api: Api, postgres: Postgres) -> None:
    execute(postgres, "DROP TABLE muster.pilot_attempts CASCADE")
    report = invoke(stack, "Migrate", {"action": "verify"})
    assert report["verified"] is False
    assert report["differences"][0]["object"] == "table muster.pilot_attempts"
    assert api.get("/healthz", kind=None).status_code == 503
    with pytest.raises(DeploymentError, match="pilot_attempts"):
        stack.deploy({"LogRetentionDays": "7", "Revision": "broken"})
    for difference in report["differences"]:
        execute(postgres, difference["remedy"])
    assert invoke(stack, "Migrate", {"action": "verify"})["verified"] is True


def test_deleting_the_stack_leaves_the_data(stack: Deployment, postgres: Postgres) -> None:
    before = scalar(postgres, "SELECT count(*) FROM muster.analytics_events")
    stack.delete()
    assert stack.client("lambda").list_functions()["Functions"] == []
    assert scalar(postgres, "SELECT count(*) FROM muster.analytics_events") == before
