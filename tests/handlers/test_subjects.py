"""GET and DELETE /v1/subjects/{userId}."""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from muster.auth.keys import Access, hash_key
from muster.db.client import Database
from muster.ingest.handler import store_batch
from muster.ingest.user_agents import request_agent
from muster.platform.logging import MetricsLine
from muster.platform.settings import Settings
from tests.handlers.test_consent import count, decide, known
from tests.support.functions import Answer, Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def erase(call: Caller, user: str, **options: Any) -> Answer:
    return call("DELETE /v1/subjects/{userId}", path=f"/v1/subjects/{user}", **{"kind": "admin", **options})


def show(call: Caller, user: str, **options: Any) -> Any:
    return call("GET /v1/subjects/{userId}", path=f"/v1/subjects/{user}", kind="admin", **options).json


def events_of(database_url: str) -> int:
    return count(database_url, "SELECT count(*) FROM muster.analytics_events")


def test_everything_stored_about_a_user_is_shown_and_then_erased(
    post: Caller, on_consent: Caller, on_pilot: Caller, on_metrics: Caller, database_url: str
) -> None:
    anonymous = a_batch(an_event())
    post(ROUTE, anonymous)
    post(ROUTE, {**anonymous, "events": [an_event(), {}], "userId": "lovelace"})
    old = (datetime.now(UTC) - timedelta(days=100)).isoformat()
    post(ROUTE, a_batch(an_event(timestamp=old), userId="lovelace"))
    post(ROUTE, a_batch(an_event(), userId="bob"))
    decide(on_consent, "granted", userId="lovelace")
    issued = on_pilot("POST /v1/pilot-tokens", {"participantType": "tester"}, kind="admin").json["tokens"][0]
    on_pilot("POST /v1/pilot-tokens/redeem", {"token": issued["token"], "userId": "lovelace"})
    on_metrics("GET /v1/metrics", kind="read")
    found = show(on_consent, "lovelace")
    assert {name: len(value) for name, value in found.items() if isinstance(value, list)} == {
        "events": 3, "sessions": 2, "consents": 1, "rejections": 1, "redemptions": 1
    }  # fmt: skip
    assert found["userId"] == "lovelace"
    receipt = erase(on_consent, "lovelace").json
    assert {name: receipt[name] for name in ("events", "sessions", "consents", "rejections", "redemptions")} == {
        "events": 3, "sessions": 2, "consents": 1, "rejections": 1, "redemptions": 1
    }  # fmt: skip
    assert uuid.UUID(receipt["receiptId"])
    empty = show(on_consent, "lovelace")
    assert not any(value for value in empty.values() if isinstance(value, list))
    assert known(on_consent, userId="lovelace")["status"] == "unknown"
    totals = on_metrics("GET /v1/metrics", kind="read", query={"timeframe": "all"}).json["totals"]
    assert (totals["events"], totals["users"], totals["sessions"]) == (1, 1, 1)
    with psycopg.connect(database_url) as connection:
        for (table,) in connection.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'muster'::regnamespace AND c.relkind = 'r'"
        ).fetchall():
            rows = connection.execute(f"SELECT t::text FROM muster.{table} t".encode()).fetchall()
            assert [row for row in rows if "lovelace" in row[0].replace("created_at", "")] == [], table


def test_a_user_of_many_events_is_shown_in_pages(post: Caller, on_consent: Caller) -> None:
    sent = [an_event() for _ in range(7)]
    for part in (sent[:4], sent[4:]):
        post(ROUTE, a_batch(*part, userId="ada"))
    seen, query = list[str](), {"limit": "3"}
    while True:
        page = show(on_consent, "ada", query=query)
        assert ("sessions" in page) == ("cursor" not in query)
        seen += [event["id"] for event in page["events"]]
        if "nextCursor" not in page:
            break
        query = {"limit": "3", "cursor": page["nextCursor"]}
    assert sorted(seen) == sorted(event["id"] for event in sent)


def test_erased_events_stay_erased_when_they_are_sent_again(
    post: Caller, on_consent: Caller, database_url: str
) -> None:
    anonymous = a_batch(an_event(), sequence=1)
    post(ROUTE, anonymous)
    named = {**anonymous, "events": [an_event()], "userId": "ada", "sequence": 2}
    post(ROUTE, named)
    erase(on_consent, "ada")
    for batch in (anonymous, named, {**named, "events": [*named["events"], {}]}):
        answer = post(ROUTE, batch).json
        assert (answer["accepted"], answer["ignored"], answer["events"][0]["reason"]) == (0, 1, "erased")
    # New events with a time before the erasure, from a client's queue, with and without the user.
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    for batch in (
        a_batch(an_event(timestamp=before), userId="ada"),
        {**anonymous, "events": [an_event(timestamp=before)]},
    ):
        assert post(ROUTE, batch).json["events"][0]["reason"] == "erased"
    assert events_of(database_url) == 0
    assert count(database_url, "SELECT count(*) FROM muster.analytics_sessions") == 0
    # A user who comes back is counted again.
    after = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    assert post(ROUTE, a_batch(an_event(timestamp=after), userId="ada")).json["accepted"] == 1
    assert post(ROUTE, a_batch(userId="bob")).json["accepted"] == 2


