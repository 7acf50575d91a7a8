"""PUT and GET /v1/consent, and how decisions affect ingest."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.functions import Answer, Caller, a_batch, an_event

ROUTE = "POST /v1/events"


def decide(call: Caller, status: str, **who: Any) -> Answer:
    return call("PUT /v1/consent", {"status": status, **who})


def known(call: Caller, kind: str = "read", **who: str) -> Any:
    return call("GET /v1/consent", kind=kind, query=who).json


def became(answer: Answer) -> list[str]:
    return [event.get("reason", event["status"]) for event in answer.json["events"]]


def set_project(database_url: str, **settings: Any) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"UPDATE muster.projects SET {name} = %s", [value])


def count(database_url: str, statement: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])


def test_every_decision_is_stored_and_the_latest_counts(on_consent: Caller, database_url: str) -> None:
    assert known(on_consent, userId="ada") == {"status": "unknown", "version": None, "decidedAt": None}
    first = decide(on_consent, "granted", userId="ada", version="1", decidedAt="2026-05-01T10:00:00+02:00")
    assert first.json == {"status": "granted", "version": "1", "decidedAt": "2026-05-01T08:00:00Z", "purge": []}
    second = decide(on_consent, "withdrawn", userId="ada", version="2", decidedAt="2026-05-02T00:00:00Z")
    assert (second.json["status"], second.json["purge"]) == ("withdrawn", ["queuedEvents", "userId"])
    late = decide(on_consent, "granted", userId="ada", version="1", decidedAt="2026-04-01T00:00:00Z")
    # An earlier decision that arrives later changes nothing. The response has the decision that counts.
    assert (late.json["status"], late.json["version"]) == ("withdrawn", "2")
    assert known(on_consent, userId="ada")["status"] == "withdrawn"
    assert known(on_consent, "write", userId="ada")["status"] == "withdrawn"
    assert count(database_url, "SELECT count(*) FROM muster.analytics_consent") == 3


def test_a_decision_that_is_sent_again_is_the_same_one(on_consent: Caller, database_url: str) -> None:
    for _ in range(3):
        decide(on_consent, "denied", userId="ada", sessionId=str(uuid.UUID(int=1)), decidedAt="2026-05-02T00:00:00Z")
    assert count(database_url, "SELECT count(*) FROM muster.analytics_consent") == 1


def test_a_decision_from_the_future_can_be_replaced_now(on_consent: Caller) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    decide(on_consent, "denied", userId="ada", decidedAt=ahead)
    assert decide(on_consent, "granted", userId="ada").json["status"] == "granted"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"status": "granted"}, ["userId"]),
        ({"userId": "ada"}, ["status"]),
        ({"userId": "ada", "status": "perhaps"}, ["status"]),
        ({"userId": "", "status": "granted"}, ["userId"]),
        ({"sessionId": "here", "status": "granted"}, ["sessionId"]),
        ({"userId": "ada", "status": "granted", "decidedAt": "yesterday"}, ["decidedAt"]),
        ({"userId": "ada", "status": "granted", "decidedAt": "2026-02-30T00:00:00Z"}, ["decidedAt"]),
        ({"userId": "ada", "status": "granted", "colour": "red"}, ["colour"]),
        ({"userId": "a\0da", "status": "granted"}, ["userId"]),
    ],
)
def test_an_invalid_decision_is_refused_at_its_place(on_consent: Caller, body: Any, place: list[str]) -> None:
    answer = on_consent("PUT /v1/consent", body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.json["error"]["details"][0]["loc"] == place


@pytest.mark.parametrize("query", [{}, {"userId": "a", "sessionId": str(uuid.UUID(int=1))}, {"name": "ada"}])
def test_a_request_names_either_a_user_or_a_session(on_consent: Caller, query: dict[str, str]) -> None:
    answer = on_consent("GET /v1/consent", kind="read", query=query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")


def test_each_operation_needs_its_kind_of_key(on_consent: Caller) -> None:
    refused = on_consent("PUT /v1/consent", {"userId": "ada", "status": "denied"}, kind="read")
    assert (refused.status, refused.code) == (403, "key_not_allowed")
    assert on_consent("GET /v1/consent", kind=None, query={"userId": "ada"}).code == "missing_key"
    assert known(on_consent, "admin", userId="ada")["status"] == "unknown"


def test_a_decision_about_another_users_session_is_refused(post: Caller, on_consent: Caller) -> None:
    batch = a_batch(userId="ada")
    post(ROUTE, batch)
    refused = decide(on_consent, "denied", userId="bob", sessionId=batch["sessionId"])
    assert (refused.status, refused.code) == (409, "session_belongs_to_another_user")


def test_a_sessions_decision_carries_over_to_its_user(post: Caller, on_consent: Caller) -> None:
    session = a_batch(an_event())
    decide(on_consent, "denied", sessionId=session["sessionId"])
    assert became(post(ROUTE, session)) == ["consent_denied"]
    # The decision carries over even if no event of the batch that names the user is stored.
    assert became(post(ROUTE, {**session, "events": [an_event()], "userId": "ada"})) == ["consent_denied"]
    assert became(post(ROUTE, a_batch(an_event(), userId="ada"))) == ["consent_denied"]
    assert became(post(ROUTE, a_batch(an_event(), userId="bob"))) == ["accepted"]
    assert known(on_consent, userId="ada")["status"] == "denied"
    decide(on_consent, "granted", userId="ada")
    assert became(post(ROUTE, a_batch(an_event(), userId="ada"))) == ["accepted"]


def test_a_decision_carries_over_when_the_session_names_its_user(
    post: Caller, on_consent: Caller, on_sessions: Caller
) -> None:
    batch = a_batch()
    post(ROUTE, batch)
    decide(on_consent, "withdrawn", sessionId=batch["sessionId"])
    on_sessions("PUT /v1/sessions/{sessionId}", {"userId": "ada"}, path=f"/v1/sessions/{batch['sessionId']}")
    assert became(post(ROUTE, a_batch(an_event(), userId="ada"))) == ["consent_denied"]


def test_a_decision_in_an_identified_session_is_its_users(post: Caller, on_consent: Caller) -> None:
    batch = a_batch(userId="ada")
    post(ROUTE, batch)
    decide(on_consent, "denied", sessionId=batch["sessionId"])
    assert became(post(ROUTE, a_batch(an_event(), userId="ada"))) == ["consent_denied"]


def test_two_users_of_one_session_do_not_share_a_decision(post: Caller, on_consent: Caller) -> None:
    session = a_batch(userId="ada")
    post(ROUTE, session)
    decide(on_consent, "denied", userId="ada")
    assert became(post(ROUTE, {**session, "events": [an_event()], "userId": "bob"})) == ["accepted"]
    assert known(on_consent, userId="bob")["status"] == "unknown"


@pytest.mark.parametrize("is_fast", [True, False])
def test_later_events_of_an_identified_session_get_its_user(
    post: Caller, on_sessions: Caller, database_url: str, is_fast: bool
) -> None:
    first = a_batch(an_event())
    post(ROUTE, first)
    on_sessions("PUT /v1/sessions/{sessionId}", {"userId": "ada"}, path=f"/v1/sessions/{first['sessionId']}")
    # A batch with an invalid event takes the full path.
    later = [an_event(), *([] if is_fast else [{}])]
    post(ROUTE, {**first, "events": later})
    users = "SELECT count(*) FROM muster.analytics_events WHERE user_id"
    assert count(database_url, f"{users} = 'ada'") == 1
    assert count(database_url, f"{users} IS NULL") == 1
    # Once a second user was named, anonymous events may be anyone's.
    post(ROUTE, {**first, "events": [an_event()], "userId": "bob"})
    post(ROUTE, {**first, "events": [an_event(), *later[1:]]})
    assert count(database_url, f"{users} = 'ada'") == 1
    assert count(database_url, f"{users} IS NULL") == 2


@pytest.mark.parametrize("by", ["batch", "session"])
def test_metrics_count_the_earlier_events_of_an_identified_session(
    post: Caller, on_sessions: Caller, on_metrics: Caller, database_url: str, by: str
) -> None:
    set_project(database_url, identifies_backwards=True)
    session = a_batch(an_event(), an_event())
    post(ROUTE, session)
    assert on_metrics("GET /v1/metrics", kind="read").json["totals"]["users"] == 0
    if by == "batch":
        post(ROUTE, {**session, "events": [an_event()], "userId": "ada"})
    else:
        on_sessions("PUT /v1/sessions/{sessionId}", {"userId": "ada"}, path=f"/v1/sessions/{session['sessionId']}")
        post(ROUTE, {**session, "events": [an_event()]})
    found = on_metrics("GET /v1/metrics", kind="read", query={"breakdown": "userId"}).json
    assert (found["totals"]["users"], found["totals"]["events"]) == (1, 3)
    assert found["breakdown"] == [{"value": "ada", "events": 3, "users": 1, "sessions": 1}]


def test_identifying_a_session_does_not_wait_for_a_roll_up(post: Caller, on_metrics: Caller, database_url: str) -> None:
    set_project(database_url, identifies_backwards=True)
    session = a_batch(an_event())
    post(ROUTE, session)
    on_metrics("GET /v1/metrics", kind="read")
    with psycopg.connect(database_url) as rolling_up:
        rolling_up.execute("SELECT FROM muster.rollup_state FOR UPDATE")
        assert became(post(ROUTE, {**session, "events": [an_event()], "userId": "ada"})) == ["accepted"]
        assert count(database_url, "SELECT count(*) FROM muster.pending_identities") == 1
    found = on_metrics("GET /v1/metrics", kind="read", query={"userId": "ada"}).json
    assert found["totals"]["events"] == 2
    assert count(database_url, "SELECT count(*) FROM muster.pending_identities") == 0
