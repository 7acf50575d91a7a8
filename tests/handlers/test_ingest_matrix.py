"""Every rule of ingest, for one event, for two, for a batch from the queue and for the full path."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from muster.ingest import queue
from muster.ingest.event_ids import derive_event_id
from tests.handlers.conftest import function_environment
from tests.support.databases import Cluster, Project, add_project
from tests.support.deliveries import DELIVERIES, Deliver
from tests.support.functions import BROWSER, Caller, a_batch, an_event

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WINDOW = 365 * DAY
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CARD, NO_CARD = "4111 1111 1111 1111", "4111 1111 1111 1112"
UUID_LIKE_A_CARD = "43340032-3246-4621-a103-b0c6ba879e69"
TOO_OLD = "timestamp_out_of_range"
INVALID: dict[str, Any] = {"eventType": 7}

# A test for which one event is not enough.
of_several = pytest.mark.parametrize("deliver", ["two events", "from the queue", "by the full path"], indirect=True)
# One for an event that takes the full path by itself.
by_itself = pytest.mark.parametrize("deliver", ["one event", "two events", "from the queue"], indirect=True)
from_the_queue = pytest.mark.parametrize("deliver", ["from the queue"], indirect=True)


@pytest.fixture(scope="module")
def database_url(postgres: Cluster) -> Iterator[str]:
    """One database for this module: each test has a project of its own."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="module")
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def environment(database_url: str) -> Iterator[pytest.MonkeyPatch]:
    """One environment for this module, so that the connection of the functions stays open from test to test."""
    with pytest.MonkeyPatch.context() as patch:
        yield from function_environment(patch, database_url)


@pytest.fixture
def project(owner: psycopg.Connection[Any]) -> Project:
    return add_project(owner, f"tests {uuid.uuid4()}")


@pytest.fixture(params=DELIVERIES)
def deliver(
    request: pytest.FixtureRequest,
    environment: pytest.MonkeyPatch,
    monkeypatch: pytest.MonkeyPatch,
    project: Project,
    owner: psycopg.Connection[Any],
    capsys: pytest.CaptureFixture[str],
) -> Deliver:
    """Delivers batches to ingest in each way in turn."""
    return Deliver(DELIVERIES[request.param], project, owner, environment, monkeypatch, capsys)


def now() -> datetime:
    return datetime.now(UTC)


def at(when: datetime, **fields: Any) -> dict[str, Any]:
    return an_event(timestamp=when.isoformat(), **fields)


def written_as(batch: dict[str, Any], value: str) -> str:
    """The batch as JSON, with a literal in the place of the text "?"."""
    return json.dumps(batch).replace('"?"', value)


# What is stored of a valid event.


def test_an_event_is_stored_as_it_was_sent(deliver: Deliver) -> None:
    event = an_event(eventType="sign_up", area="Büro", data={"n": 0.10, "list": [1, {"x": None}]})
    batch = deliver.batch(event, userId="ada")
    delivery = deliver(batch)
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path())
    row = deliver.stored(event)
    assert (row["event_type"], row["area"], row["user_id"]) == ("sign_up", "Büro", "ada")
    assert row["data"] == event["data"]
    assert row["session_id"] == uuid.UUID(batch["sessionId"])
    assert row["batch_id"] == uuid.UUID(delivery.answer.json["batchId"])
    assert row["occurred_at"] == datetime.fromisoformat(event["timestamp"])
    assert now() - MINUTE < row["received_at"] <= now()
    assert {each["xid"] for each in deliver.rows("analytics_events")} == {row["xid"]}


@pytest.mark.parametrize("fields", [{"area": None, "data": None}, {"area": ""}], ids=["absent", "empty"])
def test_an_event_without_area_and_data_gets_the_defaults(deliver: Deliver, fields: dict[str, Any]) -> None:
    event = an_event(**{"data": {}, **fields})
    assert deliver(deliver.batch(event)).path == deliver.path()
    assert (deliver.stored(event)["area"], deliver.stored(event)["data"]) == ("unknown", {})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("1.0E+5", "fast"),
        ("9" * 300, "fast"),
        ('"\\u00e9"', "fast"),
        ('"\\ud83d\\ude00"', "fast"),
        ('"\\u001f"', "fast"),
        ('"\\\\u0000"', "full"),
        ('"%s"' % ("x" * 5_000), "full"),
        ('"%s"' % ("x" * 32_760), "full"),
        ("[" * 31 + "1" + "]" * 31, "fast"),
    ],
    ids=["exponent", "300 digits", "escape", "surrogate pair", "U+001F", "escaped escape", "5 KB", "32 KB", "32 deep"],
)
def test_odd_but_valid_data_is_stored_as_it_was_sent(deliver: Deliver, value: str, path: str) -> None:
    event = an_event(data={"a": "?"})
    delivery = deliver(written_as(deliver.batch(event), value))
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path(path))
    same = deliver.owner.execute("SELECT %s::jsonb", (f'{{"a": {value}}}',)).fetchone()
    assert same == (deliver.stored(event)["data"],)


@pytest.mark.parametrize(("name", "path"), [("x" * 100, "fast"), ("a\u001fb", "full"), ("a\nb", "full")])
def test_a_name_is_stored_as_it_was_sent(deliver: Deliver, name: str, path: str) -> None:
    event = an_event(eventType=name, area=name)
    assert deliver(deliver.batch(event)).path == deliver.path(path)
    assert (deliver.stored(event)["event_type"], deliver.stored(event)["area"]) == (name, name)


# Times.


@pytest.mark.parametrize(
    ("distance", "kind", "outcome"),
    [
        (MINUTE - WINDOW, "write", "accepted"),
        (-MINUTE - WINDOW, "write", TOO_OLD),
        (-MINUTE - WINDOW, "admin", "accepted"),
        (DAY - MINUTE, "write", "accepted"),
        (DAY + MINUTE, "write", TOO_OLD),
        (47 * HOUR, "write", TOO_OLD),
        (48 * HOUR, "write", TOO_OLD),
        (48 * HOUR, "admin", TOO_OLD),
    ],
)
def test_the_window_reaches_from_365_days_ago_to_24_hours_ahead(
    deliver: Deliver, distance: timedelta, kind: str, outcome: str
) -> None:
    event = at(now() + distance)
    delivery = deliver(deliver.batch(event), kind=kind)
    assert delivery.outcomes == [*["accepted"] * deliver.way.neighbours, outcome]
    assert delivery.path == deliver.path("fast" if outcome == "accepted" else "full")


