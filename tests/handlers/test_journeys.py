"""Funnels, retention, user profiles and exports."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from muster.metrics import rollups
from tests.support.databases import Project
from tests.support.functions import Answer, Caller, a_batch, an_event

FUNNEL, RETENTION = "POST /v1/metrics/funnel", "GET /v1/metrics/retention"
USER, EXPORT = "GET /v1/metrics/users/{userId}", "GET /v1/metrics/export"
DAY = datetime(2015, 5, 18, tzinfo=UTC)
RANGE = {"start": "2015-05-18", "end": "2015-05-25"}
SIGN_UP = [
    {"eventType": "page_view"},
    {"eventType": "form", "area": "shop"},
    {"eventType": "sign_up", "data": {"ok": 1}},
]


def act(
    post: Caller, user: str | None, *events: tuple[int, str, str, dict[str, Any]], session: str | None = None
) -> None:
    listed = [
        an_event(timestamp=(DAY + timedelta(minutes=minute)).isoformat(), eventType=kind, area=area, data=data)
        for minute, kind, area, data in events
    ]
    fields = {"userId": user, "sessionId": session or str(uuid.uuid4())}
    assert post("POST /v1/events", a_batch(*listed, **fields), kind="admin").json["accepted"] == len(listed)


def roll_up_now(database_url: str, project: Project) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT muster.roll_up(%s, 1000)", (project.id,))


def ask(call: Caller, route: str = FUNNEL, body: Any = None, **options: Any) -> Answer:
    return call(route, body, **{"kind": "read", **options})


def test_a_funnel_counts_users_who_took_each_step_in_time(post: Caller, on_metrics: Caller) -> None:
    act(post, "ada", (0, "page_view", "home", {}), (5, "form", "shop", {}), (7, "sign_up", "shop", {"ok": 1}))
    act(post, "bob", (0, "page_view", "home", {}), (50, "form", "shop", {}), (70, "sign_up", "shop", {"ok": 1}))
    act(post, "eve", (0, "form", "shop", {}), (1, "page_view", "home", {}), (2, "sign_up", "shop", {"ok": 1}))
    act(post, "joe", (0, "page_view", "home", {}), (1, "form", "home", {}), (2, "sign_up", "shop", {"ok": 2}))
    # What began too early begins again.
    act(post, "zoe", (0, "page_view", "home", {}), (90, "page_view", "home", {}), (91, "form", "shop", {}))
    act(post, None, (0, "page_view", "home", {}))
    answer = ask(on_metrics, body={"steps": SIGN_UP, "window": "PT1H", **RANGE})
    assert answer.status == 200
    steps = answer.json["steps"]
    assert [step["count"] for step in steps] == [5, 3, 1]
    assert [step["fromStart"] for step in steps] == [1, 3 / 5, 1 / 5]
    assert [step["fromPrevious"] for step in steps] == [1, 3 / 5, 1 / 3]
    assert [step["medianSeconds"] for step in steps] == [None, 300, 120]
    assert [step["eventType"] for step in steps] == ["page_view", "form", "sign_up"]
    sessions = ask(on_metrics, body={"steps": SIGN_UP, "window": "P1D", "by": "session", **RANGE}).json["steps"]
    assert [step["count"] for step in sessions] == [6, 3, 2]
    assert ask(on_metrics, body={"steps": SIGN_UP}).json["steps"][2]["count"] == 0


def test_the_same_step_twice_takes_two_events(post: Caller, on_metrics: Caller) -> None:
    act(post, "ada", (0, "page_view", "home", {}))
    act(post, "bob", (0, "page_view", "home", {}), (0, "page_view", "home", {}))
    answer = ask(on_metrics, body={"steps": [{"eventType": "page_view"}, {"eventType": "page_view"}], **RANGE})
    assert [step["count"] for step in answer.json["steps"]] == [2, 1]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("steps", {"steps": SIGN_UP[:1]}),
        ("steps.0.eventType", {"steps": [{}, {"eventType": "a"}]}),
        ("steps.1.bogus", {"steps": [{"eventType": "a"}, {"eventType": "a", "bogus": 1}]}),
        ("steps.1.eventType", {"steps": [{"eventType": "a"}, {"eventType": "a\0"}]}),
        ("window", {"window": "1h"}),
        ("window", {"window": "PT0S"}),
        ("window", {"window": "P9999999999D"}),
        ("by", {"by": "planet"}),
        ("start", {"start": "yesterday"}),
        ("start", {"end": "2015-05-18"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("bogus", {"bogus": 1}),
        ("body", None),
    ],
)
def test_the_fault_of_a_funnel_is_named(on_metrics: Caller, name: str, change: dict[str, Any] | None) -> None:
    body = "{" if change is None else {"steps": SIGN_UP, **RANGE, **change}
    answer = ask(on_metrics, body=body)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["error"]["details"][0]["loc"] == ["query", name]
    assert "planet" not in answer.text


@pytest.mark.parametrize("rolls_up", ["never", "between", "after"])
def test_retention_says_who_came_back(
    post: Caller, on_metrics: Caller, database_url: str, project: Project, rolls_up: str
) -> None:
    day = 24 * 60
    act(post, "ada", (0, "a", "x", {}), (day, "a", "x", {}))
    act(post, "bob", (10, "a", "x", {}))
    act(post, "eve", (-3 * day, "a", "x", {}), (day, "a", "x", {}))
    if rolls_up == "between":
        roll_up_now(database_url, project)
    act(post, "ada", (3 * day, "a", "x", {}))
    act(post, "joe", (2 * day, "a", "x", {}))
    # A late event: bob now belongs to the cohort of the day before.
    act(post, "bob", (-1, "a", "x", {}))
    if rolls_up == "after":
        roll_up_now(database_url, project)
    for timezone in ("UTC", "Etc/UTC"):
        query = {"start": "2015-05-17", "end": "2015-05-22", "timezone": timezone}
        cohorts = ask(on_metrics, RETENTION, query=query).json["cohorts"]
        assert [cohort["users"] for cohort in cohorts] == [1, 1, 0, 1, 0]
        assert cohorts[0]["retained"] == [1, 1, 0, 0, 0]
        assert cohorts[1]["retained"] == [1, 1, 0, 1]
        assert cohorts[1]["start"] == "2015-05-18T00:00:00Z"
    weeks = ask(on_metrics, RETENTION, query={**query, "period": "week", "timezone": "UTC"}).json
    assert [cohort["retained"] for cohort in weeks["cohorts"]] == [[2, 2], [2]]
    assert ask(on_metrics, RETENTION, query={"period": "year"}).code == "invalid_parameter"


@pytest.mark.parametrize("rolls_up", [False, True])
def test_a_users_profile_sums_up_the_events(
    post: Caller, on_metrics: Caller, database_url: str, project: Project, rolls_up: bool
) -> None:
    shared = str(uuid.uuid4())
    act(post, "ada/1 ü", (0, "page_view", "home", {}), (9, "sign_up", "shop", {"n": 1}), session=shared)
    # A session with another user first.
    act(post, "bob", (3, "page_view", "home", {}), session=shared)
    if rolls_up:
        roll_up_now(database_url, project)
    act(post, "ada/1 ü", (20, "page_view", "home", {}))
    answer = ask(on_metrics, USER, path="/v1/metrics/users/ada%2F1%20%C3%BC")
    assert answer.status == 200
    found = answer.json
    assert (found["userId"], found["events"], found["sessions"]) == ("ada/1 ü", 3, 2)
    assert (found["firstSeenAt"], found["lastSeenAt"]) == ("2015-05-18T00:00:00Z", "2015-05-18T00:20:00Z")
    assert found["eventTypes"][0] == {"value": "page_view", "events": 2, "sessions": 2}
    assert [event["eventType"] for event in found["recent"]] == ["page_view", "sign_up", "page_view"]
    assert found["recent"][1]["data"] == {"n": 1}
    assert ask(on_metrics, USER, path="/v1/metrics/users/nobody").status == 404


def test_an_export_comes_in_pages(post: Caller, on_metrics: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    act(post, "ada", *((minute, "a", 'say "hi", ü', {"n": minute}) for minute in range(7)))
    monkeypatch.setattr("muster.metrics.export.MAX_BYTES", 500)
    query, lines, pages = {**RANGE, "format": "csv"}, "", 0
    while True:
        page = ask(on_metrics, EXPORT, query=query)
        assert page.headers["Content-Type"] == "text/csv; charset=utf-8"
        lines, pages = lines + page.text, pages + 1
        if "x-next-cursor" not in page.headers:
            break
        query["cursor"] = page.headers["x-next-cursor"]
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert pages > 2
    assert [json.loads(row["data"])["n"] for row in rows] == [6, 5, 4, 3, 2, 1, 0]
    assert rows[0]["area"] == 'say "hi", ü'
    assert len({row["id"] for row in rows}) == 7
    ndjson = ask(on_metrics, EXPORT, query={**RANGE, "format": "ndjson", "limit": "2"})
    assert [json.loads(line)["data"]["n"] for line in ndjson.text.splitlines()] == [6, 5]
    assert ask(on_metrics, EXPORT, query={"format": "xlsx"}).code == "invalid_parameter"


def test_each_route_needs_a_read_or_admin_key(on_metrics: Caller) -> None:
    for route, options in (
        (FUNNEL, {"body": {"steps": SIGN_UP}}),
        (RETENTION, {}),
        (USER, {"path": "/v1/metrics/users/ada"}),
        (EXPORT, {}),
    ):
        assert ask(on_metrics, route, kind="write", **options).status == 403
        assert ask(on_metrics, route, kind=None, **options).status == 401


@pytest.mark.parametrize("route", [USER, RETENTION])
def test_a_reset_of_roll_ups_during_a_request_loses_nothing(
    post: Caller, on_metrics: Caller, database_url: str, project: Project, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    act(post, "ada", (0, "a", "x", {}), (1, "a", "x", {}))
    roll_up_now(database_url, project)
    looked = rollups.get_state

    def look_and_be_overtaken(connection: Any, project_id: Any) -> Any:
        state = looked(connection, project_id)
        with psycopg.connect(database_url, autocommit=True) as another:
            another.execute("SELECT muster.reset_rollups(%s)", (project.id,))
        return state

    asked: dict[str, Any] = {
        USER: {"path": "/v1/metrics/users/ada"},
        RETENTION: {"query": {"start": "2015-05-18", "end": "2015-05-19"}},
    }
    with monkeypatch.context() as overtaken:
        overtaken.setattr("muster.metrics.rollups.get_state", look_and_be_overtaken)
        answer = ask(on_metrics, route, **asked[route]).json
    assert (answer["events"] if route == USER else answer["cohorts"][0]["users"] * 2) == 2