def test_the_trace_of_an_erased_event_says_so(post: Caller, on_consent: Caller, on_diagnostics: Caller) -> None:
    batch = a_batch(userId="ada")
    post(ROUTE, batch)
    erase(on_consent, "ada")
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    late = a_batch(an_event(timestamp=before), userId="ada")
    assert post(ROUTE, late).json["ignored"] == 1
    # One was deleted and the other never stored. Both are found.
    for event_id in (batch["events"][0]["id"], late["events"][0]["id"]):
        found = on_diagnostics(
            "GET /v1/diagnostics/events/{eventId}", kind="read", path=f"/v1/diagnostics/events/{event_id}"
        ).json
        assert found["found"] is True
        assert [stage["status"] for stage in found["stages"]] == ["pass", "pass", "pass", "pass", "fail", "skip"]
        assert "erased" in found["verdict"]


def test_events_queued_before_an_erasure_are_ignored(post: Caller, on_consent: Caller, database_url: str) -> None:
    session, ahead = str(uuid.uuid4()), (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    received_at = datetime.now(UTC).isoformat()
    erase(on_consent, "ada")
    text = json.dumps({"sessionId": session, "userId": "ada", "events": [{"eventType": "x", "timestamp": ahead}]})
    database = Database(Settings(database_url=database_url))
    access = Access(hash_key(post.project.keys["write"]), request_id="r")
    stored = store_batch(
        database,
        access,
        text,
        request_agent(""),
        batch_id=str(uuid.uuid4()),
        received_at=received_at,
        begin_line=a_line,
    )
    database.close()
    assert [(event["status"], event["reason"]) for event in stored.response.result["events"]] == [("ignored", "erased")]
    assert events_of(database_url) == 0


def a_line(*_: object) -> MetricsLine:
    return MetricsLine("test", {}, service="test", stage="test")


def test_two_users_of_one_session_are_erased_separately(post: Caller, on_consent: Caller, database_url: str) -> None:
    session = a_batch(an_event(), userId="ada")
    post(ROUTE, session)
    post(ROUTE, {**session, "events": [an_event()], "userId": "bob"})
    assert erase(on_consent, "ada").json["events"] == 1
    assert count(database_url, "SELECT count(*) FROM muster.analytics_events WHERE user_id = 'bob'") == 1
    assert len(show(on_consent, "bob")["events"]) == 1
    assert erase(on_consent, "bob").json["sessions"] == 1
    assert events_of(database_url) == 0


@pytest.mark.parametrize(("others", "status"), [([], "ignored"), (["bob"], "accepted")])
def test_a_late_anonymous_event_is_erased_with_the_only_user(
    post: Caller, on_consent: Caller, others: list[str], status: str
) -> None:
    session = a_batch(userId="ada")
    late = {**session, "events": [an_event()], "userId": None}
    post(ROUTE, session)
    for user in others:
        post(ROUTE, {**session, "events": [an_event()], "userId": user})
    erase(on_consent, "ada")
    assert post(ROUTE, late).json["events"][0]["status"] == status


def test_an_erasure_waits_for_a_batch_that_began_before_it(
    post: Caller, on_consent: Caller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = a_batch(userId="ada")
    post(ROUTE, batch)
    with psycopg.connect(database_url) as writing:
        writing.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id, "
            "event_type, area) VALUES (%s, %s, gen_random_uuid(), now(), gen_random_uuid(), 'ada', 'x', 'y')",
            (post.project.id, batch["sessionId"]),
        )
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            writing.commit()

        monkeypatch.setattr("muster.privacy.subjects.time", SimpleNamespace(monotonic=time.monotonic, sleep=wait))
        receipt = erase(on_consent, "ada")
    assert len(waits) == 1
    assert (receipt.status, receipt.json["events"], events_of(database_url)) == (200, 3, 0)


def test_an_erasure_that_must_wait_too_long_is_a_503_and_continues(
    post: Caller, on_consent: Caller, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.privacy.subjects.WAIT_SECONDS", 0.1)
    post(ROUTE, a_batch(an_event(), userId="ada"))
    with psycopg.connect(database_url) as writing:
        writing.execute("SELECT pg_current_xact_id()")
        refused = erase(on_consent, "ada")
        assert (refused.status, refused.code) == (503, "database_unavailable")
        assert events_of(database_url) == 1
        writing.rollback()
    receipt = erase(on_consent, "ada").json
    assert receipt["events"] == 1
    assert count(database_url, "SELECT count(*) FROM muster.erasures") == 1


def test_only_an_admin_key_may_erase(on_consent: Caller) -> None:
    for kind in ("read", "write"):
        assert erase(on_consent, "ada", kind=kind).code == "key_not_allowed"
    assert erase(on_consent, "a" * 201).code == "invalid_parameter"
    assert erase(on_consent, "a/b c").json["events"] == 0