@pytest.mark.parametrize(
    ("timestamp", "outcome"),
    [
        ("1970-01-01T00:00:00Z", "accepted"),
        ("1969-12-31T23:59:59Z", TOO_OLD),
        ("0001-01-01T00:00:00Z", TOO_OLD),
        ("9999-12-31T23:59:59Z", TOO_OLD),
    ],
)
def test_an_admin_key_may_send_history_since_1970(deliver: Deliver, timestamp: str, outcome: str) -> None:
    event = an_event(timestamp=timestamp)
    refused = deliver(deliver.batch(event))
    assert (refused.outcome, refused.path) == (TOO_OLD, "full")
    assert refused.events[-1]["details"][0]["loc"] == ["events", deliver.way.neighbours, "timestamp"]
    assert deliver(deliver.batch(event), kind="admin").outcome == outcome


def test_a_project_sets_its_own_window(deliver: Deliver) -> None:
    deliver.change_project(event_window_days=7)
    outcomes = [deliver(deliver.batch(at(now() - 7 * DAY + distance))).outcome for distance in (MINUTE, -MINUTE)]
    assert outcomes == ["accepted", TOO_OLD]


@from_the_queue
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("envelope", [{}, {"context": {"userAgent": BROWSER}}], ids=["fast", "full"])
def test_a_queued_event_is_as_old_as_it_was_when_received(
    deliver: Deliver, others: int, envelope: dict[str, Any]
) -> None:
    received_at = (now() - 30 * DAY).replace(microsecond=0)
    limits = [received_at - WINDOW, received_at + DAY]
    moments = [*limits, limits[0] - timedelta(microseconds=1), limits[1] + timedelta(microseconds=1)]

    def received_then(messages: list[str]) -> list[str]:
        return [queue.pack({**queue.unpack(each), "receivedAt": received_at.isoformat()}) for each in messages]

    for moment, outcome in zip(moments, ["accepted", "accepted", TOO_OLD, TOO_OLD], strict=True):
        event = at(moment)
        batch = a_batch(
            event, *(at(received_at) for _ in range(others)), **envelope, sentAt=(received_at - MINUTE).isoformat()
        )
        delivery = deliver(batch, change=received_then)
        assert delivery.outcomes == [outcome, *["accepted"] * others]
        assert delivery.path == ("fast" if outcome == "accepted" and not envelope else "full")
        if outcome == "accepted":
            assert deliver.stored(event)["received_at"] == received_at
        (line,) = delivery.lines["consume_result"]
        assert 0 <= line["QueueAgeMs"] - 30 * 86_400_000 < 60_000
    assert {session["clock_skew_ms"] for session in deliver.rows("analytics_sessions")} == {60_000}


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [
        (".5", 500_000),
        (".123456", 123_456),
        (".1234564", 123_456),
        (".1234567", 123_457),
        (".123456789", 123_457),
        (".9999999", 1_000_000),
    ],
)
def test_a_time_is_rounded_to_the_nearest_microsecond(deliver: Deliver, fraction: str, microseconds: int) -> None:
    second = (now() - HOUR).replace(microsecond=0)
    written = second.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")
    batch = deliver.batch()
    for event in batch["events"]:
        event["timestamp"] = written
    first, again = deliver(batch), deliver(batch)
    assert (first.path, set(first.outcomes), set(again.outcomes)) == (deliver.path(), {"accepted"}, {"duplicate"})
    expected = second + timedelta(microseconds=microseconds)
    assert {row["occurred_at"] for row in deliver.rows("analytics_events")} == {expected}
    assert (deliver.session()["started_at"], deliver.session()["last_seen_at"]) == (expected, expected)


