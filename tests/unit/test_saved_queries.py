"""The template's saved queries: their fields exist in the log lines, and each query finds its lines."""

import json
import re
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.support.insights import QueryError, SavedQuery, access_log_line, flat, saved_queries

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
QUERIES = saved_queries()
LINES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(GOLDEN.glob("*.json"))
} | {"access_log": access_log_line(status=429, routeKey="POST /v1/events")}
# The kinds of lines in each log group that these queries search.
IN_GROUP = {
    "ApiLogGroup": {"access_log"},
    "ConsumeLogGroup": {"consume_result", "consume_refused", "batch_refused", "event_rejected"},
}
EVERYWHERE = {"database_error", "database_reconnected", "platform_report"}
OF_FUNCTIONS = {"ingest_result", "ingest_result_buffered", "event_rejected", "request_failed", "unexpected_error"}
# database_deadlock_retried has the fields of database_reconnected without error. No test can cause it at will.
ALSO_LOGGED = {"database_deadlock_retried"}
FINDS = {
    "trace-one-event": {
        "event_rejected",
        "ingest_result",
        "ingest_result_buffered",
        "consume_result",
        "consume_refused",
        "batch_refused",
    },
    "trace-one-batch": {
        "event_rejected",
        "ingest_result",
        "ingest_result_buffered",
        "consume_result",
        "consume_refused",
        "batch_refused",
        "request_failed",
        "database_error",
        "database_reconnected",
        "unexpected_error",
    },
    "rejections-by-reason": {"event_rejected"},
    "refused-before-lambda": {"access_log"},
    "cold-starts": {"platform_report"},
    "database-errors": {"database_error", "database_reconnected"},
    "stuck-messages": {"database_error", "batch_refused", "consume_result"},
}


def lines_in(group: str) -> dict[str, dict[str, Any]]:
    if group == "ApiLogGroup":
        return {"access_log": LINES["access_log"]}
    names = EVERYWHERE | IN_GROUP.get(group, OF_FUNCTIONS)
    return {name: LINES[name] for name in names}


def test_the_saved_queries_are_those_of_the_runbook() -> None:
    assert sorted(QUERIES) == sorted(FINDS)


@pytest.mark.parametrize("name", FINDS)
def test_every_field_of_a_query_is_in_its_log_groups(name: str) -> None:
    query = QUERIES[name]
    known = {"@timestamp", "ignored.consent_denied", "ignored.consent_missing"}
    for group in query.log_groups:
        for line in lines_in(group).values():
            known |= set(flat(line))
    assert query.fields - known == set()


@pytest.mark.parametrize("name", FINDS)
def test_every_message_of_a_query_is_logged(name: str) -> None:
    messages = {line.get("message") for line in LINES.values()} | ALSO_LOGGED
    to_replace = {text for text in QUERIES[name].texts if re.fullmatch(r"[A-Z]+-ID", text)}
    assert QUERIES[name].texts - to_replace - messages - {"platform.report", "-"} == set()


@pytest.mark.parametrize("name", FINDS)
def test_a_query_finds_exactly_its_lines(name: str) -> None:
    query = QUERIES[name]
    there = {line: fields for group in query.log_groups for line, fields in lines_in(group).items()}
    passed = query.find(there.values(), EVENT_ID="<uuid>", BATCH_ID="<uuid>", REQUEST_ID="<uuid>")
    assert {line for line, fields in there.items() if fields in passed} == FINDS[name]


def test_a_functions_error_is_not_refused_before_lambda() -> None:
    lines = [access_log_line(status=401, integrationStatus=401), access_log_line(status=200, integrationStatus=200)]
    assert QUERIES["refused-before-lambda"].find(lines) == []
    assert len(QUERIES["refused-before-lambda"].find([access_log_line(status=404)])) == 1


@pytest.mark.parametrize("text", ["select a", "fields a ~ b", "stats median(a)"])
def test_syntax_that_logs_insights_does_not_have_is_an_error(text: str) -> None:
    with pytest.raises(QueryError):
        _ = SavedQuery("wrong", text, ()).fields


@pytest.mark.parametrize("name", FINDS)
def test_cloudwatch_logs_accepts_every_query(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto only parses the query and applies its limit. The parser above runs filters and statistics.
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    query, now = QUERIES[name], int(time.time())
    lines = [json.dumps(LINES[line]) for line in sorted(FINDS[name])]
    with mock_aws():
        logs = boto3.client("logs", region_name="us-east-1")
        logs.create_log_group(logGroupName="group")
        logs.create_log_stream(logGroupName="group", logStreamName="stream")
        events = [{"timestamp": now * 1000, "message": line} for line in lines]
        logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=events)
        asked = logs.start_query(logGroupName="group", startTime=now - 60, endTime=now + 60, queryString=query.text)
        answer = logs.get_query_results(queryId=asked["queryId"])
    assert (answer["status"], len(answer["results"])) == ("Complete", len(lines))
