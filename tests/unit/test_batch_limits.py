"""The limits on a batch: the most that is allowed is valid, and one more is not. The fast path is never less strict."""

import json
from typing import Any

import pytest

from muster.ingest.fast_path import read_fast_batch
from muster.ingest.parse import MAX_PAYLOAD_CHARACTERS, parse_batch
from muster.ingest.user_agents import request_agent
from muster.platform.errors import InvalidBatch

NO_AGENT = request_agent("")
SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"


def text_of(*events: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"sessionId": SESSION, "events": list(events), **fields})


def an_event(**fields: Any) -> dict[str, Any]:
    return {"eventType": "a", "timestamp": "2026-01-01T00:00:00Z", **fields}


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels else 1


def test_a_batch_has_1_to_1000_events() -> None:
    full = text_of(*(an_event(data={"n": number}) for number in range(1_000)))
    assert len(parse_batch(full, NO_AGENT).valid) == 1_000
    assert read_fast_batch(full, NO_AGENT) is not None
    for number in (0, 1_001):
        batch = text_of(*[an_event()] * number)
        assert read_fast_batch(batch, NO_AGENT) is None
        with pytest.raises(InvalidBatch) as refused:
            parse_batch(batch, NO_AGENT)
        message = f"Send 1 to 1000 events; this batch has {'more' if number else 'none'}."
        assert refused.value.details == [
            {"loc": ["events"], "type": "too_long" if number else "too_short", "message": message}
        ]


# Two bytes for each letter ü, and 8 for the rest: {"a":""}.
@pytest.mark.parametrize(
    ("most", "more"),
    [
        ({"sequence": 2**31 - 2}, {"sequence": 2**31 - 1}),
        ({"sequence": 1}, {"sequence": 0}),
        ({"dropped": 2**31 - 1}, {"dropped": 2**31}),
        ({"dropped": 0}, {"dropped": -1}),
        ({"userId": "x" * 200}, {"userId": "x" * 201}),
        ({"userId": "x"}, {"userId": ""}),
        ({"context": {"a": "ü" * 2_044}}, {"context": {"a": "ü" * 2_045}}),
        ({"context": nested(32)}, {"context": nested(33)}),
        ({"context": {"userAgent": ""}}, {"context": {"userAgent": 1}}),
        ({"sessionId": SESSION}, {"sessionId": SESSION + "\n"}),
    ],
)
def test_a_batch_is_refused_beyond_a_limit(most: dict[str, Any], more: dict[str, Any]) -> None:
    assert parse_batch(text_of(an_event(), **most), NO_AGENT).valid == [0]
    beyond = text_of(an_event(), **more)
    assert read_fast_batch(beyond, NO_AGENT) is None
    with pytest.raises(InvalidBatch) as refused:
        parse_batch(beyond, NO_AGENT)
    assert refused.value.details[0]["loc"][0] == next(iter(more))


@pytest.mark.parametrize(
    ("most", "more", "reason"),
    [
        ({"eventType": "x" * 100}, {"eventType": "x" * 101}, "invalid_event"),
        ({"area": "x" * 100}, {"area": "x" * 101}, "invalid_event"),
        ({"userId": "x" * 200}, {"userId": "x" * 201}, "invalid_event"),
        ({"data": {"a": "ü" * 16_380}}, {"data": {"a": "ü" * 16_381}}, "event_too_large"),
        ({"data": nested(32)}, {"data": nested(33)}, "invalid_event"),
        ({"context": {"a": "ü" * 2_044}}, {"context": {"a": "ü" * 2_045}}, "event_too_large"),
        ({"timestamp": "2026-02-28T23:59:59Z"}, {"timestamp": "2026-02-28T23:59:59Z\n"}, "invalid_event"),
    ],
)
def test_an_event_is_rejected_beyond_a_limit(most: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    assert parse_batch(text_of(an_event(**most)), NO_AGENT).valid == [0]
    beyond = text_of(an_event(**more))
    assert read_fast_batch(beyond, NO_AGENT) is None
    (rejection,) = parse_batch(beyond, NO_AGENT).rejections
    assert rejection.reason == reason
    assert rejection.details[0]["loc"][:3] == ["events", 0, next(iter(more))]


def test_a_rejected_payload_is_cut_after_16_384_characters() -> None:
    event = an_event(area="ü" * 20_000)
    sent = json.dumps(event, ensure_ascii=False)
    text = f'{{"sessionId": "{SESSION}", "events": [{sent}]}}'
    (rejection,) = parse_batch(text, NO_AGENT).rejections
    assert MAX_PAYLOAD_CHARACTERS == 16_384
    assert (rejection.payload, rejection.payload_bytes) == (sent[:16_384], len(sent.encode()))
