"""The quarantine: rejections can be found and replayed once under today's rules, and their number is limited."""

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from functions.maintain import app as maintain_app
from muster.db.client import Database
from muster.platform.settings import Settings
from muster.quarantine import rejections
from muster.quarantine.replay import ReplayIn
from muster.service import AnalyticsService
from tests.support.databases import Project, make_project
from tests.support.functions import Answer, Caller, Context, a_batch, an_event
from tests.support.golden import written

POST, LIST = "POST /v1/events", "GET /v1/diagnostics/rejections"
REPLAY = "POST /v1/diagnostics/rejections/replay"
OLD = "2001-01-01T00:00:00Z"


def listed(call: Caller, **query: Any) -> list[dict[str, Any]]:
    answer = call(LIST, kind="read", query=query)
    assert answer.status == 200, answer.json
    return list(answer.json["rejections"])


def replay(call: Caller, **wanted: Any) -> dict[str, Any]:
    answer = call(REPLAY, wanted or None, kind="admin")
    assert answer.status == 200, answer.json
    return {name: answer.json[name] for name in ("replayed", "stillRejected")}


def rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_rejected_event_is_stored_with_its_reasons(post: Caller, on_diagnostics: Caller) -> None:
    bad = an_event(eventType=7)
    batch = a_batch(an_event(), bad, an_event(timestamp=OLD), userId="ada")
    answer = post(POST, batch)
    old, kept = sorted(listed(on_diagnostics), key=lambda each: each["index"], reverse=True)
    assert (kept["reason"], kept["index"], kept["eventId"], kept["userId"]) == ("invalid_event", 1, bad["id"], "ada")
    assert (kept["sessionId"], kept["batchId"]) == (batch["sessionId"], answer.json["batchId"])
    assert kept["requestId"] == answer.headers["x-request-id"]
    assert json.loads(kept["payload"]) == bad
    assert kept["details"][0]["loc"] == ["events", 1, "eventType"]
    assert old["details"][0]["loc"] == ["events", 2, "timestamp"]
    assert (kept["attempts"], kept["events"], kept["replayedAt"]) == (1, 1, None)


def test_rejections_are_found_by_each_of_their_ids(post: Caller, on_diagnostics: Caller) -> None:
    bad, session = an_event(eventType=7), str(uuid.uuid4())
    answer = post(POST, a_batch(bad, sessionId=session, userId="ada"))
    post(POST, a_batch(an_event(timestamp=OLD), userId="bob"))
    request_id = answer.headers["x-request-id"]
    for query in (
        {"reason": "invalid_event"},
        {"sessionId": session},
        {"eventId": bad["id"].upper()},
        {"batchId": answer.json["batchId"]},
        {"requestId": request_id},
        {"userId": "ada"},
    ):
        (found,) = listed(on_diagnostics, **query)
        assert found["eventId"] == bad["id"], query
    assert len(listed(on_diagnostics, start="2015-01-01", state="all")) == 2
    assert listed(on_diagnostics, end="2015-01-01") == []
    assert listed(on_diagnostics, state="replayed") == []


