"""The tokens of pilot studies: issued, listed, revoked and redeemed, and the participants they make."""

import hashlib
import json
import uuid
from itertools import product
from typing import Any

import psycopg
import pytest

from tests.support.databases import make_project
from tests.support.functions import Answer, Caller, a_batch, an_event

ISSUE, LIST, REVOKE, REDEEM = (
    "POST /v1/pilot-tokens",
    "GET /v1/pilot-tokens",
    "DELETE /v1/pilot-tokens/{id}",
    "POST /v1/pilot-tokens/redeem",
)
PUT, GET = "PUT /v1/sessions/{sessionId}", "GET /v1/sessions/{sessionId}"
UNKNOWN = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"


def issue(call: Caller, **fields: Any) -> list[dict[str, Any]]:
    answer = call(ISSUE, {"participantType": "tester", **fields}, kind="admin")
    assert answer.status == 201
    found: list[dict[str, Any]] = answer.json["tokens"]
    return found


def listed(call: Caller, **query: Any) -> Answer:
    return call(LIST, kind="admin", query=query)


def revoke(call: Caller, token_id: str, **options: Any) -> Answer:
    return call(REVOKE, path=f"/v1/pilot-tokens/{token_id}", **{"kind": "admin", **options})


def redeem(call: Caller, token: str, **fields: Any) -> Answer:
    return call(REDEEM, {"token": token, **fields})


def type_of(call: Caller, session_id: str) -> Any:
    return call(GET, path=f"/v1/sessions/{session_id}", kind="read").json["participantType"]


def in_another_project(call: Caller, database_url: str) -> Caller:
    return Caller(call.handler, make_project(database_url, "other"), call.role, call.environment)


def change(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_tokens_are_issued_in_bulk_and_shown_once(on_pilot: Caller, database_url: str) -> None:
    tokens = issue(on_pilot, count=3, maxUses=5, expiresAt="2199-01-01T00:00:00+02:00", note="first wave")
    assert len({token["token"] for token in tokens}) == len({token["id"] for token in tokens}) == 3
    for token in tokens:
        assert token["token"].startswith("mp_")
        assert len(token["token"]) == 3 + 43  # 256 bits
        assert token["prefix"] == token["token"][:8]
        assert (token["participantType"], token["maxUses"]) == ("tester", 5)
        assert token["expiresAt"] == "2198-12-31T22:00:00Z"
    page = listed(on_pilot)
    assert page.json["nextCursor"] is None
    assert {token["id"] for token in page.json["tokens"]} == {token["id"] for token in tokens}
    assert {(token["state"], token["uses"], token["note"]) for token in page.json["tokens"]} == {
        ("active", 0, "first wave")
    }
    assert not any(token["token"] in page.text for token in tokens)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT token_hash, t::text FROM muster.pilot_tokens t").fetchall()
    assert {bytes(row[0]) for row in rows} == {hashlib.sha256(token["token"].encode()).digest() for token in tokens}
    assert not any(token["token"] in row[1] for token in tokens for row in rows)


def test_by_default_a_token_has_one_use_and_never_expires(on_pilot: Caller) -> None:
    (token,) = issue(on_pilot)
    assert (token["maxUses"], token["expiresAt"]) == (1, None)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "participantType"),
        ({"participantType": " "}, "participantType"),
        ({"participantType": 7}, "participantType"),
        ({"participantType": "x" * 101}, "participantType"),
        ({"participantType": "a\0"}, "participantType"),
        ({"participantType": "a", "count": 0}, "count"),
        ({"participantType": "a", "count": 1001}, "count"),
        ({"participantType": "a", "count": "many"}, "count"),
        ({"participantType": "a", "maxUses": 0}, "maxUses"),
        ({"participantType": "a", "maxUses": 2**31}, "maxUses"),
        ({"participantType": "a", "expiresAt": "tomorrow"}, "expiresAt"),
        ({"participantType": "a", "expiresAt": "2199-02-30T00:00:00Z"}, "expiresAt"),
        ({"participantType": "a", "expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
        ({"participantType": "a", "note": "x" * 501}, "note"),
        ({"participantType": "a", "bogus": 1}, "bogus"),
        ("not json", "body"),
        ("[]", "body"),
    ],
)
def test_the_fault_of_a_request_for_tokens_is_named(on_pilot: Caller, body: Any, name: str) -> None:
    answer = on_pilot(ISSUE, body, kind="admin")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["error"]["message"].startswith(f"Parameter '{name}': ")
    assert listed(on_pilot).json["tokens"] == []


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"userId": "ada"}, "token"),
        ({"token": "", "userId": "ada"}, "token"),
        ({"token": "x" * 201, "userId": "ada"}, "token"),
        ({"token": 7, "userId": "ada"}, "token"),
        ({"token": "mp_x"}, "userId"),
        ({"token": "mp_x", "userId": ""}, "userId"),
        ({"token": "mp_x", "userId": "x" * 201}, "userId"),
        ({"token": "mp_x", "userId": "a\0"}, "userId"),
        ({"token": "mp_x", "sessionId": "seven"}, "sessionId"),
        ({"token": "mp_x", "userId": "ada", "admin": True}, "admin"),
    ],
)
def test_the_fault_of_a_redemption_is_named(on_pilot: Caller, body: Any, name: str) -> None:
    answer = on_pilot(REDEEM, body)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.json["error"]["message"].startswith(f"Parameter '{name}': ")