@of_several
def test_times_that_only_postgresql_can_compare_take_the_full_path(deliver: Deliver) -> None:
    second = (now() - HOUR).replace(microsecond=0)
    fractions = (".1234567", ".12345678")
    events = [an_event(timestamp=second.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z")) for fraction in fractions]
    assert deliver(a_batch(*events)).path == "full"
    assert {row["occurred_at"].microsecond for row in deliver.rows("analytics_events")} == {123_457}


@pytest.mark.parametrize(
    ("form", "offset"),
    [
        ("%Y-%m-%dT%H:%M:00", "Z"),
        ("%Y-%m-%dT%H:%M:00.0", "+00:00"),
        ("%Y-%m-%d %H:%M:00", "-00:00"),
        ("%Y-%m-%dT%H:%M", "+05:30"),
        ("%Y-%m-%d %H:%M:00.000000", "-0330"),
        ("%Y-%m-%dT%H:%M:00", "+14"),
        ("%Y-%m-%d %H:%M", "-12:00"),
        ("%Y-%m-%dT%H:%M:00", "+15:59"),
    ],
)
def test_a_time_with_an_offset_is_the_instant_that_it_names(deliver: Deliver, form: str, offset: str) -> None:
    instant = (now() - DAY).replace(second=0, microsecond=0)
    zone = datetime.fromisoformat(f"2001-01-01T00:00:00{offset}").tzinfo
    event = an_event(timestamp=instant.astimezone(zone).strftime(form) + offset)
    batch = deliver.batch(event)
    first, again = deliver(batch), deliver(batch)
    assert (first.path, set(first.outcomes), set(again.outcomes)) == (deliver.path(), {"accepted"}, {"duplicate"})
    assert deliver.stored(event)["occurred_at"] == instant


# Ids and duplicates.


def test_sending_a_batch_again_changes_nothing(deliver: Deliver) -> None:
    batch = deliver.batch(userId="ada", sequence=1, dropped=2)
    first = deliver(batch)
    before = deliver.rows("analytics_events", "id"), deliver.rows("analytics_sessions")
    again = deliver(batch)
    assert (set(first.outcomes), first.path) == ({"accepted"}, deliver.path())
    assert (set(again.outcomes), again.path) == ({"duplicate"}, "full")
    assert (deliver.rows("analytics_events", "id"), deliver.rows("analytics_sessions")) == before
    assert [event["id"] for event in again.events] == [event["id"] for event in batch["events"]]


def test_a_duplicate_does_not_keep_a_new_event_out(deliver: Deliver) -> None:
    event = an_event()
    batch = a_batch(event)
    deliver(batch)
    delivery = deliver({**batch, "events": [an_event(), event, an_event()]})
    assert (delivery.outcomes, delivery.path) == (["accepted", "duplicate", "accepted"], "full")
    assert deliver.session()["events_count"] == 3


def test_an_id_in_capitals_is_the_same_id(deliver: Deliver) -> None:
    event = an_event()
    batch = deliver.batch({**event, "id": event["id"].upper()})
    first = deliver(batch)
    assert (first.outcome, first.events[-1]["id"], first.path) == ("accepted", event["id"], deliver.path())
    assert deliver({**batch, "sessionId": batch["sessionId"].upper(), "events": [event]}).outcome == "duplicate"


@of_several
def test_an_id_twice_in_a_batch_is_stored_once(deliver: Deliver) -> None:
    event = an_event()
    batch = a_batch(event, event, at(now() - HOUR, id=event["id"]), at(now() + HOUR, id=event["id"]))
    first = deliver(batch)
    assert (first.outcomes, first.path) == (["accepted", "duplicate", "duplicate", "duplicate"], "full")
    # Later the first of them is known from before, and the others are still its duplicates.
    assert set(deliver(batch).outcomes) == {"duplicate"}
    assert deliver.stored(event)["occurred_at"] == datetime.fromisoformat(event["timestamp"])
    assert deliver.session()["events_count"] == 1


def test_an_event_without_an_id_gets_the_id_of_its_content(deliver: Deliver) -> None:
    event = an_event(id=None, data={"b": 1, "a": "ü", "n": 10**30})
    batch = deliver.batch(event, userId="ada")
    first = deliver(batch)
    assert (first.outcome, first.path) == ("accepted", deliver.path())
    assert first.events[-1]["id"] == derive_event_id(batch["sessionId"], "ada", event)
    assert deliver(batch).outcome == "duplicate"
    # The full path derives the same id.
    assert deliver({**batch, "events": [event, INVALID]}).outcomes == ["duplicate", "invalid_event"]


# Invalid events.


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@by_itself
@pytest.mark.parametrize(
    ("fields", "literal", "place", "kind"),
    [
        pytest.param({"eventType": 7}, "", ["eventType"], "string_type", id="a number as a type"),
        pytest.param({"eventType": None}, "", ["eventType"], "missing", id="no type"),
        pytest.param({"eventType": "  "}, "", ["eventType"], "string_pattern_mismatch", id="a blank type"),
        pytest.param({"eventType": ""}, "", ["eventType"], "string_too_short", id="an empty type"),
        pytest.param({"eventType": "x" * 101}, "", ["eventType"], "string_too_long", id="a long type"),
        pytest.param({"eventType": "a\0"}, "", ["eventType"], "nul_character", id="NUL in the type"),
        pytest.param({"area": 1}, "", ["area"], "string_type", id="a number as an area"),
        pytest.param({"area": "\t "}, "", ["area"], "string_pattern_mismatch", id="a blank area"),
        pytest.param({"area": "x" * 101}, "", ["area"], "string_too_long", id="a long area"),
        pytest.param({"area": "\udc00"}, "", ["area"], "lone_surrogate", id="a lone surrogate in the area"),
        pytest.param({"data": [1]}, "", ["data"], "dict_type", id="data that is a list"),
        pytest.param({"data": {"a": ["x\0"]}}, "", ["data", "a", 0], "nul_character", id="NUL"),
        pytest.param({"data": {"a\0": 1}}, "", ["data", "a\ufffd"], "nul_character", id="NUL in a key"),
        pytest.param({"data": {"a": "\ud800"}}, "", ["data", "a"], "lone_surrogate", id="a lone surrogate"),
        pytest.param({"data": {"\ud800": 1}}, "", ["data", "\ufffd"], "lone_surrogate", id="a lone surrogate in a key"),
        pytest.param({"data": {"a": float("nan")}}, "", ["data", "a"], "number_out_of_range", id="NaN"),
        pytest.param({"data": {"a": float("-inf")}}, "", ["data", "a"], "number_out_of_range", id="-Infinity"),
        pytest.param({"data": {"a": 10**400}}, "", ["data", "a"], "number_out_of_range", id="401 digits"),
        pytest.param({"data": {"a": "?"}}, "1e400", ["data", "a"], "number_out_of_range", id="1e400"),
        pytest.param({"data": "?"}, deep(33), ["data"], "too_deep", id="33 deep"),
        pytest.param({"data": "?"}, deep(900), ["data"], "too_deep", id="900 deep"),
        pytest.param({"data": {"a": "x" * 32_761}}, "", ["data"], "too_large", id="over 32 KB of data"),
        pytest.param({"timestamp": None}, "", ["timestamp"], "missing", id="no time"),
        pytest.param({"timestamp": 1_700_000_000}, "", ["timestamp"], "string_type", id="a number as a time"),
        pytest.param({"timestamp": "now"}, "", ["timestamp"], "string_pattern_mismatch", id="a word as a time"),
        pytest.param(
            {"timestamp": "2001-05-17T10:00:00"}, "", ["timestamp"], "string_pattern_mismatch", id="no offset"
        ),
        pytest.param(
            {"timestamp": "2001-05-17T10:00:00+16:00"}, "", ["timestamp"], "string_pattern_mismatch", id="+16:00"
        ),
        pytest.param(
            {"timestamp": "2001-05-17T24:00:00Z"}, "", ["timestamp"], "string_pattern_mismatch", id="24 o'clock"
        ),
        pytest.param({"timestamp": "2001-02-30T10:00:00Z"}, "", ["timestamp"], "time_invalid", id="30 February"),
        pytest.param({"id": "7"}, "", ["id"], "string_pattern_mismatch", id="an id that is no UUID"),
        pytest.param({"sessionId": "7"}, "", ["sessionId"], "string_pattern_mismatch", id="a session that is no UUID"),
        pytest.param({"userId": "x" * 201}, "", ["userId"], "string_too_long", id="a long user"),
        pytest.param({"context": {"a": "x" * 5_000}}, "", ["context"], "too_large", id="over 4 KB of context"),
        pytest.param({"bogus": 1}, "", ["bogus"], "unknown_field", id="an unknown field"),
    ],
)
def test_an_invalid_event_is_quarantined_and_its_neighbour_stored(
    deliver: Deliver, fields: dict[str, Any], literal: str, place: list[Any], kind: str
) -> None:
    event = an_event(**fields)
    sent = json.dumps(event).replace('"?"', literal)
    batch = deliver.batch(event, userId="ada", sequence=1)
    delivery = deliver(written_as(batch, literal))
    reason = "event_too_large" if kind == "too_large" else "invalid_event"
    assert (delivery.outcomes, delivery.path) == ([*["accepted"] * deliver.way.neighbours, reason], "full")
    (detail,) = delivery.events[-1]["details"]
    assert (detail["loc"], detail["type"]) == (["events", deliver.way.neighbours, *place], kind)
    (row,) = deliver.rows("analytics_rejections")
    assert (row["reason"], row["event_index"], row["details"]) == (reason, deliver.way.neighbours, [detail])
    assert (row["payload"], row["payload_bytes"]) == (sent[: 16 * 1024], len(sent))
    is_id_valid = event["id"] != "7"
    assert row["event_id"] == delivery.events[-1]["id"] == (event["id"] if is_id_valid else None)
    assert row["session_id"] == event.get("sessionId", batch["sessionId"])
    assert row["user_id"] == event.get("userId", "ada")[:100]
    assert row["batch_id"] == uuid.UUID(delivery.answer.json["batchId"])
    assert row["request_id"] == delivery.answer.headers["x-request-id"]
    assert deliver.session()["events_count"] == deliver.way.neighbours
    assert str(deliver.session()["batches"]) == "{[1, 2)}"


def test_a_value_that_only_postgresql_refuses_is_a_storage_error(deliver: Deliver) -> None:
    event = an_event(data={"a": "?"})
    delivery = deliver(written_as(deliver.batch(event), "1e-20000"))
    assert delivery.outcomes == [*["accepted"] * deliver.way.neighbours, "storage_error"]
    assert delivery.path == "full"
    (row,) = deliver.rows("analytics_rejections")
    assert (row["reason"], row["details"][0]["type"]) == ("storage_error", "sqlstate_22003")
    assert row["payload"] == json.dumps(event).replace('"?"', "1e-20000")


def test_an_event_out_of_the_window_is_quarantined_as_sent(deliver: Deliver) -> None:
    event = an_event(timestamp="1999-12-31T23:59:59Z")
    batch = deliver.batch(event, userId="ada")
    delivery = deliver(batch)
    (row,) = deliver.rows("analytics_rejections")
    assert (row["reason"], row["event_index"], row["event_id"]) == (TOO_OLD, deliver.way.neighbours, event["id"])
    assert (row["payload"], row["payload_bytes"]) == (json.dumps(event), len(json.dumps(event)))
    assert (row["session_id"], row["user_id"]) == (batch["sessionId"], "ada")
    assert row["details"][0]["loc"] == ["events", deliver.way.neighbours, "timestamp"]
    assert row["batch_id"] == uuid.UUID(delivery.answer.json["batchId"])


@pytest.mark.parametrize("event", [INVALID, {"timestamp": "1999-12-31T23:59:59Z"}], ids=["invalid", "too old"])
def test_the_same_rejection_again_is_counted_as_an_attempt(deliver: Deliver, event: dict[str, Any]) -> None:
    batch = deliver.batch(an_event(**event))
    deliver(batch)
    deliver(batch)
    (row,) = deliver.rows("analytics_rejections")
    assert (row["attempts"], row["events"]) == (2, 1)


def test_a_payload_is_stored_without_redacted_values(deliver: Deliver) -> None:
    private = {"email": "a@b.c", "n": 1}
    events = [an_event(timestamp="1999-01-01T00:00:00Z", data=private), {"data": private}]
    events += [{"data": {"password": "x" * 20_000}}, {"data": {"n": 1}}]
    assert deliver(deliver.batch(*events)).outcomes[-4:] == [TOO_OLD, *["invalid_event"] * 3]
    payloads = [row["payload"] for row in deliver.rows("analytics_rejections", "event_index")]
    data = [payload and json.loads(payload)["data"] for payload in payloads]
    # A payload that was cut cannot be redacted.
    assert data == [{"n": 1}, {"n": 1}, None, {"n": 1}]


def test_a_late_payload_is_redacted_before_it_is_cut(deliver: Deliver) -> None:
    event = an_event(timestamp="1999-01-01T00:00:00Z", data={"password": "x" * 20_000, "n": 1})
    assert deliver(deliver.batch(event)).outcome == TOO_OLD
    (row,) = deliver.rows("analytics_rejections")
    assert json.loads(row["payload"])["data"] == {"n": 1}


def test_a_rejection_of_a_user_who_denied_consent_has_no_payload(deliver: Deliver) -> None:
    deliver.decide("denied", user_id="ada")
    deliver(deliver.batch(an_event(**INVALID), userId="ada"))
    (row,) = deliver.rows("analytics_rejections")
    assert (row["reason"], row["payload"], row["user_id"]) == ("invalid_event", None, None)


# Triggers that Muster did not make.


@pytest.fixture
def swallowing(owner: psycopg.Connection[Any]) -> Iterator[None]:
    """Triggers that keep events of the type swallowed, and sessions of the user swallowed, out of their tables."""
    owner.execute("CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    for table, column in (("analytics_events", "event_type"), ("analytics_sessions", "user_id")):
        owner.execute(
            f"CREATE TRIGGER swallow BEFORE INSERT ON muster.{table} FOR EACH ROW "
            f"WHEN (NEW.{column} = 'swallowed') EXECUTE FUNCTION public.swallow()".encode()
        )
    yield
    owner.execute("DROP FUNCTION public.swallow() CASCADE")


@pytest.mark.usefixtures("swallowing")
def test_an_event_that_a_trigger_keeps_out_is_not_accepted(deliver: Deliver) -> None:
    delivery = deliver(deliver.batch(an_event(eventType="swallowed")))
    assert delivery.outcomes == [*["accepted"] * deliver.way.neighbours, "storage_error"]
    assert delivery.path == "full"
    assert len(deliver.rows("analytics_events")) == deliver.way.neighbours


@pytest.mark.usefixtures("swallowing")
def test_a_session_that_a_trigger_keeps_out_makes_no_duplicates(deliver: Deliver) -> None:
    delivery = deliver(deliver.batch(userId="swallowed"))
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path())


# Redaction.


@pytest.mark.parametrize(
    ("data", "kept", "redacted", "path"),
    [
        ({"email": "a@b.c", "plan": "pro"}, {"plan": "pro"}, 1, "full"),
        ({"Email": "a@b.c", "PASSWORD": 1, "token": None}, {}, 3, "full"),
        ({"user": {"password": "x", "name": "y"}}, {"user": {"name": "y"}}, 1, "full"),
        ({"list": [{"token": 1}, [{"token": 2, "n": 3}]]}, {"list": [{}, [{"n": 3}]]}, 2, "full"),
        ({"a": CARD, "b": CARD.replace(" ", "-"), "c": int(CARD.replace(" ", "")), "d": 1}, {"d": 1}, 3, "full"),
        ({"a": f"my card is {CARD}, thanks"}, {}, 1, "full"),
        ({"a": [CARD, "x"]}, {"a": ["x"]}, 1, "full"),
        (
            {"a": "378282246310005", "b": "6011111111111117", "c": "5555555555554444", "d": "30569309025904"},
            {},
            4,
            "full",
        ),
        # The fast path looks for digits alone, so some of these take the full path.
        ({"a": NO_CARD}, {"a": NO_CARD}, 0, "full"),
        ({"at": 1795609980788, "f": 0.4111111111111111}, {"at": 1795609980788, "f": 0.4111111111111111}, 0, "fast"),
        ({"us": 1795609980788123}, {"us": 1795609980788123}, 0, "fast"),
        ({"id": "41111111111111111111"}, {"id": "41111111111111111111"}, 0, "full"),
        # The digits of this UUID are those of a valid card number.
        ({"id": UUID_LIKE_A_CARD}, {"id": UUID_LIKE_A_CARD}, 0, "full"),
        ({"emails": 1, "my_token": 2, "text": "email"}, {"emails": 1, "my_token": 2, "text": "email"}, 0, "fast"),
    ],
)
def test_default_keys_and_cards_are_redacted_and_counted(
    deliver: Deliver, data: dict[str, Any], kept: dict[str, Any], redacted: int, path: str
) -> None:
    event = an_event(data=data)
    delivery = deliver(deliver.batch(event))
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path(path))
    assert deliver.stored(event)["data"] == kept
    if not deliver.way.is_queued:
        assert delivery.answer.json["redacted"] == redacted


@pytest.mark.parametrize(("key", "written"), [("email", "\\u0065mail"), ("secret", "\\u0073ecret")])
def test_an_escaped_key_is_redacted_too(deliver: Deliver, key: str, written: str) -> None:
    deliver.change_project(redacted_keys=["email", "secret"])
    event = an_event(data={key: 1, "n": 2})
    delivery = deliver(json.dumps(deliver.batch(event)).replace(f'"{key}"', f'"{written}"'))
    assert (delivery.outcome, delivery.path) == ("accepted", "full")
    assert deliver.stored(event)["data"] == {"n": 2}


def test_a_projects_own_keys_replace_the_default_ones(deliver: Deliver) -> None:
    deliver.change_project(redacted_keys=["secret"], redacts_cards=False)
    event, other = an_event(data={"Secret": 1, "email": "kept", "card": CARD}), an_event(data={"n": 1})
    assert deliver(deliver.batch(event)).path == "full"
    assert deliver.stored(event)["data"] == {"email": "kept", "card": CARD}
    assert deliver(deliver.batch(other)).path == deliver.path()
    assert deliver.stored(other)["data"] == {"n": 1}


# Consent, erasure and users.


@pytest.mark.parametrize("is_users", [True, False], ids=["user", "session"])
@pytest.mark.parametrize(
    ("mode", "decision", "outcome"),
    [
        ("off", "denied", "accepted"),
        ("opt_out", None, "accepted"),
        ("opt_out", "granted", "accepted"),
        ("opt_out", "denied", "consent_denied"),
        ("opt_out", "withdrawn", "consent_denied"),
        ("opt_in", None, "consent_missing"),
        ("opt_in", "granted", "accepted"),
        ("opt_in", "denied", "consent_denied"),
        ("opt_in", "withdrawn", "consent_denied"),
    ],
)
def test_consent_decides(deliver: Deliver, mode: str, decision: str | None, outcome: str, is_users: bool) -> None:
    deliver.change_project(consent_mode=mode)
    batch = deliver.batch(userId="ada" if is_users else None, sequence=1)
    if decision:
        who = {"user_id": "ada"} if is_users else {"session_id": batch["sessionId"]}
        deliver.decide("denied" if decision == "granted" else "granted", **who)
        deliver.decide(decision, **who)
    delivery = deliver(batch)
    assert (set(delivery.outcomes), delivery.path) == (
        {outcome},
        deliver.path("fast" if outcome == "accepted" else "full"),
    )
    # A batch with ignored events only creates no session.
    assert len(deliver.rows("analytics_sessions")) == (outcome == "accepted")


def test_a_sessions_decision_carries_over_to_its_user(deliver: Deliver) -> None:
    batch = deliver.batch()
    deliver.decide("denied", session_id=batch["sessionId"])
    named = deliver({**batch, "userId": "ada"})
    assert (set(named.outcomes), named.path) == ({"consent_denied"}, "full")
    assert set(deliver(deliver.batch(userId="ada")).outcomes) == {"consent_denied"}
    other = deliver(deliver.batch(userId="bob"))
    assert (set(other.outcomes), other.path) == ({"accepted"}, deliver.path())


@pytest.mark.parametrize("mode", ["off", "opt_out", "opt_in"])
def test_a_sessions_decision_carries_over_once_to_its_first_user(deliver: Deliver, mode: str) -> None:
    deliver.change_project(consent_mode=mode)
    for first in ("ada", "eve"):
        session = str(uuid.uuid4())
        deliver.decide("granted", session_id=session)
        paths = []
        for user in (None, first, first, "bob"):
            deliver.decide("granted", user_id=user or "bob")
            delivery = deliver(deliver.batch(userId=user, sessionId=session))
            assert set(delivery.outcomes) == {"accepted"}
            paths.append(delivery.path)
        assert paths == [deliver.path(path) for path in ("fast", "full", "fast", "fast")]
    carried = {(row["user_id"], row["status"]) for row in deliver.rows("analytics_consent") if row["carried_over_from"]}
    assert carried == {("ada", "granted"), ("eve", "granted")}


def test_a_users_decision_holds_for_anonymous_events_of_the_session(deliver: Deliver) -> None:
    batch = deliver.batch(userId="ada")
    deliver(batch)
    deliver.decide("withdrawn", user_id="ada")
    later = deliver({**deliver.batch(), "sessionId": batch["sessionId"]})
    assert (set(later.outcomes), later.path) == ({"consent_denied"}, "full")


@pytest.mark.parametrize("header", ["sec-gpc", "dnt"])
@pytest.mark.parametrize(
    ("honors", "mode", "decision", "outcome"),
    [
        (True, "opt_out", None, "consent_denied"),
        (True, "opt_out", "granted", "accepted"),
        (True, "opt_in", None, "consent_denied"),
        (True, "off", None, "accepted"),
        (False, "opt_out", None, "accepted"),
    ],
)
def test_a_browsers_signal_counts_if_the_project_honors_it(
    deliver: Deliver, header: str, honors: bool, mode: str, decision: str | None, outcome: str
) -> None:
    deliver.change_project(honors_signals=honors, consent_mode=mode)
    if decision:
        deliver.decide(decision, user_id="ada")
    delivery = deliver(deliver.batch(userId="ada"), headers={header: "1"})
    assert (set(delivery.outcomes), delivery.path) == ({outcome}, "full")
    without = deliver(deliver.batch(userId="ada"), headers={header: "0"})
    assert set(without.outcomes) == {"consent_missing" if (mode, decision) == ("opt_in", None) else "accepted"}


def test_an_erased_users_events_are_ignored_from_then_on(deliver: Deliver, on_consent: Caller) -> None:
    stored = deliver.batch(userId="ada")
    deliver(stored)
    on_consent("DELETE /v1/subjects/{userId}", path="/v1/subjects/ada", kind="admin")
    erased = deliver(stored)
    assert (set(erased.outcomes), erased.path) == ({"erased"}, "full")
    late = deliver.batch(userId="ada")
    for event in late["events"]:
        event["timestamp"] = (now() - 5 * MINUTE).isoformat()
    assert set(deliver(late).outcomes) == {"erased"}
    assert set(deliver({**late, "sessionId": stored["sessionId"], "userId": None}).outcomes) == {"erased"}
    assert deliver.rows("analytics_events") == []
    other = deliver(deliver.batch(userId="bob"))
    assert (set(other.outcomes), other.path) == ({"accepted"}, deliver.path())


def test_an_ignored_event_of_an_erased_user_may_be_sent_by_another(deliver: Deliver, on_consent: Caller) -> None:
    on_consent("DELETE /v1/subjects/{userId}", path="/v1/subjects/ada", kind="admin")
    batch = deliver.batch(userId="ada")
    for event in batch["events"]:
        event["timestamp"] = (now() - 5 * MINUTE).isoformat()
    assert set(deliver(batch).outcomes) == {"erased"}
    assert set(deliver({**batch, "userId": "bob"}).outcomes) == {"accepted"}


def test_an_erased_user_who_comes_back_is_counted_again(deliver: Deliver, on_consent: Caller) -> None:
    on_consent("DELETE /v1/subjects/{userId}", path="/v1/subjects/ada", kind="admin")
    batch = deliver.batch(userId="ada")
    for event in batch["events"]:
        event["timestamp"] = now().isoformat()
    delivery = deliver(batch)
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, "full")


