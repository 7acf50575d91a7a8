"""Web pages: the CORS headers for their browsers, and pages that may not use a key store nothing."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from functions.consume import app as consume
from muster.api import app as api
from muster.api import cors
from tests.support.databases import Project, make_project
from tests.support.functions import Answer, Caller, Context, a_batch

POST, OPTIONS = "POST /v1/events", "OPTIONS /{proxy+}"
OURS, OTHER = "https://app.example.com", "https://evil.example"
ALLOW = "access-control-allow-origin"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has not looked up any origins yet."""
    cors._known.clear()
    yield
    cors._known.clear()


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def allow(owner: psycopg.Connection[Any], *allowed: str) -> None:
    owner.execute("UPDATE muster.projects SET allowed_origins = %s WHERE name = 'tests'", [list(allowed)])
    cors._known.clear()


def page(origin: str, **headers: str) -> dict[str, str]:
    return {"origin": origin, **headers}


def refused(answer: Answer) -> bool:
    assert ALLOW not in answer.headers or answer.status != 403
    return (answer.status, answer.json.get("error", {}).get("code")) == (403, "origin_not_allowed")


def count(owner: psycopg.Connection[Any], table: str) -> int:
    row = owner.execute(f"SELECT count(*) FROM muster.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_by_default_every_page_may_send_events(post: Caller) -> None:
    answer = post(POST, a_batch(), headers=page(OTHER))
    assert (answer.status, answer.headers[ALLOW], answer.headers["vary"]) == (200, OTHER, "origin")
    assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_a_client_without_an_origin_is_not_refused(post: Caller, owner: psycopg.Connection[Any]) -> None:
    allow(owner)
    answer = post(POST, a_batch())
    assert answer.status == 200
    assert not {"vary", ALLOW} & set(answer.headers)


def test_a_page_of_another_origin_is_refused_before_anything_is_stored(
    post: Caller, owner: psycopg.Connection[Any]
) -> None:
    allow(owner, OURS)
    for body in (a_batch(), "not json"):
        answer = post(POST, body, headers=page(OTHER))
        assert refused(answer)
        assert "allowedOrigins" in answer.json["error"]["message"]
        assert OTHER not in answer.text
    # A beacon sends the key in the query and makes no preflight request.
    query, as_text = {"key": post.project.keys["write"]}, page(OTHER, **{"content-type": "text/plain"})
    assert refused(post(POST, json.dumps(a_batch()), kind=None, query=query, headers=as_text))
    assert [count(owner, table) for table in ("analytics_events", "analytics_sessions", "analytics_rejections")] == [
        0,
        0,
        0,
    ]
    stored = post(POST, a_batch(), headers=page(OURS))
    assert (stored.status, stored.headers[ALLOW]) == (200, OURS)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.example"],
)
def test_an_origin_is_the_same_or_it_is_another(post: Caller, owner: psycopg.Connection[Any], origin: str) -> None:
    allow(owner, OURS)
    answer = post(POST, a_batch(), headers=page(origin))
    assert refused(answer)


def test_origins_hold_for_every_function_and_kind_of_key(
    on_sessions: Caller, on_metrics: Caller, on_diagnostics: Caller, owner: psycopg.Connection[Any]
) -> None:
    allow(owner, OURS)
    path = "/v1/sessions/3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
    assert refused(on_sessions("PUT /v1/sessions/{sessionId}", {}, path=path, headers=page(OTHER)))
    for kind in ("read", "admin"):
        assert refused(on_metrics("GET /v1/metrics", kind=kind, headers=page(OTHER)))
        assert refused(on_diagnostics("GET /v1/diagnostics", kind=kind, headers=page(OTHER)))
    assert on_metrics("GET /v1/metrics", kind="read", headers=page(OURS)).headers[ALLOW] == OURS
    mistaken = on_metrics("GET /v1/metrics", kind="read", query={"timeframe": "x"}, headers=page(OURS))
    assert (mistaken.status, mistaken.headers[ALLOW]) == (400, OURS)


def test_each_project_has_its_own_origins(post: Caller, owner: psycopg.Connection[Any], database_url: str) -> None:
    other = make_project(database_url, "other")
    allow(owner, OURS)
    theirs = Caller(post.handler, other, post.role, post.environment)
    assert theirs(POST, a_batch(), headers=page(OTHER)).status == 200
    assert refused(post(POST, a_batch(), headers=page(OTHER)))


def test_the_dashboard_of_the_same_host_is_allowed(on_metrics: Caller, owner: psycopg.Connection[Any]) -> None:
    allow(owner)
    headers = {"host": "api.example:8080"}
    asked = {"steps": [{"eventType": "a"}, {"eventType": "b"}]}
    funnel = on_metrics(
        "POST /v1/metrics/funnel", asked, kind="read", headers=page("https://api.example:8080", **headers)
    )
    assert funnel.status == 200
    assert refused(on_metrics("GET /v1/metrics", kind="read", headers=page("https://api.example", **headers)))


