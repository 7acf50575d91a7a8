"""POST /v1/events: what is stored, and what each event's status says."""

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from muster.auth.keys import Access, hash_key
from muster.db.client import Database
from muster.ingest.handler import save_batch
from muster.platform.settings import Settings
from tests.support.databases import make_project
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
def test_json_is_read_whatever_beacons_and_proxies_call_it(post: Caller, content_type: str, gzipped: bool) -> None:
    answer = post(ROUTE, a_batch(), headers={"content-type": content_type}, gzipped=gzipped)
    assert (answer.status, statuses(answer)) == (200, ["accepted"])


def test_a_key_may_come_in_the_query_or_as_a_basic_user(post: Caller) -> None:
    key = post.project.keys["write"]
    assert post(ROUTE, a_batch(), kind=None, query={"key": key}).status == 200
    assert post(ROUTE, a_batch(), kind=None, headers={"authorization": _basic(key)}).status == 200


def test_without_a_key_and_with_a_wrong_one_nothing_is_stored(post: Caller, database_url: str) -> None:
    missing = post(ROUTE, a_batch(), kind=None)
    unknown = post(ROUTE, a_batch(), kind=None, headers={"authorization": "Bearer mw_unknown"})
    wrong_kind = post(ROUTE, a_batch(), kind="read")
    assert [(answer.status, answer.code) for answer in (missing, unknown, wrong_kind)] == [
        (401, "missing_key"),
        (401, "invalid_key"),
        (403, "key_not_allowed"),
    ]
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(0,)]


def test_a_revoked_key_is_refused(post: Caller, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE muster.api_keys SET revoked_at = now() WHERE kind = 'write'")
    answer = post(ROUTE, a_batch())
    assert (answer.status, answer.code) == (401, "invalid_key")


def test_sending_the_same_batch_again_changes_nothing(post: Caller, database_url: str) -> None:
    batch = a_batch(an_event(), an_event(), sequence=1)
    post(ROUTE, batch)
    before = rows(database_url, "SELECT s::text FROM muster.analytics_sessions s")
    again = post(ROUTE, batch)
    assert statuses(again) == ["duplicate", "duplicate"]
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(2,)]
    assert rows(database_url, "SELECT s::text FROM muster.analytics_sessions s") == before


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


def test_an_id_twice_in_one_batch_is_stored_once(post: Caller, database_url: str) -> None:
    event = an_event()
    answer = post(ROUTE, a_batch(event, event, {**event, "timestamp": "2026-01-01T00:00:00Z"}))
    assert statuses(answer) == ["accepted", "duplicate", "duplicate"]
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(1,)]


def test_an_event_without_an_id_gets_the_same_one_on_every_retry(post: Caller) -> None:
    batch = a_batch(an_event(id=None), an_event(id=None, data={"b": 1, "a": [1, {"x": "ü"}]}))
    first, second = post(ROUTE, batch), post(ROUTE, batch)
    assert statuses(first) == ["accepted", "accepted"]
    assert statuses(second) == ["duplicate", "duplicate"]
    assert [event["id"] for event in first.json["events"]] == [event["id"] for event in second.json["events"]]


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_stored_is_what_was_sent_and_again_a_duplicate(post: Caller, database_url: str, number: int) -> None:
    kinds = [("click", "a shop"), ("sign_up", "Büro")][:number]
    events = [an_event(eventType=event_type, area=area, data={"n": 0.10}) for event_type, area in kinds]
    batch = a_batch(*events, userId="ada")
    first, second = post(ROUTE, batch), post(ROUTE, batch)
    assert (statuses(first), statuses(second)) == (["accepted"] * number, ["duplicate"] * number)
    columns = "session_id::text, batch_id::text, user_id, event_type, area, data::text"
    stored = rows(database_url, f"SELECT id::text, {columns} FROM muster.analytics_events")
    about = (batch["sessionId"], first.json["batchId"], "ada")
    assert sorted(stored) == sorted(
        (event["id"], *about, *kind, '{"n": 0.1}') for event, kind in zip(events, kinds, strict=True)
    )


