"""GET /v1/diagnostics/events/{eventId} names the stage that an event reached, for every outcome."""

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from functions.consume import app as consume
from functions.ingest import app as ingest
from muster.api import app as api
from muster.diagnostics import queue_probe
from muster.ingest import queue
from tests.support.databases import Project, make_project
from tests.support.functions import Answer, Caller, Context, a_batch, an_event

POST = "POST /v1/events"
TRACE, DELIVERY = "GET /v1/diagnostics/events/{eventId}", "GET /v1/diagnostics/sessions/{sessionId}"
STAGES = ["received", "validated", "consent", "deduplicated", "stored", "visible"]
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def trace(call: Caller, event_id: str, **query: Any) -> dict[str, Any]:
    answer = call(TRACE, kind="read", path=f"/v1/diagnostics/events/{event_id}", query=query)
    assert answer.status == 200, answer.json
    found = dict(answer.json)
    assert [each["stage"] for each in found["stages"]] == STAGES
    assert found["verdict"]
    assert found["remedy"] or first_not_passed(found) is None
    return found


def first_not_passed(found: dict[str, Any]) -> tuple[str, str] | None:
    """The first stage without the status pass, and its status."""
    return next(((each["stage"], each["status"]) for each in found["stages"] if each["status"] != "pass"), None)


def stage(found: dict[str, Any], name: str) -> dict[str, Any]:
    (only,) = [each for each in found["stages"] if each["stage"] == name]
    return dict(only)


def delivery(call: Caller, session_id: str) -> Answer:
    return call(DELIVERY, kind="read", path=f"/v1/diagnostics/sessions/{session_id}")


def execute(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_stored_event_is_visible_in_a_view_that_includes_it(post: Caller, on_diagnostics: Caller) -> None:
    event = an_event()
    batch = a_batch(event, userId="ada")
    answer = post(POST, batch)
    found = trace(on_diagnostics, event["id"])
    assert (found["found"], first_not_passed(found), found["remedy"]) == (True, None, None)
    assert (found["sessionId"], found["batchId"]) == (batch["sessionId"], answer.json["batchId"])
    assert trace(on_diagnostics, event["id"].upper(), sessionId=batch["sessionId"])["found"] is True


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"eventType": "other"}, "The filter eventType"),
        ({"area": "other"}, "The filter area"),
        ({"userId": "bob"}, "The filter userId"),
        ({"participantType": "tester"}, "The filter participantType excludes it: the event's value is none"),
        ({"data.path": "/other"}, "The filter data.path"),
        ({"start": "2015-01-01", "end": "2015-02-01"}, "after the range from 2015-01-01T00:00:00+00:00"),
        ({"eventType": ["page_view", "other"], "userId": "bob"}, "The filter userId"),
    ],
)
def test_the_filter_that_hides_a_stored_event_is_named(
    post: Caller, on_diagnostics: Caller, on_metrics: Caller, query: dict[str, Any], named: str
) -> None:
    event = an_event()
    post(POST, a_batch(event, userId="ada"))
    found = trace(on_diagnostics, event["id"], **query)
    assert first_not_passed(found) == ("visible", "fail")
    assert named in stage(found, "visible")["detail"]
    assert on_metrics("GET /v1/metrics", kind="read", query=query).json["totals"]["events"] == 0


def test_the_default_view_is_that_of_metrics(post: Caller, on_diagnostics: Caller) -> None:
    event = an_event(timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30 * 86400)))
    post(POST, a_batch(event))
    found = trace(on_diagnostics, event["id"])
    assert first_not_passed(found) == ("visible", "fail")
    assert "timeframe=all" in found["remedy"]
    assert first_not_passed(trace(on_diagnostics, event["id"], timeframe="all")) is None


def test_a_time_zone_that_hides_an_event_is_named(post: Caller, on_diagnostics: Caller) -> None:
    event = an_event(timestamp="2015-06-10T23:30:00Z")
    post(POST, a_batch(event), kind="admin")
    query = {"start": "2015-06-10", "end": "2015-06-11", "timezone": "Asia/Tokyo"}
    found = trace(on_diagnostics, event["id"], **query)
    assert "The range has days in Asia/Tokyo; the same days in UTC include it." in stage(found, "visible")["detail"]
    assert first_not_passed(trace(on_diagnostics, event["id"], **{**query, "timezone": "UTC"})) is None


def test_one_id_with_two_times_is_reported_as_two_events(post: Caller, on_diagnostics: Caller) -> None:
    event, session = an_event(), str(uuid.uuid4())
    post(POST, a_batch(event, sessionId=session))
    post(POST, a_batch({**event, "timestamp": "2015-11-01T00:00:00Z"}, sessionId=session), kind="admin")
    found = trace(on_diagnostics, event["id"])
    assert "2 events have this id" in stage(found, "deduplicated")["detail"]