@pytest.mark.parametrize("identifies", [True, False])
def test_earlier_events_get_the_sessions_user_if_the_project_says_so(deliver: Deliver, identifies: bool) -> None:
    deliver.change_project(identifies_backwards=identifies)
    anonymous = deliver.batch()
    assert deliver(anonymous).path == deliver.path()
    named = {**deliver.batch(userId="ada"), "sessionId": anonymous["sessionId"]}
    assert deliver(named).path == deliver.path("full" if identifies else "fast")
    assert {deliver.stored(event)["user_id"] for event in named["events"]} == {"ada"}
    assert {deliver.stored(event)["user_id"] for event in anonymous["events"]} == {"ada" if identifies else None}
    again = {**deliver.batch(userId="ada"), "sessionId": anonymous["sessionId"]}
    assert deliver(again).path == deliver.path()


def test_a_session_that_has_its_user_takes_no_earlier_events(deliver: Deliver) -> None:
    anonymous = deliver.batch()
    named, again = ({**deliver.batch(userId="ada"), "sessionId": anonymous["sessionId"]} for _ in range(2))
    deliver(anonymous)
    deliver(named)
    deliver.change_project(identifies_backwards=True)
    assert deliver(again).path == deliver.path()
    assert {deliver.stored(event)["user_id"] for event in anonymous["events"]} == {None}