def test_a_server_may_post_for_many_sessions_at_once(post: Caller, database_url: str) -> None:
    sessions = [str(uuid.uuid4()) for _ in range(3)]
    events = [an_event(sessionId=session, userId=f"user {number}") for number, session in enumerate(sessions)]
    answer = post(ROUTE, {"events": events})
    assert answer.json["accepted"] == 3
    found = rows(database_url, "SELECT id::text, user_id, events_count FROM muster.analytics_sessions")
    assert sorted(found) == sorted((session, f"user {number}", 1) for number, session in enumerate(sessions))


def test_another_projects_session_id_is_another_session(post: Caller, database_url: str) -> None:
    other = Caller(post.handler, make_project(database_url, "other"), post.role, post.environment)
    batch = a_batch(userId="mine")
    post(ROUTE, batch)
    answer = other(ROUTE, {**batch, "userId": "theirs"})
    assert statuses(answer) == ["accepted"]
    found = rows(
        database_url, "SELECT project_id, user_id, events_count, user_conflicts FROM muster.analytics_sessions"
    )
    assert sorted(found) == sorted([(post.project.id, "mine", 1, 0), (other.project.id, "theirs", 1, 0)])


def test_a_session_keeps_its_first_user_and_notes_another(post: Caller, database_url: str) -> None:
    batch = a_batch(userId="first")
    post(ROUTE, batch)
    post(ROUTE, {**batch, "userId": "second", "events": [an_event()]})
    post(ROUTE, {**batch, "userId": None, "events": [an_event()]})
    assert rows(database_url, "SELECT user_id, user_conflicts FROM muster.analytics_sessions") == [("first", 1)]
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events WHERE user_id = 'second'") == [(1,)]


def test_a_bots_events_are_ignored_and_accounted_for(post: Caller, database_url: str) -> None:
    googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    answer = post(ROUTE, a_batch(an_event(), an_event()), headers={"user-agent": googlebot})
    assert [(event["status"], event["reason"]) for event in answer.json["events"]] == [("ignored", "bot")] * 2
    assert answer.json["ignored"] == 2
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_ignored WHERE reason = 'bot'") == [(2,)]


def test_a_library_that_posts_is_a_client_and_no_bot(post: Caller) -> None:
    assert statuses(post(ROUTE, a_batch(), headers={"user-agent": "curl/8.5.0"})) == ["accepted"]


@pytest.mark.parametrize(
    ("mode", "decision", "status"),
    [
        ("off", "denied", "accepted"),
        ("opt_out", None, "accepted"),
        ("opt_out", "denied", "consent_denied"),
        ("opt_out", "withdrawn", "consent_denied"),
        ("opt_in", None, "consent_missing"),
        ("opt_in", "granted", "accepted"),
    ],
)
def test_consent_decides(post: Caller, database_url: str, mode: str, decision: str | None, status: str) -> None:
    batch = a_batch(userId="u")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE muster.projects SET consent_mode = %s", (mode,))
        if decision:
            connection.execute(
                "INSERT INTO muster.analytics_consent (project_id, user_id, status) VALUES (%s, 'u', %s)",
                (post.project.id, decision),
            )
    event = post(ROUTE, batch).json["events"][0]
    assert event.get("reason", event["status"]) == status


def test_history_comes_in_with_an_admin_key_alone(post: Caller) -> None:
    event = an_event(timestamp="1999-12-31T23:59:59Z")
    refused = post(ROUTE, a_batch(event)).json["events"][0]
    assert (refused["status"], refused["reason"]) == ("rejected", "timestamp_out_of_range")
    assert refused["details"][0]["loc"] == ["events", 0, "timestamp"]
    assert statuses(post(ROUTE, a_batch(event), kind="admin")) == ["accepted"]