def test_an_event_in_a_refused_request_is_found(post: Caller, on_diagnostics: Caller) -> None:
    event = an_event()
    post(POST, {"sessionId": "none", "events": [event]})
    found = trace(on_diagnostics, event["id"])
    assert first_not_passed(found) == ("validated", "fail")
    assert "The whole request was refused: invalid_batch" in found["verdict"]


def test_the_trace_of_a_replayed_event_names_the_replay(post: Caller, on_diagnostics: Caller) -> None:
    event = an_event(timestamp="2001-01-01T00:00:00Z")
    post(POST, a_batch(event))
    before = trace(on_diagnostics, event["id"])
    assert first_not_passed(before) == ("validated", "fail")
    body = json.loads(before["remedy"][before["remedy"].index("{") : before["remedy"].index("}") + 1])
    assert on_diagnostics("POST /v1/diagnostics/rejections/replay", body, kind="admin").json["replayed"] == 1
    after = trace(on_diagnostics, event["id"], timeframe="all")
    assert first_not_passed(after) is None
    detail = stage(after, "validated")["detail"]
    assert "It was first rejected with the reason timestamp_out_of_range. It was replayed at" in detail


def test_the_trace_of_an_unknown_event_says_what_is_known(post: Caller, on_diagnostics: Caller) -> None:
    session, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    post(POST, a_batch(sessionId=session, sequence=4, dropped=3))
    found = trace(on_diagnostics, unknown, sessionId=session)
    assert (found["found"], first_not_passed(found)) == (False, ("received", "unknown"))
    assert "3 of 4 batches have not arrived: 1-3; the client dropped 3 events" in stage(found, "received")["detail"]
    assert found["known"]["session"]["batches"] == {"received": [[4, 4]], "gaps": [[1, 3]], "missing": 3, "last": 4}
    assert unknown in found["remedy"]
    assert trace(on_diagnostics, unknown)["known"]["hint"]
    assert "No batch of its session" in stage(trace(on_diagnostics, unknown, sessionId=unknown), "received")["detail"]