def test_rejections_are_paged_newest_first_and_grouped(post: Caller, on_diagnostics: Caller) -> None:
    for number in range(5):
        post(POST, a_batch(an_event(eventType=number)))
    post(POST, a_batch(an_event(timestamp=OLD)))
    first = on_diagnostics(LIST, kind="read", query={"limit": 4}).json
    second = on_diagnostics(LIST, kind="read", query={"limit": 4, "cursor": first["nextCursor"]}).json
    ids = [each["id"] for each in [*first["rejections"], *second["rejections"]]]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second["nextCursor"]) == (6, None)
    groups = on_diagnostics(LIST, kind="read", query={"group": "reason"}).json["groups"]
    assert [(each["reason"], each["events"]) for each in groups] == [
        ("invalid_event", 5),
        ("timestamp_out_of_range", 1),
    ]


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "x"},
        {"group": "user"},
        {"state": "gone"},
        {"batchId": "7"},
        {"limit": 0},
        {"color": "red"},
        {"end": "x"},
    ],
)
def test_a_bad_parameter_is_named(on_diagnostics: Caller, query: dict[str, Any]) -> None:
    answer = on_diagnostics(LIST, kind="read", query=query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert next(iter(query)) in answer.json["error"]["message"]


def test_a_write_key_sees_nothing_and_a_read_key_replays_nothing(post: Caller, on_diagnostics: Caller) -> None:
    post(POST, a_batch(an_event(timestamp=OLD)))
    assert on_diagnostics(LIST, kind="write").code == "key_not_allowed"
    for kind in ("read", "write"):
        assert on_diagnostics(REPLAY, kind=kind).code == "key_not_allowed"
    assert on_diagnostics(REPLAY, kind=None).code == "missing_key"


def test_another_projects_rejections_cannot_be_seen_or_replayed(
    post: Caller, on_diagnostics: Caller, database_url: str
) -> None:
    post(POST, a_batch(an_event(timestamp=OLD)))
    (kept,) = listed(on_diagnostics)
    other = make_project(database_url, "other")
    stranger = Caller(on_diagnostics.handler, other, on_diagnostics.role, on_diagnostics.environment)
    assert listed(stranger) == []
    assert replay(stranger, ids=[kept["id"]], history=True) == {"replayed": 0, "stillRejected": 0}
    assert len(listed(on_diagnostics)) == 1


def test_a_replay_stores_once_with_the_time_of_receipt(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    old = an_event(timestamp=(datetime.now(UTC) - timedelta(days=1_000)).isoformat())
    post(POST, a_batch(old, userId="ada"))
    rows(database_url, "UPDATE muster.analytics_rejections SET received_at = received_at - interval '1 hour'")
    (received,) = rows(database_url, "SELECT received_at FROM muster.analytics_rejections")
    assert replay(on_diagnostics) == {"replayed": 0, "stillRejected": 1}
    rows(database_url, "UPDATE muster.projects SET event_window_days = 3650")
    assert replay(on_diagnostics) == {"replayed": 1, "stillRejected": 0}
    assert replay(on_diagnostics) == {"replayed": 0, "stillRejected": 0}
    stored = rows(database_url, "SELECT id::text, user_id, received_at FROM muster.analytics_events")
    assert stored == [(old["id"], "ada", received[0])]
    assert rows(database_url, "SELECT events_count FROM muster.analytics_sessions") == [(1,)]
    (kept,) = listed(on_diagnostics, state="replayed")
    assert (kept["payload"], kept["attempts"]) == (None, 1)
    assert listed(on_diagnostics) == []
    # If the client sends the event again, it is a duplicate.
    assert post(POST, a_batch(old)).json["accepted"] == 1  # of another session: it is another event
    (session,) = rows(database_url, "SELECT session_id::text FROM muster.analytics_events WHERE user_id = 'ada'")
    assert post(POST, a_batch(old, sessionId=session[0])).json["duplicates"] == 1


def test_an_admin_may_replay_events_that_are_too_old(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post(POST, a_batch(an_event(timestamp=OLD), an_event(timestamp="1969-01-01T00:00:00Z")))
    assert replay(on_diagnostics, history=True) == {"replayed": 1, "stillRejected": 1}
    assert rows(database_url, "SELECT attempts FROM muster.analytics_rejections WHERE replayed_at IS NULL") == [(1,)]


def test_an_event_without_an_id_is_replayed_with_its_derived_id(
    post: Caller, on_diagnostics: Caller, database_url: str
) -> None:
    batch = a_batch(an_event(id=None, timestamp=OLD))
    post(POST, batch)
    assert replay(on_diagnostics, history=True)["replayed"] == 1
    again = post(POST, batch, kind="admin").json
    assert again["duplicates"] == 1


def test_a_refused_request_is_replayed_once_it_is_valid(
    post: Caller, on_diagnostics: Caller, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    batch = a_batch(*(an_event() for _ in range(3)))
    with monkeypatch.context() as stricter:
        stricter.setattr("muster.ingest.parse.MAX_EVENTS", 2)
        stricter.setattr("muster.ingest.fast_path.MAX_EVENTS", 2)
        assert post(POST, batch).code == "invalid_batch"
    (kept,) = listed(on_diagnostics)
    assert (kept["reason"], kept["index"]) == ("invalid_batch", None)
    assert replay(on_diagnostics, ids=[kept["id"]]) == {"replayed": 1, "stillRejected": 0}
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(3,)]


def test_a_payload_that_was_cut_is_not_replayed(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    post(POST, a_batch(an_event(timestamp=OLD, data={"text": "x" * 20_000})))
    answer = on_diagnostics(REPLAY, {"history": True}, kind="admin").json
    assert (answer["replayed"], answer["stillRejected"], answer["notKept"]) == (0, 1, 1)
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(0,)]


def test_a_user_who_denied_consent_is_not_in_the_quarantine(
    post: Caller, on_diagnostics: Caller, database_url: str, project: Project
) -> None:
    post(POST, a_batch(an_event(eventType=7), userId="ada"))
    rows(
        database_url,
        "INSERT INTO muster.analytics_consent (project_id, user_id, status) "
        f"VALUES ('{project.id}', 'ada', 'denied'), ('{project.id}', 'bob', 'denied')",
    )
    post(POST, a_batch(an_event(eventType=7), userId="bob"))
    before, after = sorted(listed(on_diagnostics), key=lambda each: each["id"])
    assert (before["userId"], before["payload"] is None) == ("ada", False)
    assert (after["userId"], after["payload"]) == (None, None)
    # Fixed, ada's event is valid and ignored: the rejection is settled and nothing is stored.
    rows(
        database_url,
        "UPDATE muster.analytics_rejections SET payload = replace(payload, '7,', '\"x\",'), "
        "payload_bytes = payload_bytes + 2 WHERE user_id = 'ada'",
    )
    assert replay(on_diagnostics, ids=[before["id"]]) == {"replayed": 1, "stillRejected": 0}
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(0,)]
    assert rows(database_url, "SELECT reason FROM muster.analytics_ignored") == [("consent_denied",)]


def test_two_replays_at_once_store_once(post: Caller, on_diagnostics: Caller, database_url: str) -> None:
    for _ in range(20):
        post(POST, a_batch(an_event(timestamp=OLD)))
    ids = [each["id"] for each in listed(on_diagnostics)]
    key = on_diagnostics.project.keys["admin"]

    answers: list[Any] = []

    def work() -> None:
        database = Database(Settings(database_url=database_url, database_role="muster_reader"))
        answers.append(AnalyticsService(database, key=key).replay_rejections(ReplayIn(ids=ids, history=True)))
        database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.replayed for each in answers) == 20
    assert rows(database_url, "SELECT count(*), sum(events_count)::int FROM muster.analytics_sessions") == [(20, 20)]


@pytest.mark.parametrize("body", ['{"ids": "all"}', '{"colour": 1}', "[", '{"ids": [0]}', '{"eventId": "x"}'])
def test_an_invalid_replay_is_refused_by_name(on_diagnostics: Caller, body: str) -> None:
    answer = on_diagnostics(REPLAY, body, kind="admin")
    assert (answer.status, answer.code) == (400, "invalid_batch")


def test_a_long_replay_continues_from_its_cursor(
    post: Caller, on_diagnostics: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(POST, a_batch(*(an_event(timestamp=OLD) for _ in range(5))))
    monkeypatch.setattr("muster.quarantine.replay.ROWS_AT_ONCE", 2)
    # A clock that moves a second each time it is read: a request has time for two rejections.
    monkeypatch.setattr("muster.quarantine.replay.time", SimpleNamespace(monotonic=count().__next__))
    monkeypatch.setattr("muster.quarantine.replay.REPLAY_SECONDS", 2)
    replayed, cursor, calls = 0, "0", 0
    while cursor is not None:
        answer = on_diagnostics(REPLAY, {"history": True, "cursor": cursor}, kind="admin").json
        replayed, cursor, calls = replayed + answer["replayed"], answer["nextCursor"], calls + 1
        assert answer["replayed"] <= 2
    assert (replayed, calls) == (5, 3)


def test_a_flood_of_rejections_is_counted_in_one_row(
    post: Caller, on_diagnostics: Caller, database_url: str, project: Project
) -> None:
    rows(
        database_url,
        "INSERT INTO muster.analytics_rejections (project_id, fingerprint, reason) "
        f"SELECT '{project.id}', sha256(convert_to(n::text, 'UTF8')), 'invalid_event' FROM generate_series(1, 10000) n",
    )
    for number in range(3):
        answer = post(POST, a_batch(*(an_event(eventType=number) for _ in range(10)), an_event(timestamp=OLD)))
        assert (answer.status, answer.json["rejected"]) == (200, 11)
    groups = on_diagnostics(LIST, kind="read", query={"group": "reason"}).json["groups"]
    assert {each["reason"]: each["events"] for each in groups} == {
        "invalid_event": 10_030,
        "timestamp_out_of_range": 3,
    }
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_rejections") == [(10_002,)]


def test_maintenance_trims_by_age_number_and_size(
    post: Caller, environment: pytest.MonkeyPatch, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def trimmed() -> int:
        environment.setenv("DATABASE_ROLE", "muster_admin")
        written(capsys)
        answer = maintain_app.lambda_handler({}, Context())
        environment.setenv("DATABASE_ROLE", "muster_ingest")
        (line,) = written(capsys)["maintain_result"]
        assert line["RejectionsTrimmed"] == answer["rejectionsTrimmed"]
        return int(line["RejectionsTrimmed"])

    for number in range(6):
        post(POST, a_batch(an_event(eventType=number, data={"text": "x" * 1000})))
    assert trimmed() == 0
    rows(
        database_url,
        "UPDATE muster.analytics_rejections SET last_received_at = now() - interval '91 days' WHERE id = 1",
    )
    assert trimmed() == 1
    environment.setattr(rejections, "MAX_ROWS", 4)
    assert trimmed() == 1
    environment.setattr(rejections, "MAX_BYTES", 2_500)
    assert trimmed() == 2
    assert rows(database_url, "SELECT id FROM muster.analytics_rejections ORDER BY id") == [(5,), (6,)]


def test_a_batch_of_ignored_events_creates_no_session(post: Caller, database_url: str, project: Project) -> None:
    rows(
        database_url,
        f"INSERT INTO muster.analytics_consent (project_id, user_id, status) VALUES ('{project.id}', 'ada', 'denied')",
    )
    answer: Answer = post(POST, a_batch(an_event(), userId="ada", sequence=1, context={"locale": "en"}))
    assert answer.json["ignored"] == 1
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_sessions") == [(0,)]