def test_a_session_keeps_its_first_user_and_counts_conflicts(deliver: Deliver) -> None:
    session = str(uuid.uuid4())
    users: list[str | None] = ["ada", None, "bob", None]
    batches = [deliver.batch(userId=user, sessionId=session) for user in users]
    assert {deliver(batch).path for batch in batches} == {deliver.path()}
    stored = [{deliver.stored(event)["user_id"] for event in batch["events"]} for batch in batches]
    # Once a second user was named, anonymous events may be anyone's.
    assert stored == [{"ada"}, {"ada"}, {"bob"}, {None}]
    assert (deliver.session()["user_id"], deliver.session()["user_conflicts"]) == ("ada", 1)


# Bots and browsers.


def test_the_events_of_a_bot_are_ignored(deliver: Deliver) -> None:
    batch = a_batch(*deliver.batch()["events"], sequence=1)
    delivery = deliver(batch, headers={"user-agent": GOOGLEBOT})
    assert (set(delivery.outcomes), delivery.path) == ({"bot"}, "full")
    assert deliver.rows("analytics_sessions") == []


@pytest.mark.parametrize("of_event", [True, False])
def test_a_named_user_agent_counts_instead_of_the_requests(deliver: Deliver, of_event: bool) -> None:
    bot = {"userAgent": GOOGLEBOT}
    batch = deliver.batch(an_event(context=bot)) if of_event else deliver.batch(context=bot)
    delivery = deliver(batch)
    assert delivery.outcomes == [*["accepted" if of_event else "bot"] * deliver.way.neighbours, "bot"]
    assert delivery.path == "full"


