"""The log lines that operators, alarms and saved queries rely on: every field and its type."""

import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest

from functions.consume import app as consume
from functions.maintain import app as maintain
from muster.api import app as api
from muster.ingest import queue
from tests.support.databases import Cluster
from tests.support.functions import Caller, Context, a_batch, an_event
from tests.support.golden import is_golden, written

ROUTE = "POST /v1/events"


def test_a_committed_batch_is_one_line_with_its_counts_and_metrics(
    post: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = an_event()
    post(ROUTE, a_batch(twin))
    written(capsys)
    bad, old = an_event(eventType=7), an_event(timestamp="2001-01-01T00:00:00Z")
    sent_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    bot = an_event(context={"userAgent": "Googlebot/2.1"})
    post(ROUTE, a_batch(an_event(), twin, twin, bad, old, bot, sentAt=sent_at))
    lines = written(capsys)
    assert sorted(lines) == ["event_rejected", "ingest_result"]
    (result,) = lines["ingest_result"]
    assert is_golden("ingest_result", result)
    counted = result["accepted"] + result["duplicates"] + sum(result["rejected"].values())
    assert result["received"] == counted + sum(result["ignored"].values())
    assert 86_400_000 <= result["IngestLagMs"] < 86_460_000


def test_the_time_in_the_database_is_in_milliseconds(
    post: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(perf_counter=iter([1.0, 1.25]).__next__)
    monkeypatch.setattr("muster.ingest.log.time", clock)
    post(ROUTE, a_batch())
    (line,) = written(capsys)["ingest_result"]
    assert (line["DbWriteMs"], line["db_ms"], line["DbReconnects"]) == (250, 250, 0)


def test_every_rejected_event_is_a_line_of_its_batch(post: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    batch = a_batch(
        an_event(), an_event(eventType=7), an_event(id="no uuid"), an_event(timestamp="2001-01-01T00:00:00Z")
    )
    answer = post(ROUTE, batch)
    lines = written(capsys)
    first, second, third = lines["event_rejected"]
    assert {line["batch_id"] for line in (first, second, third)} == {answer.json["batchId"]}
    assert [line["index"] for line in (first, second, third)] == [1, 2, 3]
    assert is_golden("event_rejected", first)
    assert second["event_id"] is None
    assert third["reason"] == "timestamp_out_of_range"


def test_the_metrics_are_an_object_that_cloudwatch_takes(post: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    post(ROUTE, a_batch())
    (line,) = written(capsys)["ingest_result"]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert directive["Dimensions"] == [["service", "stage"]]
    assert len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert type(line[metric["Name"]]) in (int, float)
        assert metric["Unit"] in ("Count", "Milliseconds")
    # CloudWatch drops the whole object if the value of a dimension is not a text.
    assert all(isinstance(line[name], str) for names in directive["Dimensions"] for name in names)


def test_no_line_holds_what_a_client_sent(post: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    private = "hunter2-as-a-value"
    event = an_event(eventType=private, area=private, data={private: private})
    post(ROUTE, a_batch(event, {**event, "timestamp": private}, {**event, "id": private}, userId=private))
    post(ROUTE, {"sessionId": private, "events": [event]})
    post(ROUTE, a_batch(), kind=None, headers={"authorization": f"Bearer {private}"})
    assert private not in json.dumps(written(capsys))


def test_a_refused_request_and_the_databases_error_are_lines(
    post: Caller, capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE muster.analytics_sessions CASCADE")
    post(ROUTE, a_batch())
    lines = written(capsys)
    assert is_golden("request_failed", lines["request_failed"][0])
    assert is_golden("database_error", lines["database_error"][0])


def test_a_dropped_connection_is_a_line(post: Caller, capsys: pytest.CaptureFixture[str], postgres: Cluster) -> None:
    post(ROUTE, a_batch())
    process = api.database().connection().info.backend_pid
    with postgres.maintenance() as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))
    written(capsys)
    assert post(ROUTE, a_batch()).status == 200
    lines = written(capsys)
    assert is_golden("database_reconnected", lines["database_reconnected"][0])
    assert lines["ingest_result"][0]["DbReconnects"] == 1
    post(ROUTE, a_batch())
    assert written(capsys)["ingest_result"][0]["DbReconnects"] == 0


def test_an_unexpected_error_is_a_line(
    post: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("muster.ingest.handler.read_fast_batch", fail)
    post(ROUTE, a_batch())
    (line,) = written(capsys)["unexpected_error"]
    assert all(re.fullmatch(r"[\w<>]+:\d+", frame) for frame in line["frames"])
    # The line numbers change with the code.
    assert is_golden("unexpected_error", {**line, "frames": []})


def test_a_queued_batch_is_one_line_and_its_storage_another(
    post: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []
    monkeypatch.setattr("muster.ingest.enqueue.send", lambda _, messages: sent.extend(messages))
    monkeypatch.setenv("INGEST_MODE", "buffered")
    monkeypatch.setenv("QUEUE_URL", "https://queue.invalid")
    api.database.cache_clear()
    monkeypatch.setattr("muster.ingest.enqueue.time", SimpleNamespace(perf_counter=iter([1.0, 1.25]).__next__))
    old = an_event(timestamp="2001-01-01T00:00:00Z")
    answer = post(ROUTE, a_batch(an_event(), an_event(eventType=7), old))
    lines = written(capsys)
    (queued,), (rejected,) = lines["ingest_result"], lines["event_rejected"]
    assert queued["QueueSendMs"] == 250
    assert is_golden("ingest_result_buffered", queued)
    assert is_golden("event_rejected", rejected)

    monkeypatch.setenv("INGEST_MODE", "direct")
    api.database.cache_clear()
    forged = {**queue.unpack(sent[0]), "keyHash": "00" * 32}
    texts = [*sent, queue.pack(forged)]
    records = [
        {"messageId": str(number), "body": text, "eventSource": "aws:sqs", "attributes": {}}
        for number, text in enumerate(texts)
    ]
    consume.lambda_handler({"Records": records}, Context())  # type: ignore[arg-type]  # stands for Lambda's
    lines = written(capsys)
    (stored,), (refused,), (counted,) = (
        lines[message] for message in ("consume_result", "batch_refused", "consume_refused")
    )
    assert is_golden("consume_result", stored)
    (late,) = lines["event_rejected"]
    assert (late["event_id"], late["index"], late["batch_id"]) == (old["id"], 2, queued["batch_id"])
    assert late["reason"] == "timestamp_out_of_range"
    assert is_golden("batch_refused", refused)
    assert is_golden("consume_refused", counted)
    assert stored["batch_id"] == queued["batch_id"] == answer.json["batchId"]


def test_a_roll_up_is_a_line(post: Caller, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    post(ROUTE, a_batch(an_event(), an_event()))
    written(capsys)
    environment.setenv("DATABASE_ROLE", "muster_admin")
    answer = maintain.lambda_handler({"work": "roll_up"}, Context())
    assert answer == {"status": "ok", "rolledUp": {"events": 2, "complete": True}}
    (line,) = written(capsys)["rollup_result"]
    assert is_golden("rollup_result", line)
    with pytest.raises(ValueError, match="Send one of maintain, roll_up, retention"):
        maintain.lambda_handler({"work": "rest"}, Context())


def test_data_retention_is_a_line_for_each_project_and_one_for_all(
    post: Caller, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    post(ROUTE, a_batch(an_event(timestamp="2021-01-01T00:00:00Z")), kind="admin")
    post(ROUTE, a_batch())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE muster.projects SET retention_days = 365")
    environment.setenv("DATABASE_ROLE", "muster_admin")
    written(capsys)
    said = maintain.lambda_handler({"work": "retention", "dryRun": True}, Context())
    assert written(capsys) == {}
    answer = maintain.lambda_handler({"work": "retention"}, Context())
    assert {**answer, "dryRun": True} == said
    assert (answer["status"], answer["complete"], answer["projects"][0]["events"]) == ("ok", True, 1)
    lines = written(capsys)
    assert is_golden("project_expired", lines["project_expired"][0])
    assert is_golden("retention_result", lines["retention_result"][0])


@pytest.mark.parametrize(
    "event", [{"work": "retention", "dryRun": "false"}, {"work": "retention", "dryRun": 0}, {"dryRun": True}]
)
def test_an_unclear_dry_run_is_refused(environment: pytest.MonkeyPatch, event: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="dryRun must be true or false"):
        maintain.lambda_handler(event, Context())


def test_a_step_of_data_retention_that_is_locked_out_is_a_line(
    post: Caller, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    post(ROUTE, a_batch(an_event(timestamp="2021-01-01T00:00:00Z")), kind="admin")
    environment.setenv("DATABASE_ROLE", "muster_admin")
    environment.setattr("muster.maintenance.data_retention.LOCK_TIMEOUT", "20ms")
    with psycopg.connect(database_url) as other:
        other.execute("UPDATE muster.projects SET retention_days = 365")
        other.execute("SELECT muster.roll_up(id, 100) FROM muster.projects")
        other.commit()
        other.execute("SELECT FROM muster.rollup_state FOR UPDATE")
        written(capsys)
        answer = maintain.lambda_handler({"work": "retention"}, Context())
    assert not answer["complete"]
    assert (answer["projects"][0]["events"], answer["projects"][0]["left"]["events"]) == (0, 1)
    lines = written(capsys)
    assert is_golden("retention_step_failed", lines["retention_step_failed"][0])
    assert maintain.lambda_handler({"work": "retention"}, Context())["complete"]
