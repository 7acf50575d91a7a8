"""PUT and GET /v1/sessions/{sessionId}."""

import uuid
from datetime import datetime
from typing import Any

import psycopg
import pytest

from tests.support.databases import make_project
from tests.support.functions import Answer, Caller, a_batch, an_event

PUT, GET = "PUT /v1/sessions/{sessionId}", "GET /v1/sessions/{sessionId}"
UNKNOWN = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"


def put(call: Caller, session_id: str, body: Any = None, **options: Any) -> Answer:
    return call(PUT, body, path=f"/v1/sessions/{session_id}", **options)


def get(call: Caller, session_id: str, **options: Any) -> Answer:
    return call(GET, path=f"/v1/sessions/{session_id}", **{"kind": "read", **options})


def test_a_session_is_created_and_then_updated(on_sessions: Caller) -> None:
    first = put(on_sessions, UNKNOWN, {"startedAt": "2026-05-01T10:00:00+02:00"})
    assert (first.status, first.json["created"], first.json["userId"]) == (200, True, None)
    second = put(on_sessions, UNKNOWN, {"userId": "u", "endedAt": "2026-05-01T08:05:00Z"})
    assert {**second.json, "participantType": None} == get(on_sessions, UNKNOWN).json
    assert {name: value for name, value in second.json.items() if not name.endswith("At")} == {
        "sessionId": UNKNOWN,
        "userId": "u",
        "durationSeconds": 300,
        "eventsCount": 0,
        "isActive": False,
        "created": False,
    }
    times = [second.json[name] for name in ("startedAt", "lastSeenAt", "endedAt")]
    assert [datetime.fromisoformat(time).timestamp() for time in times] == [1777622400, 1777622700, 1777622700]


def test_the_end_of_a_session_is_the_one_sent_last(on_sessions: Caller) -> None:
    ends = ["2026-05-01T08:05:00+00:00", "2026-05-01T08:09:00+00:00", "2026-05-01T08:07:00+00:00"]
    for end in ends:
        stored = put(on_sessions, UNKNOWN, {"startedAt": "2026-05-01T08:00:00Z", "endedAt": end}).json
        assert datetime.fromisoformat(stored["endedAt"]) == datetime.fromisoformat(end)
    assert datetime.fromisoformat(stored["lastSeenAt"]) == datetime.fromisoformat(ends[1])


@pytest.mark.parametrize("name", ["startedAt", "endedAt"])
def test_a_session_with_one_time_starts_and_was_last_seen_then(on_sessions: Caller, name: str) -> None:
    stored = put(on_sessions, UNKNOWN, {name: "2026-05-01T08:00:00Z"}).json
    assert {datetime.fromisoformat(stored[each]).timestamp() for each in ("startedAt", "lastSeenAt")} == {1777622400}


def test_no_body_is_the_same_as_an_empty_one(on_sessions: Caller) -> None:
    assert put(on_sessions, UNKNOWN).json["isActive"] is True
    assert put(on_sessions, UNKNOWN, {}).json["created"] is False


@pytest.mark.parametrize("number", [2**63, 10**30, -(10**300)])
def test_a_context_holds_whole_numbers_of_any_length(on_sessions: Caller, database_url: str, number: int) -> None:
    assert put(on_sessions, UNKNOWN, {"context": {"n": number}}).status == 200
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT context ->> 'n' FROM muster.analytics_sessions").fetchall()
    assert stored == [(str(number),)]


def test_a_session_of_a_batch_counts_its_events(post: Caller, on_sessions: Caller) -> None:
    batch = a_batch(an_event(), an_event(), userId="u")
    post("POST /v1/events", batch)
    found = get(on_sessions, batch["sessionId"])
    assert (found.json["eventsCount"], found.json["userId"], found.json["isActive"]) == (2, "u", True)


def test_a_known_user_is_never_replaced(on_sessions: Caller) -> None:
    put(on_sessions, UNKNOWN, {"userId": "u"})
    assert put(on_sessions, UNKNOWN, {"userId": None}).json["userId"] == "u"
    other = put(on_sessions, UNKNOWN, {"userId": "v"})
    assert (other.status, other.code) == (409, "session_belongs_to_another_user")
    assert get(on_sessions, UNKNOWN).json["userId"] == "u"


def test_an_unknown_session_is_not_found(on_sessions: Caller) -> None:
    answer = get(on_sessions, str(uuid.uuid4()))
    assert (answer.status, answer.code) == (404, "not_found")


def test_another_projects_session_is_not_found(on_sessions: Caller, database_url: str) -> None:
    put(on_sessions, UNKNOWN, {"userId": "u"})
    other = Caller(on_sessions.handler, make_project(database_url, "other"), on_sessions.role, on_sessions.environment)
    assert get(other, UNKNOWN).status == 404
    assert put(other, UNKNOWN, {"userId": "v"}).json["created"] is True
    assert get(on_sessions, UNKNOWN).json["userId"] == "u"


@pytest.mark.parametrize(
    ("session_id", "body", "code"),
    [
        ("seven", {}, "invalid_parameter"),
        (UNKNOWN, "not json", "invalid_json"),
        (UNKNOWN, "[]", "invalid_batch"),
        (UNKNOWN, {"userId": 7}, "invalid_batch"),
        (UNKNOWN, {"userId": "a\0"}, "invalid_batch"),
        (UNKNOWN, {"startedAt": "yesterday"}, "invalid_batch"),
        (UNKNOWN, {"startedAt": "2026-02-30T00:00:00Z"}, "invalid_batch"),
        (UNKNOWN, {"sequence": -1}, "invalid_batch"),
        (UNKNOWN, {"bogus": 1}, "invalid_batch"),
    ],
)
def test_bad_input_is_named(on_sessions: Caller, session_id: str, body: Any, code: str) -> None:
    answer = put(on_sessions, session_id, body)
    assert (answer.status, answer.code) == (400, code)
    assert answer.json["error"]["message"]


def test_each_method_needs_its_kind_of_key(on_sessions: Caller) -> None:
    assert [put(on_sessions, UNKNOWN, kind=kind).status for kind in ("write", "admin", "read", None)] == [
        200,
        200,
        403,
        401,
    ]
    assert [get(on_sessions, UNKNOWN, kind=kind).status for kind in ("read", "admin", "write", None)] == [
        200,
        200,
        403,
        401,
    ]
