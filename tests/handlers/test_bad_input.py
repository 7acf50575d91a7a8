"""POST /v1/events: bad input gets a clear answer, harms no neighbour, and is kept with its reason."""

import gzip
import json
from typing import Any

import psycopg
import pytest

from tests.support.functions import Answer, Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def quarantine(database_url: str) -> list[dict[str, Any]]:
    with psycopg.connect(database_url) as connection:
        statement = "SELECT to_jsonb(r) FROM muster.analytics_rejections r ORDER BY event_index NULLS FIRST"
        return [row[0] for row in connection.execute(statement)]


def rejected(answer: Answer, index: int) -> dict[str, Any]:
    assert answer.status == 200
    event: dict[str, Any] = answer.json["events"][index]
    assert (event["status"], event["index"]) == ("rejected", index)
    return event


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(None, 400, "invalid_json", id="empty"),
        pytest.param("not json", 400, "invalid_json", id="not JSON"),
        pytest.param('{"sessionId": ', 400, "invalid_json", id="cut short"),
        pytest.param(b'{"sessionId": "\xff\xfe"}', 400, "invalid_json", id="invalid UTF-8"),
        pytest.param("[" * 100_000, 400, "invalid_json", id="100,000 open brackets"),
        pytest.param("[" * 100_000 + "]" * 100_000, 400, "invalid_json", id="100,000 nested brackets"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, 400, "invalid_json", id="100,000 nested objects"),
        pytest.param("[]", 400, "invalid_batch", id="an array"),
        pytest.param('"text"', 400, "invalid_batch", id="a text"),
        pytest.param("{}", 400, "invalid_batch", id="an empty object"),
        pytest.param({"events": [{"eventType": "a"}]}, 400, "invalid_batch", id="no session"),
        pytest.param(a_batch(sessionId="7"), 400, "invalid_batch", id="a session id that is no UUID"),
        pytest.param(a_batch(sessionId="urn:uuid:" + "0" * 32), 400, "invalid_batch", id="a URN"),
        pytest.param({**a_batch(), "events": []}, 400, "invalid_batch", id="no events"),
        pytest.param({**a_batch(), "events": {}}, 400, "invalid_batch", id="events no list"),
        pytest.param(a_batch(*[an_event()] * 1001), 400, "invalid_batch", id="1,001 events"),
        pytest.param(a_batch(userId="a\0b"), 400, "invalid_batch", id="NUL in the user"),
        pytest.param(a_batch(userId="x" * 201), 400, "invalid_batch", id="a long user"),
        pytest.param(a_batch(sequence=0), 400, "invalid_batch", id="sequence 0"),
        pytest.param(a_batch(sentAt="2026-01-01"), 400, "invalid_batch", id="sentAt no time"),
        pytest.param(a_batch(context={"x": "y" * 5000}), 400, "invalid_batch", id="a large context"),
        pytest.param(a_batch(bogus=1), 400, "invalid_batch", id="an unknown field"),
        pytest.param(a_batch(an_event(data={"x": "y" * 1_500_000})), 413, "payload_too_large", id="1.5 MB"),
    ],
)
def test_a_bad_request_is_refused_by_name_and_counted(
    post: Caller, database_url: str, body: Any, status: int, code: str
) -> None:
    answer = post(ROUTE, body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error"]["message"]
    (kept,) = quarantine(database_url)
    assert (kept["reason"], kept["event_index"]) == (code, None)


def test_a_gzip_bomb_is_refused_before_it_is_inflated(post: Caller) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9)
    assert len(bomb) < 1_000_000
    answer = post(ROUTE, bomb, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"{}", gzip.compress(b"{}")[:-6], gzip.compress(b"{}") + b"rest"], ids=["plain", "cut", "longer"]
)
def test_what_is_called_gzip_and_is_not_is_refused(post: Caller, body: bytes) -> None:
    answer = post(ROUTE, body, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (400, "invalid_json")


@pytest.mark.parametrize("header", [{"content-encoding": "br"}, {"content-type": "multipart/form-data"}])
def test_another_encoding_is_refused(post: Caller, header: dict[str, str]) -> None:
    answer = post(ROUTE, a_batch(), headers=header)
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


def test_a_wrong_key_is_told_before_a_bad_body(post: Caller) -> None:
    assert post(ROUTE, "not json", kind="read").code == "key_not_allowed"
    assert post(ROUTE, "not json", kind=None, headers={"authorization": "Bearer mw_x"}).code == "invalid_key"


@pytest.mark.parametrize(
    ("event", "place", "kind"),
    [
        pytest.param({"eventType": 7}, ["eventType"], "string_type", id="a number for a type"),
        pytest.param({"eventType": None}, ["eventType"], "missing", id="no type"),
        pytest.param({"eventType": "  "}, ["eventType"], "string_pattern_mismatch", id="a blank type"),
        pytest.param({"eventType": "x" * 101}, ["eventType"], "string_too_long", id="a long type"),
        pytest.param({"area": 1}, ["area"], "string_type", id="a number for an area"),
        pytest.param({"data": [1]}, ["data"], "dict_type", id="a list for data"),
        pytest.param({"data": {"a": ["x\0"]}}, ["data", "a", 0], "nul_character", id="NUL"),
        pytest.param({"data": {"a\0": 1}}, ["data", "a\ufffd"], "nul_character", id="NUL in a key"),
        pytest.param({"data": {"a": "\ud800"}}, ["data", "a"], "lone_surrogate", id="a lone surrogate"),
        pytest.param({"data": {"a": float("nan")}}, ["data", "a"], "number_out_of_range", id="NaN"),
        pytest.param({"data": {"a": float("-inf")}}, ["data", "a"], "number_out_of_range", id="-Infinity"),
        pytest.param({"data": {"a": 10**400}}, ["data", "a"], "number_out_of_range", id="401 digits"),
        pytest.param({"timestamp": None}, ["timestamp"], "missing", id="no timestamp"),
        pytest.param({"timestamp": 1_700_000_000}, ["timestamp"], "string_type", id="a number for a time"),
        pytest.param({"timestamp": "2026-05-17T10:00:00"}, ["timestamp"], "string_pattern_mismatch", id="no offset"),
        pytest.param({"timestamp": "now"}, ["timestamp"], "string_pattern_mismatch", id="a word for a time"),
        pytest.param({"timestamp": "2026-02-30T10:00:00Z"}, ["timestamp"], "time_invalid", id="30 February"),
        pytest.param({"timestamp": "2026-02-03T10:00:00+23:59"}, ["timestamp"], "string_pattern_mismatch", id="+23:59"),
        pytest.param({"id": "7"}, ["id"], "string_pattern_mismatch", id="an id that is no UUID"),
        pytest.param({"bogus": 1}, ["bogus"], "unknown_field", id="an unknown field"),
        pytest.param({"data": {"a": "x" * 33_000}}, ["data"], "too_large", id="33 KB of data"),
    ],
)
def test_a_bad_event_is_quarantined_with_its_place_and_harms_no_neighbour(
    post: Caller, database_url: str, event: dict[str, Any], place: list[Any], kind: str
) -> None:
    events = [an_event() for _ in range(20)]
    bad = {name: value for name, value in {**events[7], **event}.items() if value is not None}
    events[7] = bad
    answer = post(ROUTE, a_batch(*events))
    assert answer.json["accepted"] == 19
    found = rejected(answer, 7)
    assert (found["details"][0]["loc"], found["details"][0]["type"]) == (["events", 7, *place], kind)
    assert found["reason"] == ("event_too_large" if kind == "too_large" else "invalid_event")
    (kept,) = quarantine(database_url)
    assert (kept["event_index"], kept["reason"], kept["details"]) == (7, found["reason"], found["details"])
    assert kept["payload"] == json.dumps(bad)[: 16 * 1024]
    assert kept["payload_bytes"] == len(json.dumps(bad))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM muster.analytics_events").fetchone() == (19,)
        assert connection.execute("SELECT events_count FROM muster.analytics_sessions").fetchone() == (19,)


def test_a_number_too_large_for_a_double_is_named(post: Caller) -> None:
    text = json.dumps(a_batch(an_event(data={"a": "?"}))).replace('"?"', "1e400")
    details = rejected(post(ROUTE, text), 0)["details"]
    assert [(detail["loc"], detail["type"]) for detail in details] == [
        (["events", 0, "data", "a"], "number_out_of_range")
    ]


@pytest.mark.parametrize("timestamp", ["0001-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
@pytest.mark.parametrize("kind", ["write", "admin"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_time_outside_the_window_is_rejected(post: Caller, timestamp: str, kind: str, others: int) -> None:
    answer = post(ROUTE, a_batch(an_event(timestamp=timestamp), *(an_event() for _ in range(others))), kind=kind)
    assert rejected(answer, 0)["reason"] == "timestamp_out_of_range"
    assert answer.json["accepted"] == others


@pytest.mark.parametrize(("depth", "status"), [(32, "accepted"), (33, "rejected"), (900, "rejected")])
def test_data_may_be_nested_32_deep(post: Caller, depth: int, status: str) -> None:
    data = '{"a":' * depth + "1" + "}" * depth
    text = json.dumps(a_batch(an_event(data={"a": "?"}), an_event())).replace('{"a": "?"}', data)
    answer = post(ROUTE, text)
    assert [event["status"] for event in answer.json["events"]] == [status, "accepted"]


@pytest.mark.parametrize("value", ["1e-20000", "\\u00e9", "\\\\u0000", "9" * 300, "\\ud83d\\ude00", "1.0E+5"])
@pytest.mark.parametrize("number", [1, 2])
def test_odd_but_sound_json_is_stored_or_contained_as_it_was_sent(
    post: Caller, database_url: str, value: str, number: int
) -> None:
    written = value if value[0].isdigit() else f'"{value}"'
    events = [an_event(data={"a": "?"}), an_event()][:number]
    answer = post(ROUTE, json.dumps(a_batch(*events)).replace('"?"', written))
    first, *others = answer.json["events"]
    assert [other["status"] for other in others] == ["accepted"] * (number - 1)
    with psycopg.connect(database_url) as connection:
        if value == "1e-20000":  # beyond PostgreSQL's numeric: contained, and named
            assert (first["status"], first["reason"]) == ("rejected", "storage_error")
            assert quarantine(database_url)[0]["details"][0]["type"] == "sqlstate_22003"
        else:
            assert first["status"] == "accepted"
            same = "SELECT count(*) FROM muster.analytics_events WHERE data = %s::jsonb"
            assert connection.execute(same, (f'{{"a": {written}}}',)).fetchone() == (1,)


def test_the_same_bad_event_again_is_the_same_rejection(post: Caller, database_url: str) -> None:
    batch = a_batch(an_event(eventType=7))
    post(ROUTE, batch)
    post(ROUTE, batch)
    (kept,) = quarantine(database_url)
    assert kept["attempts"] == 2


def test_no_error_repeats_a_value(post: Caller) -> None:
    for body in (a_batch(userId={"hunter2": 1}), a_batch(sessionId="hunter2"), '{"hunter2'):
        assert "hunter2" not in json.dumps(post(ROUTE, body).json).replace('"userId", "hunter2"', "")
    event = post(ROUTE, a_batch(an_event(timestamp="hunter2", data={"k": "hunter2\0"}))).json["events"][0]
    assert "hunter2" not in json.dumps(event)


def test_rejections_of_a_user_who_denied_consent_keep_no_payload(post: Caller, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO muster.analytics_consent (project_id, user_id, status) VALUES (%s, 'u', 'denied')",
            (post.project.id,),
        )
    post(ROUTE, a_batch(an_event(eventType=7), userId="u"))
    (kept,) = quarantine(database_url)
    assert (kept["reason"], kept["payload"]) == ("invalid_event", None)


@pytest.mark.parametrize("number", [2**63, 2**64, 10**30, -(10**300)])
def test_a_whole_number_of_any_length_is_kept_wherever_it_is(
    post: Caller, on_sessions: Caller, database_url: str, number: int
) -> None:
    holding = {"n": number}
    whole, part = an_event(data=holding), an_event(context=holding)
    for batch in (a_batch(whole, context=holding), a_batch(part)):
        assert post(ROUTE, batch).json["accepted"] == 1
    session = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
    path = f"/v1/sessions/{session}"
    assert on_sessions("PUT /v1/sessions/{sessionId}", {"context": holding}, path=path).status == 200
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT context ->> 'n' FROM muster.analytics_sessions").fetchall()
        kept += connection.execute("SELECT data ->> 'n' FROM muster.analytics_events WHERE data ? 'n'").fetchall()
    assert {row[0] for row in kept} == {str(number)}
    assert len(kept) >= 3
