"""Buffered ingest: 202 means durably queued, and a queued batch is stored once, whatever happens to its messages."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from functions.consume import app as consume
from functions.ingest import app as ingest
from muster.api import app as api
from muster.auth import keys
from muster.ingest import queue
from tests.support.databases import Cluster, Project
from tests.support.functions import Caller, Context, a_batch, an_event

ROUTE = "POST /v1/events"
REGION = "us-east-1"


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A queue in moto, and the environment of a deployment that uses it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    queue._client.cache_clear()
    with mock_aws():
        client = boto3.client("sqs", region_name=REGION)
        url = client.create_queue(QueueName="muster", Attributes={"MaximumMessageSize": "1048576"})["QueueUrl"]
        monkeypatch.setenv("INGEST_MODE", "buffered")
        monkeypatch.setenv("QUEUE_URL", url)
        yield client
    queue._client.cache_clear()


@pytest.fixture
def post(environment: pytest.MonkeyPatch, project: Project, sqs: Any) -> Caller:
    api.database.cache_clear()
    return Caller(ingest.lambda_handler, project, "muster_ingest", environment)


def take(client: Any) -> list[str]:
    """The bodies of all messages."""
    url = client.list_queues()["QueueUrls"][0]
    found = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
    return found


def deliver(environment: pytest.MonkeyPatch, bodies: list[str]) -> list[str]:
    """Give messages to function consume; returns the positions of those that it leaves in the queue."""
    environment.setenv("INGEST_MODE", "direct")
    api.database.cache_clear()
    records = [
        {"messageId": str(number), "body": body, "eventSource": "aws:sqs", "attributes": {}}
        for number, body in enumerate(bodies)
    ]
    answer = consume.lambda_handler({"Records": records}, Context())  # type: ignore[arg-type]  # stands for Lambda's
    api.database().close()
    api.database.cache_clear()
    environment.setenv("INGEST_MODE", "buffered")
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def stored(database_url: str, statement: str = "SELECT count(*) FROM muster.analytics_events") -> Any:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None


def test_a_batch_is_queued_and_then_stored(post: Caller, sqs: Any, database_url: str) -> None:
    batch = a_batch(an_event(), an_event(eventType=7), an_event(id=None), userId="ada", sequence=1)
    answer = post(ROUTE, batch)
    assert (answer.status, answer.json["status"]) == (202, "queued")
    assert [event["status"] for event in answer.json["events"]] == ["queued", "rejected", "queued"]
    assert (answer.json["received"], answer.json["accepted"], answer.json["rejected"]) == (3, 2, 1)
    assert stored(database_url) == 0
    bodies = take(sqs)
    assert deliver(post.environment, bodies) == []
    assert stored(database_url) == 2
    assert stored(database_url, "SELECT event_index FROM muster.analytics_rejections") == 1
    assert stored(database_url, "SELECT batches::text FROM muster.analytics_sessions") == "{[1,2)}"


def test_redelivered_and_reordered_messages_change_nothing(post: Caller, sqs: Any, database_url: str) -> None:
    session = str(uuid.uuid4())
    for number in range(5):
        post(ROUTE, a_batch(an_event(), an_event(), sessionId=session, sequence=number + 1))
    bodies = take(sqs)
    shuffled = random.Random(1).sample(bodies * 2, len(bodies) * 2)  # noqa: S311 - an order, not a secret
    assert deliver(post.environment, shuffled) == []
    assert stored(database_url) == 10
    assert stored(database_url, "SELECT events_count FROM muster.analytics_sessions") == 10
    assert stored(database_url, "SELECT batches::text FROM muster.analytics_sessions") == "{[1,6)}"


def test_messages_stay_queued_while_the_database_is_down(
    post: Caller, sqs: Any, database_url: str, postgres: Cluster
) -> None:
    assert post(ROUTE, a_batch()).status == 202
    bodies = take(sqs)
    postgres.server.stop()
    try:
        assert post(ROUTE, a_batch()).status == 202
        assert deliver(post.environment, bodies) == ["0"]
    finally:
        postgres.server.start()
    assert deliver(post.environment, [*bodies, *take(sqs)]) == []
    assert stored(database_url) == 4


def test_a_foreign_message_does_not_hold_up_its_neighbours(post: Caller, sqs: Any, database_url: str) -> None:
    post(ROUTE, a_batch())
    assert deliver(post.environment, ["nonsense", *take(sqs)]) == ["0"]
    assert stored(database_url) == 2


def test_a_batch_too_large_for_one_message_is_split(post: Caller, sqs: Any, database_url: str) -> None:
    noise = random.Random(1)  # noqa: S311 - what does not compress
    events = [an_event(data={"x": noise.randbytes(1_000).hex()}) for _ in range(800)]
    events[3]["eventType"] = 7
    answer = post(ROUTE, a_batch(*events), gzipped=True)
    assert (answer.status, answer.json["accepted"]) == (202, len(events) - 1)
    bodies = take(sqs)
    assert len(bodies) > 1
    assert all(len(body) <= queue.MAX_MESSAGE_BYTES for body in bodies)
    assert deliver(post.environment, bodies) == []
    assert stored(database_url) == len(events) - 1
    assert stored(database_url, "SELECT event_index FROM muster.analytics_rejections") == 3


def test_a_key_with_a_wrong_prefix_is_refused_at_once(post: Caller, sqs: Any) -> None:
    unknown = {"authorization": "Bearer nothing-of-ours"}
    assert (post(ROUTE, a_batch(), kind="read").status, post(ROUTE, a_batch(), kind=None).status) == (403, 401)
    assert post(ROUTE, a_batch(), kind=None, headers=unknown).code == "invalid_key"
    assert take(sqs) == []


def test_an_unknown_key_is_counted_when_its_batch_is_consumed(
    post: Caller, sqs: Any, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = {"authorization": "Bearer mw_" + "x" * 43}
    assert post(ROUTE, a_batch(), kind=None, headers=forged).status == 202
    assert deliver(post.environment, take(sqs)) == []
    assert stored(database_url) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (refused,) = [line for line in lines if line["message"] == "batch_refused"]
    assert (refused["reason"], refused["key_prefix"]) == ("invalid_key", "mw_xxxxx")
    (counted,) = [line for line in lines if line["message"] == "consume_refused"]
    assert counted["EventsRefused"] == 2


def test_an_unreachable_queue_is_a_503(post: Caller, sqs: Any) -> None:
    sqs.delete_queue(QueueUrl=sqs.list_queues()["QueueUrls"][0])
    answer = post(ROUTE, a_batch())
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_refused_request_reaches_the_quarantine_through_the_queue(post: Caller, sqs: Any, database_url: str) -> None:
    answer = post(ROUTE, "{")
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert post(ROUTE, {"sessionId": str(uuid.uuid4()), "events": []}).code == "invalid_batch"
    assert deliver(post.environment, take(sqs) * 2) == []
    reasons = "SELECT string_agg(reason, ' ' ORDER BY reason) FROM muster.analytics_rejections"
    assert stored(database_url, reasons) == "invalid_batch invalid_json"
    of_the_request = "SELECT count(*) FROM muster.analytics_rejections WHERE request_id = '{}'"
    assert stored(database_url, of_the_request.format(answer.headers["x-request-id"])) == 1


def test_a_batch_that_postgres_always_refuses_is_quarantined(
    post: Caller, sqs: Any, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    post(ROUTE, a_batch(an_event(), an_event()))
    (body,) = take(sqs)
    message = queue.unpack(body)
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE muster.analytics_sessions ADD COLUMN foreign_column text NOT NULL")
    assert deliver(post.environment, [body] * 2) == []
    assert stored(database_url) == 0
    assert stored(database_url, "SELECT reason || attempts FROM muster.analytics_rejections") == "storage_error2"
    assert stored(database_url, "SELECT payload FROM muster.analytics_rejections") == message["body"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["sqlstate"] for line in lines if line["message"] == "batch_quarantined"] == ["23502", "23502"]
    counted = [line for line in lines if line["message"] == "consume_result"]
    assert [(line["EventsRejected"], line["EventsUnaccounted"]) for line in counted] == [(2, 0), (2, 0)]


def test_a_key_counts_as_used_when_its_batch_is_consumed(
    post: Caller, sqs: Any, environment: pytest.MonkeyPatch, database_url: str
) -> None:
    last_used = "SELECT count(last_used_at) FROM muster.api_keys"
    keys._noted.clear()
    assert post(ROUTE, a_batch()).status == 202
    assert (api.database().is_open, stored(database_url, last_used)) == (False, 0)
    assert deliver(environment, take(sqs)) == []
    assert stored(database_url, last_used) == 1