def test_a_list_of_many_tokens_is_paged(on_pilot: Caller) -> None:
    tokens = [token["id"] for _ in range(2) for token in issue(on_pilot, count=4)]
    found, cursor = list[str](), None
    for size in (3, 3, 2):
        page = listed(on_pilot, limit=3, **({"cursor": cursor} if cursor else {})).json
        assert len(page["tokens"]) == size
        found += [token["id"] for token in page["tokens"]]
        cursor = page["nextCursor"]
    assert cursor is None
    assert sorted(found) == sorted(tokens)
    assert set(found[:4]) == set(tokens[4:])  # the latest first


def test_an_empty_body_is_no_json(on_pilot: Caller) -> None:
    for answer in (on_pilot(ISSUE, kind="admin"), on_pilot(REDEEM)):
        assert (answer.status, answer.code) == (400, "invalid_json")


@pytest.mark.parametrize("query", [{"limit": 0}, {"cursor": "x"}, {"cursor": UNKNOWN}, {"state": "active"}])
def test_an_invalid_page_is_refused(on_pilot: Caller, query: dict[str, Any]) -> None:
    answer = listed(on_pilot, **query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")


def test_redeeming_a_token_again_is_the_same_redemption(on_pilot: Caller) -> None:
    (token,) = issue(on_pilot)
    first = redeem(on_pilot, token["token"], userId="ada")
    assert (first.status, set(first.json), first.json["participantType"]) == (
        200,
        {"participantType", "redeemedAt"},
        "tester",
    )
    assert redeem(on_pilot, token["token"], userId="ada").json == first.json
    other = redeem(on_pilot, token["token"], userId="bob")
    assert (other.status, other.code) == (410, "token_used_up")
    (shown,) = listed(on_pilot).json["tokens"]
    assert (shown["state"], shown["uses"]) == ("used_up", 1)


def test_a_redemption_outlives_its_token(on_pilot: Caller, database_url: str) -> None:
    revoked, expired = issue(on_pilot, count=2, maxUses=9, expiresAt="2199-01-01T00:00:00Z")
    firsts = [redeem(on_pilot, token["token"], userId="ada").json for token in (revoked, expired)]
    revoke(on_pilot, revoked["id"])
    change(database_url, f"UPDATE muster.pilot_tokens SET expires_at = now() WHERE id = '{expired['id']}'")
    for token, first, code in ((revoked, firsts[0], "token_revoked"), (expired, firsts[1], "token_expired")):
        again = redeem(on_pilot, token["token"], userId="ada")
        assert (again.status, again.json) == (200, first)
        late = redeem(on_pilot, token["token"], userId="bob")
        assert (late.status, late.code) == (410, code)
    assert {token["id"]: token["state"] for token in listed(on_pilot).json["tokens"]} == {
        revoked["id"]: "revoked",
        expired["id"]: "expired",
    }


def test_a_user_may_redeem_again_from_another_session(on_pilot: Caller, on_sessions: Caller) -> None:
    (token,) = issue(on_pilot)
    here, there = str(uuid.uuid4()), str(uuid.uuid4())
    for session_id in (here, there):
        on_sessions(PUT, {}, path=f"/v1/sessions/{session_id}")
    answers = [
        redeem(on_pilot, token["token"], **fields)
        for fields in (
            {"sessionId": here},
            {"sessionId": here, "userId": "ada"},
            {"userId": "ada"},
            {"sessionId": there, "userId": "ada"},
            {"sessionId": there},
        )
    ]
    assert [answer.status for answer in answers] == [200] * 5
    assert {json.dumps(answer.json) for answer in answers} == {json.dumps(answers[0].json)}
    assert [type_of(on_sessions, session_id) for session_id in (here, there)] == ["tester", "tester"]
    assert listed(on_pilot).json["tokens"][0]["uses"] == 1


def test_a_session_that_redeemed_makes_no_participant_of_another_user(on_pilot: Caller, on_sessions: Caller) -> None:
    (token,) = issue(on_pilot)
    redeem(on_pilot, token["token"], sessionId=UNKNOWN, userId="ada")
    assert redeem(on_pilot, token["token"], sessionId=UNKNOWN, userId="bob").status == 200
    of_bob = str(uuid.uuid4())
    on_sessions(PUT, {"userId": "bob"}, path=f"/v1/sessions/{of_bob}")
    assert type_of(on_sessions, of_bob) is None


def test_revoking_a_token_again_changes_nothing(on_pilot: Caller) -> None:
    (token,) = issue(on_pilot)
    first = revoke(on_pilot, token["id"])
    assert (first.status, first.json["state"]) == (200, "revoked")
    assert revoke(on_pilot, token["id"]).json == first.json
    assert [revoke(on_pilot, UNKNOWN).code, revoke(on_pilot, "seven").code] == ["token_not_found", "invalid_parameter"]
    gone = redeem(on_pilot, token["token"], userId="ada")
    assert (gone.status, gone.code) == (410, "token_revoked")


def test_another_projects_tokens_are_not_found(on_pilot: Caller, database_url: str) -> None:
    (token,) = issue(on_pilot)
    other = in_another_project(on_pilot, database_url)
    assert listed(other).json["tokens"] == []
    for answer in (revoke(other, token["id"]), redeem(other, token["token"], userId="ada")):
        assert (answer.status, answer.code) == (404, "token_not_found")
    assert listed(other, cursor=token["id"]).status == 400
    assert listed(on_pilot).json["tokens"][0]["state"] == "active"


def test_guessing_tokens_is_slowed_down_and_locks_no_user_out(on_pilot: Caller, database_url: str) -> None:
    right, late = issue(on_pilot, count=2)
    revoke(on_pilot, late["id"])
    guesses = [redeem(on_pilot, f"mp_guess{number}", userId="eve") for number in range(70)]
    assert [guess.status for guess in guesses] == [404] * 60 + [429] * 10
    assert guesses[-1].code == "too_many_attempts"
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 60
    # Guesses over the limit write nothing.
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT failures FROM muster.pilot_attempts").fetchall() == [(60,)]
    assert redeem(on_pilot, late["token"], userId="ada").code == "token_revoked"
    assert redeem(on_pilot, right["token"], userId="ada").status == 200
    other = in_another_project(on_pilot, database_url)
    assert redeem(other, "mp_guess", userId="eve").status == 404
    change(database_url, "UPDATE muster.pilot_attempts SET since = now() - interval '1 minute'")
    assert redeem(on_pilot, "mp_guess", userId="eve").status == 404


def test_no_token_and_no_user_is_in_an_error_or_a_log(on_pilot: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    (token,) = issue(on_pilot, participantType="secret-type", note="secret-note")
    capsys.readouterr()
    answers = [
        redeem(on_pilot, token["token"], userId="secret-user"),
        redeem(on_pilot, token["token"], userId="secret-other"),
        redeem(on_pilot, "mp_secret-guess", userId="secret-user"),
        redeem(on_pilot, token["token"], sessionId="secret-session"),
        revoke(on_pilot, token["id"]),
        on_pilot(ISSUE, {"participantType": "secret-type" * 20}, kind="admin"),
    ]
    said = capsys.readouterr().out + "".join(answer.text for answer in answers if answer.status >= 400)
    assert "pilot_token_redeemed" in said
    for secret in ("secret", token["token"]):
        assert secret not in said


def test_each_route_needs_its_kind_of_key(on_pilot: Caller) -> None:
    (token,) = issue(on_pilot)
    kinds = ("admin", "write", "read", None)
    assert [on_pilot(ISSUE, {"participantType": "a"}, kind=kind).status for kind in kinds] == [201, 403, 403, 401]
    assert [on_pilot(LIST, kind=kind).status for kind in kinds] == [200, 403, 403, 401]
    assert [revoke(on_pilot, token["id"], kind=kind).status for kind in kinds] == [200, 403, 403, 401]
    body = {"token": "mp_x", "userId": "ada"}
    assert [on_pilot(REDEEM, body, kind=kind).status for kind in kinds] == [404, 404, 403, 401]


def test_the_functions_role_cannot_read_tokens(on_pilot: Caller, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = ("pilot_tokens", "pilot_redemptions", "pilot_attempts")
        for role, table in product(("muster_people", "muster_ingest"), tables):
            row = connection.execute("SELECT has_any_column_privilege(%s, %s, 'SELECT')", (role, f"muster.{table}"))
            assert row.fetchone() == (False,)
        hash_read = "SELECT has_column_privilege(%s, 'muster.pilot_tokens', 'token_hash', 'SELECT')"
        assert connection.execute(hash_read.encode(), ("muster_reader",)).fetchone() == (False,)


def test_all_sessions_of_a_participant_have_the_type(post: Caller, on_pilot: Caller, on_sessions: Caller) -> None:
    before, after, others = (a_batch(an_event(), userId=user) for user in ("ada", "ada", "bob"))
    (token,) = issue(on_pilot)
    post("POST /v1/events", before)
    assert type_of(on_sessions, before["sessionId"]) is None
    redeem(on_pilot, token["token"], userId="ada")
    for batch in (after, others):
        post("POST /v1/events", batch)
    assert [type_of(on_sessions, batch["sessionId"]) for batch in (before, after, others)] == ["tester", "tester", None]


def test_the_latest_redemption_gives_the_participant_type(on_pilot: Caller, on_sessions: Caller) -> None:
    first, second = (issue(on_pilot, participantType=kind)[0]["token"] for kind in ("tester", "control"))
    on_sessions(PUT, {"userId": "ada"}, path=f"/v1/sessions/{UNKNOWN}")
    redeem(on_pilot, first, sessionId=UNKNOWN)
    redeem(on_pilot, second, userId="ada")
    assert type_of(on_sessions, UNKNOWN) == "control"
    redeem(on_pilot, first, sessionId=UNKNOWN)  # the same redemption as then
    assert type_of(on_sessions, UNKNOWN) == "control"


def test_a_write_key_does_not_learn_the_participant_type(on_pilot: Caller, on_sessions: Caller) -> None:
    redeem(on_pilot, issue(on_pilot)[0]["token"], userId="ada")
    answer = on_sessions(PUT, {"userId": "ada"}, path=f"/v1/sessions/{UNKNOWN}")
    assert "participantType" not in answer.json
    assert type_of(on_sessions, UNKNOWN) == "tester"


def test_metrics_events_and_exports_filter_by_participant_type(
    post: Caller, on_pilot: Caller, on_metrics: Caller, on_diagnostics: Caller
) -> None:
    before, after, others = (a_batch(an_event(), userId=user) for user in ("ada", "ada", "bob"))
    for batch in (before, others):
        post("POST /v1/events", batch)
    query = {"timeframe": "day", "breakdown": "participantType"}

    def broken_down() -> list[dict[str, Any]]:
        answer = on_metrics("GET /v1/metrics", kind="read", query=query)
        assert answer.json["explain"]["source"] == "rollups"
        found: list[dict[str, Any]] = answer.json["breakdown"]
        return found

    assert broken_down() == [{"value": None, "events": 2, "users": 2, "sessions": 2}]
    redeem(on_pilot, issue(on_pilot)[0]["token"], userId="ada")
    post("POST /v1/events", after)
    assert broken_down() == [
        {"value": "tester", "events": 2, "users": 1, "sessions": 2},
        {"value": None, "events": 1, "users": 1, "sessions": 1},
    ]
    theirs = {"participantType": "tester"}
    totals = on_metrics("GET /v1/metrics", kind="read", query=theirs).json["totals"]
    assert (totals["events"], totals["users"], totals["sessions"], totals["activeUsersNow"]) == (2, 1, 2, 1)
    ids = {batch["events"][0]["id"] for batch in (before, after)}
    page = on_metrics("GET /v1/metrics/events", kind="read", query=theirs).json["events"]
    assert {event["id"] for event in page} == ids
    export = on_metrics("GET /v1/metrics/export", kind="read", query={**theirs, "format": "ndjson"})
    assert {json.loads(line)["id"] for line in export.text.splitlines()} == ids
    trace = on_diagnostics(
        "GET /v1/diagnostics/events/{eventId}",
        kind="read",
        path=f"/v1/diagnostics/events/{others['events'][0]['id']}",
        query=theirs,
    )
    assert "The filter participantType excludes it" in trace.json["verdict"]
    empty = on_metrics("GET /v1/metrics", kind="read", query={"participantType": "control"}).json["explain"]
    assert "Remove a filter" in empty["hint"]


def test_an_empty_participant_type_is_refused(on_metrics: Caller) -> None:
    answer = on_metrics("GET /v1/metrics", kind="read", query={"participantType": ""})
    assert (answer.status, answer.code) == (400, "invalid_parameter")
