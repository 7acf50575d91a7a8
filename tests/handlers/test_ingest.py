"""POST /v1/events over HTTP: encodings, keys and the response. The rules for events are in test_ingest_matrix.py."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from muster.auth.keys import Access, hash_key
from muster.db.client import Database
from muster.ingest.handler import save_batch
from muster.platform.settings import Settings
from tests.support.functions import Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def rows(database_url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(statement, parameters).fetchall()


def statuses(answer: Any) -> list[str]:
    return [event["status"] for event in answer.json["events"]]


def test_a_batch_is_committed_and_every_event_has_its_status(post: Caller, database_url: str) -> None:
    batch = a_batch(an_event(), an_event(area=None), an_event(data=None), userId="u-1", sequence=1)
    answer = post(ROUTE, batch)
    assert answer.status == 200
    assert answer.json["status"] == "committed"
    assert (answer.json["received"], answer.json["accepted"]) == (3, 3)
    assert answer.json["events"] == [
        {"index": index, "id": event["id"], "status": "accepted"} for index, event in enumerate(batch["events"])
    ]
    stored = rows(
        database_url, "SELECT id::text, user_id, event_type, area, data, batch_id::text FROM muster.analytics_events"
    )
    assert sorted(stored) == sorted(
        (event["id"], "u-1", "page_view", event.get("area", "unknown"), event.get("data", {}), answer.json["batchId"])
        for event in batch["events"]
    )


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"]
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_json_is_read_under_the_types_of_beacons_and_proxies(post: Caller, content_type: str, gzipped: bool) -> None:
    answer = post(ROUTE, a_batch(), headers={"content-type": content_type}, gzipped=gzipped)
    assert (answer.status, statuses(answer)) == (200, ["accepted", "accepted"])


def test_a_key_may_come_in_the_query_or_as_a_basic_user(post: Caller) -> None:
    key = post.project.keys["write"]
    assert post(ROUTE, a_batch(), kind=None, query={"key": key}).status == 200
    assert post(ROUTE, a_batch(), kind=None, headers={"authorization": _basic(key)}).status == 200


def test_the_same_batch_twice_at_once_is_stored_once(database_url: str, project: Any) -> None:
    batch = a_batch(*(an_event() for _ in range(50)))
    text = json.dumps(batch)
    access = Access(key_hash=hash_key(project.keys["write"]), request_id="twice")

    def send(_: int) -> Any:
        database = Database(Settings(database_url=database_url, database_role="muster_ingest"))
        try:
            return save_batch(database, access, text).result
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(send, range(4)))
    assert sum(result["accepted"] for result in results) == 50
    assert sum(result["duplicates"] for result in results) == 150
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(50,)]
    assert rows(database_url, "SELECT events_count FROM muster.analytics_sessions") == [(50,)]


def test_each_batch_is_accounted_for_in_one_log_line(post: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    answer = post(ROUTE, a_batch(an_event(), an_event(eventType=7), userId="secret-user"))
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    (result,) = [line for line in lines if line["message"] == "ingest_result"]
    assert (result["received"], result["accepted"], result["rejected"]) == (2, 1, {"invalid_event": 1})
    assert result["EventsUnaccounted"] == 0
    assert result["batch_id"] == answer.json["batchId"]
    assert result["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "stage"]]
    (rejected,) = [line for line in lines if line["message"] == "event_rejected"]
    assert (rejected["index"], rejected["reason"]) == (1, "invalid_event")
    assert "secret-user" not in printed
    assert post.project.keys["write"] not in printed


def _basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()
