"""What the full path reads from a batch: contexts, users, bots, and what it stores of a rejected event."""

import json
from typing import Any

import pytest

from muster.ingest.full_path import refusal_row
from muster.ingest.parse import Batch, parse_batch, reject_request
from muster.ingest.user_agents import request_agent
from muster.platform.errors import Detail, InvalidBatch

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SESSION, OTHER = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11", "0d7a4e11-93c1-4a57-8a55-0f6f1f3c2b22"


def an_event(**fields: Any) -> dict[str, Any]:
    return {"eventType": "a", "timestamp": "2026-01-01T00:00:00Z", **fields}


def parse(*events: Any, agent: str = "", **fields: Any) -> Batch:
    return parse_batch(json.dumps({"events": list(events), **fields}), request_agent(agent))


def test_a_batch_without_a_session_needs_one_in_an_event() -> None:
    batch = parse(an_event(sessionId=OTHER), an_event())
    assert batch.valid == [0]
    assert [(each.index, each.details[0]["loc"]) for each in batch.rejections] == [(1, ["events", 1, "sessionId"])]
    for events in ([an_event()], [7], [an_event(sessionId="")]):
        with pytest.raises(InvalidBatch) as refused:
            parse(*events)
        assert refused.value.details[0]["loc"] == ["sessionId"]


def test_a_context_belongs_to_the_session_of_its_event() -> None:
    batch = parse(
        an_event(context={"b": 2}),
        an_event(sessionId=OTHER),
        an_event(sessionId=OTHER.upper(), context={"a": 3, "userAgent": ""}),
        agent=FIREFOX,
        sessionId=SESSION,
        context={"a": 1},
    )
    assert batch.contexts == {
        SESSION: {"browser": "Firefox", "context": {"a": 1, "b": 2}},
        OTHER: {"browser": "Firefox", "context": {"a": 3}},
    }


def test_the_user_agent_of_an_event_comes_before_the_batchs_and_the_requests() -> None:
    bot, person, unknown = ({"userAgent": agent} for agent in (GOOGLEBOT, FIREFOX, ""))
    contexts = [bot, person, unknown, {}]
    events = [an_event(context=context, data={"n": n}) for n, context in enumerate(contexts)]
    assert parse(*events, sessionId=SESSION, agent=FIREFOX).bots == [0]
    assert parse(*events, sessionId=SESSION, agent=GOOGLEBOT).bots == [0, 3]
    assert parse(*events, sessionId=SESSION, context=bot).bots == [0, 3]
    assert parse(*events, sessionId=SESSION, context=person, agent=GOOGLEBOT).bots == [0]
    assert parse(*events, sessionId=SESSION, context=unknown, agent=GOOGLEBOT).bots == [0]
    # A position among the valid events, which a rejected event is not.
    assert parse(7, *events, sessionId=SESSION, agent=FIREFOX).bots == [0]


def test_a_session_gets_the_user_that_its_earliest_event_names() -> None:
    times = ["2026-01-01T00:00:02Z", "2026-01-01T02:00:01+02:00", "2026-01-01T00:00:01Z", "2026-01-01T00:00:03Z"]
    events = [an_event(timestamp=time, userId=user) for time, user in zip(times, "abcd", strict=True)]
    batch = parse(*events, an_event(sessionId=OTHER, timestamp="2025-01-01T00:00:00Z"), sessionId=SESSION, userId="e")
    assert {session: user for session, (_, user) in batch.named_users.items()} == {SESSION: "b", OTHER: "e"}
    assert parse(an_event(), sessionId=SESSION).named_users == {}


@pytest.mark.parametrize(
    ("time", "stored"),
    [
        ("2026-05-17T10:00:00Z", "2026-05-17T10:00:00+00:00"),
        ("20260517T10+01", "2026-05-17T10:00:00+01:00"),
        ("0002-01-01T00:00:00Z", "0002-01-01T00:00:00+00:00"),
        ("0001-12-31T00:00:00Z", None),
        ("2026-05-17T10:00:00", None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_a_rejected_event_has_its_time_if_postgresql_can_store_it(time: Any, stored: str | None) -> None:
    (rejection,) = parse(an_event(timestamp=time, area="\0"), sessionId=SESSION).rejections
    assert rejection.occurred_at == stored


def test_a_rejected_event_has_no_time_if_the_time_is_its_fault() -> None:
    (rejection,) = parse(an_event(timestamp="20260517T10+01"), sessionId=SESSION).rejections
    assert rejection.occurred_at is None


@pytest.mark.parametrize("event_id", [7, "seven", SESSION + "x", SESSION + "\n", None])
def test_a_rejected_event_has_only_a_valid_id(event_id: Any) -> None:
    invalid, valid = parse(
        an_event(id=event_id, area=1), an_event(id=OTHER.upper(), area=1), sessionId=SESSION
    ).rejections
    assert (invalid.event_id, valid.event_id) == (None, OTHER)


def test_a_rejected_event_names_its_own_session_and_user() -> None:
    batch = parse(an_event(area=1, sessionId="s\0", userId="u\0"), 7, sessionId=SESSION, userId="ada")
    named = [(each.session_id, each.user_id) for each in batch.rejections]
    assert named == [("s\ufffd", "u\ufffd"), (SESSION, "ada")]


def test_a_refused_request_is_stored_with_its_text_if_it_has_any() -> None:
    assert reject_request("invalid_json", [], None).payload == ""
    refused = reject_request("invalid_json", [], "ü\0\ud800")
    assert (refused.index, refused.payload, refused.payload_bytes) == (None, "ü\ufffd?", 6)


def test_a_refusal_without_details_is_of_the_body() -> None:
    detail = Detail(loc=["events"], type="missing", message="Field 'events' is required.")
    assert refusal_row(InvalidBatch("Refused.", details=[detail]), "{}")["details"] == [detail]
    (made,) = refusal_row(InvalidBatch("Refused."), None)["details"]
    assert made == {"loc": ["body"], "type": "invalid_batch", "message": "Refused."}


def test_the_message_names_the_first_of_several_faults() -> None:
    with pytest.raises(InvalidBatch) as refused:
        parse(an_event(), sessionId=SESSION, userId="", sequence=0)
    first, second = refused.value.details
    assert (first["loc"], second["loc"]) == (["userId"], ["sequence"])
    assert refused.value.message == f"The whole batch is refused because of 'userId': {first['message']}"
