"""The quick reading of a plain batch and the close one agree."""

import json
import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muster import batches
from muster.batches import read_batch

SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5) | st.just("\0")
EVENTS = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str) | st.sampled_from(["x", None, str(uuid.UUID(int=1))]),
        "eventType": st.sampled_from(["a", "b", "", 7]),
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", 1]),
    },
    optional={
        "area": st.sampled_from(["shop", "", "  ", None]),
        "data": st.none() | st.dictionaries(st.text(max_size=3), VALUES | st.lists(VALUES, max_size=2), max_size=3),
        "sessionId": st.sampled_from([SESSION, None, "x"]),
        "context": st.sampled_from([{"userAgent": "Googlebot/2.1"}, {"a": 1}, None]),
        "bogus": st.just(1),
    },
)


def plain_event(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "eventType": "a", "timestamp": "2026-01-01T00:00:00Z", **fields}


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_what_the_quick_reading_takes_the_close_one_takes_too(events: list[dict[str, Any]]) -> None:
    text = json.dumps({"sessionId": SESSION, "events": events})
    quick = batches._read_plain(text, "")
    close = batches._read_closely(text, "")
    if quick is not None:
        assert close.rejections == []
        assert quick.ids == close.ids
        assert quick.candidates == close.candidates
        assert json.loads(quick.body)["events"] == json.loads(close.body)["events"]


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_every_event_is_a_candidate_or_a_rejection(events: list[dict[str, Any]]) -> None:
    batch = read_batch(json.dumps({"sessionId": SESSION, "events": events}), "")
    assert sorted([*batch.candidates, *(rejection.index or 0 for rejection in batch.rejections)]) == list(
        range(len(events))
    )
    assert len(json.loads(batch.body)["events"]) == len(batch.candidates)


def test_a_plain_batch_is_passed_on_as_it_came() -> None:
    text = json.dumps({"sessionId": SESSION, "events": [plain_event(data={"a": [1, {"b": 2}]})]}, indent=3)
    batch = read_batch(text, "")
    assert batch.is_plain
    assert batch.body == text


def test_what_the_client_wrote_is_not_written_anew() -> None:
    text = (
        '{"sessionId": "%s", "events": [{"eventType":"a", "timestamp":"2026-01-01T00:00:00Z", "data":{"n": 1.10e2}}]}'
    )
    batch = read_batch(text % SESSION, "")
    assert '"data":{"n": 1.10e2},"id":"' in batch.body