def test_an_http_library_is_a_client_and_no_bot(deliver: Deliver) -> None:
    delivery = deliver(deliver.batch(), headers={"user-agent": "curl/8.5.0"})
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path())


def test_context_is_stored_with_the_session_without_the_user_agent(deliver: Deliver) -> None:
    number = 10**30
    delivery = deliver(deliver.batch(context={"appVersion": "1.2", "userAgent": FIREFOX, "n": number}))
    assert delivery.path == "full"
    assert (deliver.session()["browser"], deliver.session()["context"]) == (
        "Firefox",
        {"appVersion": "1.2", "n": number},
    )


# Sessions.


def test_a_session_sums_up_its_batches_in_any_order(deliver: Deliver) -> None:
    today = now().replace(minute=0, second=0, microsecond=0)
    parts: list[tuple[int, str, dict[str, Any]]] = [
        (1, "app", {"sequence": 2, "dropped": 5, "context": {"a": 1, "b": 1}}),
        (
            3,
            FIREFOX,
            {"sequence": 1, "dropped": 7, "context": {"b": 2, "n": 10**30}, "sentAt": (now() - HOUR).isoformat()},
        ),
        (2, "app", {"sequence": 5, "dropped": 3, "userId": "ada"}),
    ]
    session = str(uuid.uuid4())
    for hours, agent, fields in parts:
        batch = deliver.batch(sessionId=session, **fields)
        batch.get("context", {}).pop("userAgent", None)
        for event in batch["events"]:
            event["timestamp"] = (today - hours * HOUR).isoformat()
        if deliver.way.is_full:
            batch["events"].append(INVALID)
        assert deliver(batch, headers={"user-agent": agent}).path == deliver.path()
    found = deliver.session()
    assert (found["started_at"], found["last_seen_at"]) == (today - 3 * HOUR, today - HOUR)
    assert found["events_count"] == 3 * (1 + deliver.way.neighbours)
    assert (str(found["batches"]), found["dropped"]) == ("{[1, 3), [5, 6)}", 7)
    assert (found["user_id"], found["browser"]) == ("ada", "Firefox")
    assert found["context"] == {"a": 1, "b": 2, "n": 10**30}
    assert 3_600_000 <= found["clock_skew_ms"] < 3_700_000


