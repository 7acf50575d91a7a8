"""GET /v1/metrics and GET /v1/metrics/events."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.databases import make_project
from tests.support.functions import Answer, Caller, a_batch, an_event

METRICS, EVENTS = "GET /v1/metrics", "GET /v1/metrics/events"


def get(call: Caller, query: dict[str, Any] | None = None, route: str = METRICS, **options: Any) -> Answer:
    return call(route, query=query, **{"kind": "read", **options})


def send(post: Caller, *events: dict[str, Any], **fields: Any) -> None:
    answer = post("POST /v1/events", a_batch(*events, **fields), kind="admin")
    assert answer.json["accepted"] == len(events)


def test_an_event_is_in_the_next_answer(post: Caller, on_metrics: Caller) -> None:
    send(post, an_event(), an_event(eventType="sign_up"), userId="ada")
    answer = get(on_metrics, {"timeframe": "day", "breakdown": "eventType"})
    assert answer.status == 200
    assert answer.json["totals"] == {
        "events": 2,
        "users": 1,
        "sessions": 1,
        "newUsers": 1,
        "activeUsersNow": 1,
        "averageSessionSeconds": 0,
        "bounceRate": 0,
        "eventsPerSession": 2,
    }
    # Numbers that may have a fraction are always written with one.
    assert '"averageSessionSeconds":0.0,"bounceRate":0.0,"eventsPerSession":2.0' in answer.text
    assert answer.json["breakdown"] == [
        {"value": "page_view", "events": 1, "users": 1, "sessions": 1},
        {"value": "sign_up", "events": 1, "users": 1, "sessions": 1},
    ]
    assert len(answer.json["series"]) == 24
    assert answer.json["range"]["granularity"] == "hour"


def test_an_empty_project_is_zeros_and_says_why(on_metrics: Caller) -> None:
    answer = get(on_metrics)
    assert answer.status == 200
    assert set(answer.json["totals"].values()) == {0}
    assert set(answer.json) == {"range", "asOf", "totals", "previous", "series", "breakdown", "explain"}
    assert len(answer.json["series"]) == 7
    assert answer.json["explain"]["lastEventAt"] is None
    assert "no events yet" in answer.json["explain"]["hint"]


def test_an_empty_view_says_where_the_events_are(post: Caller, on_metrics: Caller) -> None:
    send(post, an_event(timestamp="2015-05-17T10:00:00Z"))
    post("POST /v1/events", a_batch(an_event(eventType=7)))
    outside = get(on_metrics, {"timeframe": "day"}).json["explain"]
    assert (outside["rowsOutsideRange"], outside["rejectedInRange"]) == (1, 1)
    assert "2015-05-17" in outside["hint"]
    assert "1 rejected" in outside["hint"]
    filtered = get(on_metrics, {"timeframe": "all", "eventType": "nothing"}).json["explain"]
    assert "filters" in filtered["hint"]


def test_values_of_one_filter_are_alternatives_and_filters_combine(post: Caller, on_metrics: Caller) -> None:
    send(
        post,
        an_event(eventType="a", area="x", data={"plan": "pilot"}),
        an_event(eventType="b", area="x", data={"plan": 7}),
        an_event(eventType="c", area="y", data={}),
    )

    def count(query: dict[str, Any]) -> int:
        return int(get(on_metrics, query).json["totals"]["events"])

    assert count({"eventType": ["a", "b"]}) == 2
    assert count({"eventType": ["a", "b"], "area": "y"}) == 0
    assert count({"data.plan": ["pilot", "7"]}) == 2
    assert count({"data.plan": "pilot", "area": "x"}) == 1
    assert get(on_metrics, {"breakdown": "data.plan"}).json["breakdown"][0]["value"] in ("7", "pilot", None)


def test_days_are_those_of_the_time_zone(post: Caller, on_metrics: Caller) -> None:
    send(post, an_event(timestamp="2015-05-16T23:30:00Z"))
    query = {"start": "2015-05-17", "end": "2015-05-18"}
    assert get(on_metrics, query).json["totals"]["events"] == 0
    berlin = get(on_metrics, {**query, "timezone": "Europe/Berlin", "granularity": "day"}).json
    assert berlin["totals"]["events"] == 1
    assert berlin["series"] == [{"bucket": "2015-05-17T00:00:00+02:00", "events": 1, "users": 0, "sessions": 1}]


def test_the_range_before_is_of_the_same_length(post: Caller, on_metrics: Caller) -> None:
    now = datetime.now(UTC)
    send(post, *(an_event(timestamp=(now - timedelta(days=days)).isoformat()) for days in (1, 8, 9, 15)))
    answer = get(on_metrics, {"timeframe": "week"}).json
    assert (answer["totals"]["events"], answer["previous"]["events"]) == (1, 2)


def test_a_plus_sign_that_arrives_as_a_space_is_read(on_metrics: Caller) -> None:
    query = {"start": "2015-05-17T00:00:00 02:00", "end": "2015-05-18T00:00:00+02:00"}
    answer = get(on_metrics, query)
    assert answer.json["range"]["start"] == "2015-05-16T22:00:00Z"


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("bogus", {"bogus": "1"}),
        ("timeframe", {"timeframe": "fortnight"}),
        ("timeframe", {"timeframe": "day", "start": "2015-05-17"}),
        ("timeframe", {"timeframe": ["day", "week"]}),
        ("start", {"start": "yesterday"}),
        ("start", {"start": "2015-05-17T00:00:00"}),
        ("start", {"start": "2015-02-30"}),
        ("start", {"start": "0001-01-01"}),
        ("start", {"start": "2015-05-18", "end": "2015-05-18"}),
        ("end", {"end": "2015-05-18"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("timezone", {"timezone": "../../etc/passwd"}),
        ("granularity", {"granularity": "second"}),
        ("granularity", {"start": "2015-01-01", "end": "2020-01-01", "granularity": "minute"}),
        ("breakdown", {"breakdown": "colour"}),
        ("breakdown", {"breakdown": "data."}),
        ("limit", {"limit": "0"}),
        ("limit", {"limit": "1001"}),
        ("limit", {"limit": "x"}),
        ("eventType", {"eventType": ""}),
        ("eventType", {"eventType": "a\0"}),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(on_metrics: Caller, name: str, query: dict[str, Any]) -> None:
    answer = get(on_metrics, query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["error"]["details"][0]["loc"] == ["query", name]


def test_it_needs_a_read_or_admin_key(on_metrics: Caller) -> None:
    for route in (METRICS, EVENTS):
        assert [get(on_metrics, route=route, kind=kind).status for kind in ("read", "admin", "write", None)] == [
            200,
            200,
            403,
            401,
        ]


def test_a_project_never_sees_another_projects_events(post: Caller, on_metrics: Caller, database_url: str) -> None:
    send(post, an_event(), userId="ada")
    other = Caller(on_metrics.handler, make_project(database_url, "other"), on_metrics.role, on_metrics.environment)
    answer = get(other, {"timeframe": "all"}).json
    assert set(answer["totals"].values()) == {0}
    assert (answer["explain"]["rowsOutsideRange"], answer["explain"]["lastEventAt"]) == (0, None)
    assert get(other, route=EVENTS).json == {"events": [], "nextCursor": None}


def test_events_come_newest_first_with_all_that_was_stored(post: Caller, on_metrics: Caller) -> None:
    session, event = str(uuid.uuid4()), an_event(timestamp="2015-05-17T10:00:00+02:00", data={"a": [1, None]})
    send(post, an_event(timestamp="2015-05-16T10:00:00Z"), event, sessionId=session, userId="ada")
    first = get(on_metrics, route=EVENTS).json["events"][0]
    assert {name: value for name, value in first.items() if name != "receivedAt"} == {
        "id": event["id"],
        "sessionId": session,
        "userId": "ada",
        "eventType": "page_view",
        "area": "shop",
        "timestamp": "2015-05-17T08:00:00Z",
        "data": {"a": [1, None]},
    }


def test_pages_hold_every_event_once_while_new_ones_come_in(post: Caller, on_metrics: Caller) -> None:
    times = [f"2015-05-17T10:00:{second:02d}Z" for second in (0, 0, 0, 1, 1, 2, 3)]
    events = [an_event(timestamp=time) for time in times]
    send(post, *events)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = get(on_metrics, query, EVENTS).json
        seen += [event["id"] for event in page["events"]]
        send(post, an_event())
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(event["id"] for event in events)


@pytest.mark.parametrize("cursor", ["x", "e30", "W10", "WyIyMDE1LTA1LTE3IiwgIngiLCAieCJd", "é"])
def test_a_bad_cursor_is_refused(on_metrics: Caller, cursor: str) -> None:
    answer = get(on_metrics, {"cursor": cursor}, EVENTS)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