def test_a_page_reads_why_its_key_is_refused(post: Caller, owner: psycopg.Connection[Any]) -> None:
    allow(owner, OURS)
    unknown = Caller(post.handler, Project(None, {"write": "mw_unknown"}), post.role, post.environment)
    answer = unknown(POST, a_batch(), headers=page(OTHER))
    assert (answer.code, answer.headers[ALLOW]) == ("invalid_key", OTHER)
    assert post(POST, a_batch(), kind=None, headers=page(OTHER)).headers[ALLOW] == OTHER
    assert post(POST, a_batch(), kind="read", headers=page(OURS)).code == "key_not_allowed"


def test_a_revoked_key_is_refused_at_once_though_its_origins_are_known(
    post: Caller, owner: psycopg.Connection[Any]
) -> None:
    assert post(POST, a_batch(), headers=page(OURS)).status == 200
    owner.execute("UPDATE muster.api_keys SET revoked_at = now()")
    assert post(POST, a_batch(), headers=page(OURS)).code == "invalid_key"


def test_a_change_is_in_force_after_a_minute(post: Caller, owner: psycopg.Connection[Any]) -> None:
    allow(owner, OURS)
    assert refused(post(POST, a_batch(), headers=page(OTHER)))
    owner.execute("UPDATE muster.projects SET allowed_origins = %s", [[OURS, OTHER]])
    assert refused(post(POST, a_batch(), headers=page(OTHER)))
    for key, (until, allowed) in cors._known.items():
        cors._known[key] = (until - cors.KEPT_SECONDS - 1, allowed)
    assert post(POST, a_batch(), headers=page(OTHER)).status == 200


def test_origins_cost_one_statement_a_minute(
    post: Caller, monkeypatch: pytest.MonkeyPatch, owner: psycopg.Connection[Any]
) -> None:
    asked: list[bytes] = []
    real = cors._get_allowed_origins

    def counted(connection: Any, key_hash: bytes) -> Any:
        asked.append(key_hash)
        return real(connection, key_hash)

    monkeypatch.setattr(cors, "_get_allowed_origins", counted)
    for _ in range(5):
        post(POST, a_batch())
    assert asked == []
    for _ in range(5):
        post(POST, a_batch(), headers=page(OURS))
    assert len(asked) == 1


def test_without_a_database_a_page_learns_that_nothing_was_stored(post: Caller) -> None:
    post.environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    api.database.cache_clear()
    answer = post(POST, a_batch(), headers=page(OURS))
    assert (answer.status, answer.code, answer.headers[ALLOW]) == (503, "database_unavailable", OURS)


def test_the_deployment_narrows_what_projects_allow(post: Caller, owner: psycopg.Connection[Any]) -> None:
    post.environment.setenv("ALLOWED_ORIGINS", f"{OURS}, https://second.example")
    assert refused(post(POST, a_batch(), headers=page(OTHER)))
    assert post(POST, a_batch(), headers=page("https://second.example")).headers[ALLOW] == "https://second.example"
    assert ALLOW not in post(POST, a_batch(), kind=None, headers=page(OTHER)).headers
    preflights = [post(OPTIONS, kind=None, path="/v1/events", headers=page(origin)).headers for origin in (OURS, OTHER)]
    assert [ALLOW in headers for headers in preflights] == [True, False]
    assert ["access-control-allow-methods" in headers for headers in preflights] == [True, False]


def test_a_preflight_needs_neither_key_nor_database(post: Caller) -> None:
    post.environment.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    api.database.cache_clear()
    for path in ("/v1/events", "/v1/metrics/users/ada", "/nowhere"):
        answer = post(OPTIONS, kind=None, path=path, headers=page(OURS, **{"access-control-request-method": "PUT"}))
        assert (answer.status, answer.text, answer.headers[ALLOW]) == (204, "", OURS)
        assert set(answer.headers["access-control-allow-headers"].split(",")) >= {"authorization", "content-type"}
    assert ALLOW not in post(OPTIONS, kind=None, path="/v1/events").headers


def test_buffered_only_the_deployments_origins_are_known(
    post: Caller, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(owner, OURS)
    sent: list[str] = []
    monkeypatch.setattr("muster.ingest.enqueue.send", lambda _, messages: sent.extend(messages))
    for name, value in {"INGEST_MODE": "buffered", "QUEUE_URL": "https://q.invalid/q", "ALLOWED_ORIGINS": OURS}.items():
        post.environment.setenv(name, value)
    api.database.cache_clear()
    assert refused(post(POST, a_batch(), headers=page(OTHER)))
    assert (sent, api.database().is_open) == ([], False)
    answer = post(POST, a_batch(), headers=page(OURS))
    assert (answer.status, answer.headers[ALLOW], len(sent)) == (202, OURS, 1)
    post.environment.setenv("ALLOWED_ORIGINS", "*")
    # The project would refuse it, but buffered ingest does not ask the database. It answered 202, so it is stored.
    assert post(POST, a_batch(), headers=page(OTHER)).status == 202
    post.environment.setenv("INGEST_MODE", "direct")
    api.database.cache_clear()
    records = [
        {"messageId": str(number), "body": body, "eventSource": "aws:sqs", "attributes": {}}
        for number, body in enumerate(sent)
    ]
    assert consume.lambda_handler({"Records": records}, Context()) == {"batchItemFailures": []}  # type: ignore[arg-type]
    assert count(owner, "analytics_events") == 4