@of_several
def test_a_session_reaches_from_its_first_to_its_last_event(deliver: Deliver) -> None:
    today = now().replace(minute=0, second=0, microsecond=0)
    assert deliver(deliver.batch(*(at(today - hours * HOUR) for hours in (2, 4, 3)), at(now()))).path == deliver.path()
    assert deliver.session()["started_at"] == today - 4 * HOUR
    assert deliver.session()["last_seen_at"] > today - 2 * HOUR


def test_a_session_without_sequence_and_dropped_has_no_batches_and_no_losses(deliver: Deliver) -> None:
    assert deliver(deliver.batch()).path == deliver.path()
    assert (str(deliver.session()["batches"]), deliver.session()["dropped"]) == ("{}", 0)


def test_a_session_has_the_browser_and_clock_of_its_last_batch(deliver: Deliver) -> None:
    session = str(uuid.uuid4())
    for agent, behind in ((FIREFOX, HOUR), (BROWSER, 2 * HOUR)):
        batch = deliver.batch(sessionId=session, sentAt=(now() - behind).isoformat())
        if deliver.way.is_full:
            batch["context"] = {"userAgent": agent}
        assert deliver(batch, headers={"user-agent": agent}).path == deliver.path()
    assert deliver.session()["browser"] == "Chrome"
    assert 7_200_000 <= deliver.session()["clock_skew_ms"] < 7_300_000


def test_a_batch_of_rejected_events_is_no_gap_in_its_session(deliver: Deliver) -> None:
    events = [an_event(**INVALID) for _ in range(1 + deliver.way.neighbours)]
    batch = a_batch(*events, sequence=3, dropped=2)
    delivery = deliver(batch)
    assert (set(delivery.outcomes), delivery.path) == ({"invalid_event"}, "full")
    found = deliver.session()
    assert (found["events_count"], str(found["batches"]), found["dropped"]) == (0, "{[3, 4)}", 2)
    assert found["started_at"] == found["last_seen_at"] > now() - MINUTE
    deliver({**batch, "sequence": 4})
    assert str(deliver.session()["batches"]) == "{[3, 5)}"
    deliver({**batch, "sequence": 4, "dropped": 3})
    assert deliver.session()["dropped"] == 3


def test_a_batch_of_ignored_events_is_no_gap_in_a_known_session(deliver: Deliver) -> None:
    known, bot = deliver.batch(sequence=1), {"userAgent": GOOGLEBOT}
    deliver(known)
    for fields in ({"sequence": 2, "sessionId": known["sessionId"]}, {"sequence": 1}):
        assert set(deliver(deliver.batch(context=bot, **fields)).outcomes) == {"bot"}
    # There is no session of the second batch.
    assert str(deliver.session()["batches"]) == "{[1, 3)}"


@pytest.mark.parametrize("numbers", [{"sequence": 3}, {"dropped": 2}, {"sequence": 3, "dropped": 2}])
def test_a_repeated_batch_of_rejected_events_does_not_change_its_session(
    deliver: Deliver, numbers: dict[str, int]
) -> None:
    batch = a_batch(*(an_event(**INVALID) for _ in range(1 + deliver.way.neighbours)), **numbers)
    deliver(batch)
    before = deliver.session()
    deliver(batch)
    assert deliver.session() == before


def test_each_event_may_name_its_own_session_and_user(deliver: Deliver) -> None:
    events = [
        an_event(sessionId=str(uuid.uuid4()), userId=f"user {number}", context={"n": number})
        for number in range(1 + deliver.way.neighbours)
    ]
    delivery = deliver({"events": events, "context": {"shared": True}})
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, "full")
    found = {
        (str(each["id"]), each["user_id"], each["events_count"], each["context"]["n"], each["context"]["shared"])
        for each in deliver.rows("analytics_sessions")
    }
    assert found == {(event["sessionId"], event["userId"], 1, number, True) for number, event in enumerate(events)}


def test_an_events_own_session_and_user_count_instead_of_the_batchs(deliver: Deliver) -> None:
    event = an_event(sessionId=str(uuid.uuid4()), userId="eve")
    batch = deliver.batch(event, userId="ada")
    delivery = deliver(batch)
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, "full")
    assert (str(deliver.stored(event)["session_id"]), deliver.stored(event)["user_id"]) == (event["sessionId"], "eve")
    users = {str(row["id"]): row["user_id"] for row in deliver.rows("analytics_sessions")}
    assert users.pop(event["sessionId"]) == "eve"
    assert users == ({batch["sessionId"]: "ada"} if deliver.way.neighbours else {})
    later = an_event(sessionId=event["sessionId"])
    deliver(deliver.batch(later, sessionId=batch["sessionId"]))
    assert deliver.stored(later)["user_id"] == "eve"


def test_another_projects_session_id_is_another_session(deliver: Deliver) -> None:
    own, other = deliver.project, add_project(deliver.owner, f"other {uuid.uuid4()}")
    batch = deliver.batch(userId="mine")
    deliver(batch)
    headers = {"authorization": f"Bearer {other.keys['write']}"}
    deliver.project = other
    delivery = deliver({**batch, "userId": "theirs"}, kind=None, headers=headers)
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path())
    assert (deliver.session()["user_id"], deliver.session()["user_conflicts"]) == ("theirs", 0)
    deliver.project = own
    assert (deliver.session()["user_id"], deliver.session()["user_conflicts"]) == ("mine", 0)


# Keys and whole requests.


@pytest.mark.parametrize("kind", ["write", "admin"])
def test_write_and_admin_keys_may_send_events(deliver: Deliver, kind: str) -> None:
    delivery = deliver(deliver.batch(), kind=kind)
    assert (set(delivery.outcomes), delivery.path) == ({"accepted"}, deliver.path())


@pytest.mark.parametrize(
    ("headers", "kind", "status", "code"),
    [
        ({}, None, 401, "missing_key"),
        ({}, "read", 403, "key_not_allowed"),
        ({"authorization": "Bearer nothing"}, None, 401, "invalid_key"),
    ],
)
def test_a_key_of_another_kind_is_refused_at_once(
    deliver: Deliver, headers: dict[str, str], kind: str | None, status: int, code: str
) -> None:
    delivery = deliver(deliver.batch(), headers=headers, kind=kind)
    assert (delivery.answer.status, delivery.answer.code) == (status, code)
    assert "consume_refused" not in delivery.lines
    assert deliver.rows("analytics_events") == []