def test_a_trace_needs_a_read_key_of_the_events_project(
    post: Caller, on_diagnostics: Caller, database_url: str
) -> None:
    event = an_event()
    batch = a_batch(event)
    post(POST, batch)
    other = make_project(database_url, "other")
    stranger = Caller(on_diagnostics.handler, other, on_diagnostics.role, on_diagnostics.environment)
    assert trace(stranger, event["id"])["found"] is False
    assert delivery(stranger, batch["sessionId"]).code == "not_found"
    path = f"/v1/diagnostics/events/{event['id']}"
    assert on_diagnostics(TRACE, kind="write", path=path).code == "key_not_allowed"
    assert on_diagnostics(TRACE, kind=None, path=path).code == "missing_key"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/diagnostics/events/7", {}),
        ("/v1/diagnostics/events/7a0f3f0e-58a5-4a0c-9a55-0b7b6d0e1f01", {"timeframe": "fortnight"}),
        ("/v1/diagnostics/events/7a0f3f0e-58a5-4a0c-9a55-0b7b6d0e1f01", {"sessionId": "7"}),
    ],
)
def test_a_bad_parameter_is_named(on_diagnostics: Caller, path: str, query: dict[str, str]) -> None:
    answer = on_diagnostics(TRACE, kind="read", path=path, query=query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")


def test_the_delivery_report_of_a_session(post: Caller, on_diagnostics: Caller) -> None:
    session = str(uuid.uuid4())
    for number in (1, 2, 5, 9):
        sent = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        post(POST, a_batch(an_event(timestamp=sent), sessionId=session, sequence=number, dropped=number, sentAt=sent))
    post(POST, a_batch(an_event(eventType=7), sessionId=session, userId="bob"))
    found = delivery(on_diagnostics, session).json
    assert found["batches"] == {
        "received": [[1, 2], [5, 5], [9, 9]],
        "gaps": [[3, 4], [6, 8]],
        "missing": 5,
        "last": 9,
    }
    assert (found["dropped"], found["rejected"], found["eventsCount"], found["eventsStored"]) == (9, 1, 4, 4)
    assert 59 < found["lateness"]["medianSeconds"] <= found["lateness"]["maxSeconds"] < 120
    assert 59_000 < found["clockSkewMs"] < 120_000
    assert "5 of 9 batches have not arrived: 3-4, 6-8; the client dropped 9 events; 1 events" in found["verdict"]
    for number in (3, 4, 6, 7, 8):
        post(POST, a_batch(sessionId=session, sequence=number))
    assert delivery(on_diagnostics, session).json["batches"]["gaps"] == []
    plain = str(uuid.uuid4())
    post(POST, a_batch(sessionId=plain))
    assert delivery(on_diagnostics, plain).json["verdict"] == "Every batch that the client numbered has arrived."
    assert delivery(on_diagnostics, str(uuid.uuid4())).code == "not_found"


@dataclass
class Fates:
    """Makes an event of each outcome: its id, and the first stage that it does not pass with its status."""

    post: Caller
    other: Caller

    def stored(self) -> tuple[str, Any]:
        event = an_event()
        self.post(POST, a_batch(event, an_event(), userId="ada"))
        return event["id"], None

    def duplicate(self) -> tuple[str, Any]:
        event = an_event()
        batch = a_batch(event)
        assert [self.post(POST, batch).json["duplicates"] for _ in range(3)] == [0, 1, 1]
        return event["id"], None

    def invalid(self) -> tuple[str, Any]:
        return self._beside(an_event(eventType="")), ("validated", "fail")

    def too_old(self) -> tuple[str, Any]:
        return self._beside(an_event(timestamp="2001-01-01T00:00:00Z")), ("validated", "fail")

    def too_large(self) -> tuple[str, Any]:
        return self._beside(an_event(data={"text": "x" * 40_000})), ("validated", "fail")

    def refused_whole(self) -> tuple[str, Any]:
        event = an_event()
        self.post(POST, {"events": [event]})
        return event["id"], ("validated", "fail")

    def denied(self) -> tuple[str, Any]:
        return self._beside(an_event(userId="no")), ("consent", "fail")

    def of_a_bot(self) -> tuple[str, Any]:
        return self._beside(an_event(context={"userAgent": CRAWLER})), ("consent", "fail")

    def hidden(self) -> tuple[str, Any]:
        event = an_event(timestamp="2015-05-01T00:00:00Z")
        self.post(POST, a_batch(event), kind="admin")
        return event["id"], ("visible", "fail")

    def never_sent(self) -> tuple[str, Any]:
        return str(uuid.uuid4()), ("received", "unknown")

    def of_another_project(self) -> tuple[str, Any]:
        event = an_event()
        self.other(POST, a_batch(event))
        return event["id"], ("received", "unknown")

    def _beside(self, event: dict[str, Any]) -> str:
        self.post(POST, a_batch(an_event(), event))
        return str(event["id"])


def test_two_hundred_random_events_are_traced_to_their_stage(
    post: Caller, on_diagnostics: Caller, database_url: str, project: Project
) -> None:
    chance = random.Random(20261124)  # noqa: S311 - fates, not secrets
    execute(
        database_url,
        f"INSERT INTO muster.analytics_consent (project_id, user_id, status) VALUES ('{project.id}', 'no', 'denied')",
    )
    fates = Fates(post, Caller(post.handler, make_project(database_url, "other"), post.role, post.environment))
    listed = [
        getattr(fates, name) for name in vars(Fates) if not name.startswith("_") and name not in ("post", "other")
    ]
    assert len(listed) == 11
    sent = [fate() for fate in chance.choices(listed, k=200)]
    chance.shuffle(sent)
    for event_id, expected in sent:
        assert first_not_passed(trace(on_diagnostics, event_id)) == expected


@pytest.fixture
def sqs(environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """Queues in moto, and the environment of a buffered deployment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "testing")
    for module in (queue, queue_probe):
        module._client.cache_clear()
    with mock_aws():
        client = boto3.client("sqs", region_name="us-east-1")
        made = client.create_queue(QueueName="muster", Attributes={"MaximumMessageSize": "1048576"})
        environment.setenv("QUEUE_URL", made["QueueUrl"])
        environment.setenv("DEAD_LETTER_QUEUE_URL", client.create_queue(QueueName="dead")["QueueUrl"])
        environment.setenv("INGEST_MODE", "buffered")
        api.database.cache_clear()
        yield client
    for module in (queue, queue_probe):
        module._client.cache_clear()


def test_a_queued_event_is_traced_in_the_queue_and_then_stored(
    sqs: Any, environment: pytest.MonkeyPatch, project: Project, on_diagnostics: Caller
) -> None:
    post = Caller(ingest.lambda_handler, project, "muster_ingest", environment)
    good, bad, unnamed = an_event(), an_event(eventType=7), an_event(id=None)
    answer = post(POST, a_batch(good, bad, unnamed))
    assert answer.status == 202
    derived = answer.json["events"][2]["id"]
    for event_id, expected in ((good["id"], "consent"), (derived, "consent"), (bad["id"], "validated")):
        found = trace(on_diagnostics, event_id)
        assert first_not_passed(found) == (expected, "unknown" if expected == "consent" else "fail")
        assert found["batchId"] == answer.json["batchId"]
    assert trace(on_diagnostics, str(uuid.uuid4()))["found"] is False
    messages = sqs.receive_message(QueueUrl=os.environ["QUEUE_URL"], MaxNumberOfMessages=10)["Messages"]
    records = [{"messageId": "1", "body": messages[0]["Body"], "eventSource": "aws:sqs", "attributes": {}}]
    environment.setenv("DATABASE_ROLE", "muster_ingest")
    api.database().close()
    api.database.cache_clear()
    context: Any = Context()
    assert consume.lambda_handler({"Records": records}, context)["batchItemFailures"] == []
    assert first_not_passed(trace(on_diagnostics, good["id"])) is None
    assert first_not_passed(trace(on_diagnostics, bad["id"])) == ("validated", "fail")