def test_context_is_kept_with_the_session_without_its_user_agent(post: Caller, database_url: str) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    post(ROUTE, a_batch(context={"appVersion": "1.2", "userAgent": firefox}))
    assert rows(database_url, "SELECT browser, context FROM muster.analytics_sessions") == [
        ("Firefox", {"appVersion": "1.2"})
    ]


def test_sequences_are_kept_so_that_a_gap_is_a_hole(post: Caller, database_url: str) -> None:
    batch = a_batch(sequence=1)
    post(ROUTE, batch)
    post(ROUTE, {**batch, "events": [an_event()], "sequence": 2})
    post(ROUTE, {**batch, "events": [an_event()], "sequence": 5, "dropped": 7})
    assert rows(database_url, "SELECT batches::text, dropped FROM muster.analytics_sessions") == [("{[1,3),[5,6)}", 7)]


@pytest.mark.parametrize("others", [[], [{}], [{}, {"eventType": 7}]], ids=["one event", "several", "and one is bad"])
def test_a_session_sums_up_its_batches_whatever_order_they_come_in(
    post: Caller, database_url: str, others: list[dict[str, Any]]
) -> None:
    today = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    parts: list[dict[str, Any]] = [
        {"sequence": 2, "dropped": 5, "context": {"a": 1, "b": 1}},
        {"sequence": 1, "dropped": 7, "context": {"b": 2}, "sentAt": (today - timedelta(days=9)).isoformat()},
        {"sequence": 3, "dropped": 3, "userId": "ada"},
    ]
    session = str(uuid.uuid4())
    for hours, part, agent in zip((1, 3, 2), parts, ("app", firefox, "app"), strict=True):
        when = (today - timedelta(hours=hours)).isoformat()
        events = [an_event(timestamp=when, **other) for other in ({}, *others)]
        answer = post(ROUTE, a_batch(*events, sessionId=session, **part), headers={"user-agent": agent})
        assert statuses(answer)[0] == "accepted"
    stored = 3 * (1 + others.count({}))
    columns = "started_at, last_seen_at, events_count, batches::text, dropped, user_id, browser, context"
    first, last, context = today - timedelta(hours=3), today - timedelta(hours=1), {"a": 1, "b": 2}
    assert rows(database_url, f"SELECT {columns} FROM muster.analytics_sessions") == [
        (first, last, stored, "{[1,4)}", 7, "ada", "Firefox", context)
    ]
    about = "clock_skew_ms / 86400000, updated_at > created_at"
    assert rows(database_url, f"SELECT {about} FROM muster.analytics_sessions") == [(9, True)]


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


@pytest.mark.parametrize("number", [1, 2])
def test_events_whose_session_a_trigger_swallows_are_not_called_duplicates(
    post: Caller, database_url: str, number: int
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON muster.analytics_sessions FOR EACH ROW "
            "EXECUTE FUNCTION public.swallow()"
        )
    batch = a_batch(*(an_event() for _ in range(number)))
    assert statuses(post(ROUTE, batch)) == ["accepted"] * number
    assert rows(database_url, "SELECT count(*) FROM muster.analytics_events") == [(number,)]


def test_what_a_trigger_of_somebody_swallows_is_not_called_accepted(
    post: Caller, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF NEW.event_type = 'swallowed' THEN RETURN NULL; END IF; RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON muster.analytics_events FOR EACH ROW "
            "EXECUTE FUNCTION public.swallow()"
        )
    answer = post("POST /v1/events", a_batch(an_event(), an_event(eventType="swallowed"), an_event()))
    accepted = {each["id"] for each in answer.json["events"] if each["status"] == "accepted"}
    with psycopg.connect(database_url) as connection:
        stored = {str(row[0]) for row in connection.execute("SELECT id FROM muster.analytics_events")}
    assert len(stored) == 2
    assert accepted == stored
    assert answer.json["accepted"] == 2
    assert '"EventsUnaccounted":0' in capsys.readouterr().out