@pytest.mark.parametrize("is_revoked", [True, False], ids=["revoked", "unknown"])
@pytest.mark.parametrize("others", [[], [INVALID]], ids=["fast", "full"])
def test_an_unknown_or_revoked_key_stores_nothing(
    deliver: Deliver, is_revoked: bool, others: list[dict[str, Any]]
) -> None:
    headers = {} if is_revoked else {"authorization": "Bearer mw_" + "x" * 43}
    deliver.owner.execute("UPDATE muster.api_keys SET revoked_at = now() WHERE project_id = %s", (deliver.project.id,))
    batch = deliver.batch(an_event(), *others)
    delivery = deliver(batch, headers=headers, kind="write" if is_revoked else None)
    if deliver.way.is_queued:
        # Only the database knows all keys.
        (line,) = delivery.lines["consume_refused"]
        assert (delivery.answer.status, line["EventsRefused"]) == (202, len(batch["events"]))
    else:
        assert (delivery.answer.status, delivery.answer.code) == (401, "invalid_key")
    tables = ("analytics_events", "analytics_sessions", "analytics_rejections")
    assert [deliver.rows(table) for table in tables] == [[], [], []]


REFUSED: dict[str, tuple[Callable[[], Any], int, str]] = {
    "empty": (lambda: None, 400, "invalid_json"),
    "not JSON": (lambda: "not json", 400, "invalid_json"),
    "cut short": (lambda: '{"sessionId": ', 400, "invalid_json"),
    "invalid UTF-8": (lambda: b'{"sessionId": "\xff\xfe"}', 400, "invalid_json"),
    "100,000 open brackets": (lambda: "[" * 100_000, 400, "invalid_json"),
    "100,000 nested brackets": (lambda: "[" * 100_000 + "]" * 100_000, 400, "invalid_json"),
    "100,000 nested objects": (lambda: '{"a":' * 100_000 + "1" + "}" * 100_000, 400, "invalid_json"),
    "a list": (lambda: "[]", 400, "invalid_batch"),
    "a text": (lambda: '"text"', 400, "invalid_batch"),
    "an empty object": (lambda: "{}", 400, "invalid_batch"),
    "no session": (lambda: {"events": [an_event()]}, 400, "invalid_batch"),
    "a session id that is no UUID": (lambda: a_batch(sessionId="7"), 400, "invalid_batch"),
    "a URN": (lambda: a_batch(sessionId="urn:uuid:" + "0" * 32), 400, "invalid_batch"),
    "no events": (lambda: {**a_batch(), "events": []}, 400, "invalid_batch"),
    "events that are no list": (lambda: {**a_batch(), "events": {}}, 400, "invalid_batch"),
    "1,001 events": (lambda: a_batch(*[an_event()] * 1001), 400, "invalid_batch"),
    "NUL in the user": (lambda: a_batch(userId="a\0b"), 400, "invalid_batch"),
    "a long user": (lambda: a_batch(userId="x" * 201), 400, "invalid_batch"),
    "sequence 0": (lambda: a_batch(sequence=0), 400, "invalid_batch"),
    "a negative number of dropped events": (lambda: a_batch(dropped=-1), 400, "invalid_batch"),
    "sentAt without a time": (lambda: a_batch(sentAt="2001-01-01"), 400, "invalid_batch"),
    "sentAt on 30 February": (lambda: a_batch(sentAt="2001-02-30T00:00:00Z"), 400, "invalid_batch"),
    "a large context": (lambda: a_batch(context={"x": "y" * 5000}), 400, "invalid_batch"),
    "a number as user agent": (lambda: a_batch(context={"userAgent": 7}), 400, "invalid_batch"),
    "an unknown field": (lambda: a_batch(bogus=1), 400, "invalid_batch"),
    "1.5 MB": (lambda: a_batch(an_event(data={"x": "y" * 1_500_000})), 413, "payload_too_large"),
}


@pytest.mark.parametrize("deliver", ["one event", "from the queue"], indirect=True)
@pytest.mark.parametrize("refused", REFUSED)
def test_a_refused_request_is_counted_in_the_quarantine(deliver: Deliver, refused: str) -> None:
    make_body, status, code = REFUSED[refused]
    delivery = deliver(make_body())
    assert (delivery.answer.status, delivery.answer.code) == (status, code)
    assert delivery.answer.json["error"]["message"]
    (row,) = deliver.rows("analytics_rejections")
    assert (row["reason"], row["event_index"]) == (code, None)
    assert row["request_id"] == delivery.answer.headers["x-request-id"]
    assert deliver.rows("analytics_events") == []


# A batch that is too large for one message of the queue.


@from_the_queue
def test_every_part_of_a_split_batch_has_its_rejections(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.ingest.enqueue.MAX_MESSAGE_BYTES", 700)
    invalid, too_old = (1, 6), (2, 7)
    events = [an_event() for _ in range(8)]
    for index in invalid:
        events[index] |= INVALID
    for index in too_old:
        events[index]["timestamp"] = "1999-12-31T23:59:59Z"
    expected = {**dict.fromkeys(range(8), "accepted"), **dict.fromkeys(invalid, "invalid_event")}
    expected |= dict.fromkeys(too_old, TOO_OLD)
    parts: list[str] = []

    def in_reverse(messages: list[str]) -> list[str]:
        parts.extend(messages)
        return messages[::-1]

    delivery = deliver(a_batch(*events, userId="ada", sequence=4, context={"a": 1}), change=in_reverse)
    assert len(parts) > 1
    assert {event["index"]: event.get("reason", event["status"]) for event in delivery.events} == expected
    rejections = deliver.rows("analytics_rejections", "event_index")
    assert [(row["event_index"], row["reason"], row["event_id"], row["attempts"]) for row in rejections] == [
        (index, expected[index], events[index]["id"], 1) for index in sorted((*invalid, *too_old))
    ]
    assert [row["details"][0]["loc"][:2] for row in rejections] == [
        ["events", row["event_index"]] for row in rejections
    ]
    found = deliver.session()
    assert (found["events_count"], found["user_id"], found["context"]) == (4, "ada", {"a": 1})
    assert str(found["batches"]) == "{[4, 5)}"
    rejected = sorted((line["index"], line["reason"]) for line in delivery.lines["event_rejected"])
    assert rejected == sorted((index, expected[index]) for index in (*invalid, *too_old))
