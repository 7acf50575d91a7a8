"""The fast path and the full path read a batch alike."""

import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.ingest.fast_path import SEPARATOR, read_fast_batch
from muster.ingest.parse import parse_batch
from muster.ingest.user_agents import request_agent
from muster.platform.errors import RequestRefused

NO_AGENT = request_agent("")
SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5) | st.just("\0")
EVENTS = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["a", "b", "", 7]),
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", 1]),
    },
    optional={
        "id": st.uuids().map(str) | st.sampled_from(["x", "", None, str(uuid.UUID(int=1))]),
        "area": st.sampled_from(["shop", "", "  ", None]),
        "data": st.none() | st.dictionaries(st.text(max_size=3), VALUES | st.lists(VALUES, max_size=2), max_size=3),
        "sessionId": st.sampled_from([SESSION, None, "x"]),
        "context": st.sampled_from([{"userAgent": "Googlebot/2.1"}, {"a": 1}, None]),
        "bogus": st.just(1),
    },
)


def an_event(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "eventType": "a", "timestamp": "2026-01-01T00:00:00Z", **fields}


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_the_fast_path_accepts_only_what_the_full_path_accepts(events: list[dict[str, Any]]) -> None:
    assert_agreement(json.dumps({"sessionId": SESSION, "events": events}))


ENVELOPES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "sessionId": st.sampled_from([SESSION, SESSION.upper(), SESSION + "\n", "", "x", None, 7]),
        "userId": st.sampled_from(["ada", "", "a" * 200, "a" * 201, "é" * 200, "\0", "\ud800", None, 7]),
        "sentAt": st.sampled_from(
            ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "2026-02-30T00:00:00Z", "now", None]
        ),
        "sequence": st.sampled_from([1, 2**31 - 2, 2**31 - 1, 2**70, 0, -1, 1.0, True, "1", None]),
        "dropped": st.sampled_from([0, 2**31 - 1, 2**31, -1, 0.0, False, None]),
        "context": st.sampled_from([{}, {"a": 1}, {"userAgent": "Firefox/140.0"}, {"a": "x" * 5_000}, [], "a", None]),
        "bogus": st.just(1),
    },
)


@given(ENVELOPES, st.lists(st.sampled_from([{}, {"id": str(uuid.UUID(int=7))}]), min_size=1, max_size=2))
def test_both_paths_accept_the_same_envelopes(envelope: dict[str, Any], ids: list[dict[str, str]]) -> None:
    events = [
        {"eventType": str(number), "timestamp": "2026-01-01T00:00:00Z", **each} for number, each in enumerate(ids)
    ]
    assert_agreement(json.dumps({**envelope, "events": events}))


TIMES = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01 00:00:00+00:00",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T05:30:00+05:30",
]
ODD = {
    "NUL": '"data":{"a":"\\u0000"}',
    "half a surrogate pair": '"data":{"a":"\\ud800"}',
    "half a surrogate pair in a key": '"data":{"\\uDC00":1}',
    "half a surrogate pair in the area": '"area":"\\ud800"',
    "a whole surrogate pair": '"data":{"a":"\\ud83d\\ude00"}',
    "a number over 1e308": '"data":{"a":1e309}',
    "a number of 400 digits": '"data":{"a":%s}' % ("9" * 400),
    "NaN": '"data":{"a":NaN}',
    "data that is a list": '"data":[]',
    "data that is null": '"data":null',
    "data nested too deep": f'"data":{{"a":{"[" * 40}1{"]" * 40}}}',
    "data that is too large": '"data":{"a":"%s"}' % ("é" * 40_000),
    "a field twice": '"area":"shop","area":"home"',
    "a separator in the area": '"area":"a\\u001fb"',
    "a blank area": '"area":"  "',
    "an area of no text": '"area":7',
    "an unknown field": '"bogus":1',
    "another user": '"userId":"ada"',
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_event_takes_the_fast_path_only_if_it_is_valid(odd: str) -> None:
    first, second = (json.dumps(an_event())[1:-1] for _ in range(2))
    assert_agreement(f'{{"sessionId":"{SESSION}","events":[{{{first}}},{{{second},{ODD[odd]}}}]}}')


@given(
    st.lists(st.sampled_from([*TIMES, "2026-01-01T24:00:00Z", "2026-W01-1T00:00:00Z", "20260101T000000Z"]), min_size=1)
)
def test_first_and_last_are_the_earliest_and_the_latest(times: list[str]) -> None:
    text = json.dumps({"sessionId": SESSION, "events": [an_event(timestamp=each) for each in times]})
    assert_agreement(text)
    fast = read_fast_batch(text, NO_AGENT)
    if fast is not None:
        moments = sorted(map(datetime.fromisoformat, times))
        assert datetime.fromisoformat(fast.columns.first) == moments[0]
        assert datetime.fromisoformat(fast.columns.last) == moments[-1]


def test_an_ordinary_batch_takes_the_fast_path() -> None:
    for written in TIMES:
        if "456789" not in written:
            text = json.dumps({"sessionId": SESSION, "events": [an_event(timestamp=written, data={"a": [1]})]})
            assert read_fast_batch(text, request_agent("Mozilla/5.0 Firefox/140.0")) is not None
    named = {
        "sessionId": SESSION,
        "userId": "ada",
        "sentAt": TIMES[0],
        "sequence": 1,
        "dropped": 0,
        "context": {"a": 1},
    }
    without_ids = [{"eventType": each, "timestamp": TIMES[0], "data": {"a": 1.5}} for each in "ab"]
    assert read_fast_batch(json.dumps({**named, "events": without_ids}), NO_AGENT) is not None


def assert_agreement(text: str) -> None:
    fast = read_fast_batch(text, NO_AGENT)
    try:
        full = parse_batch(text, NO_AGENT)
    except RequestRefused:
        assert fast is None
        return
    if fast is None:
        return
    assert full.rejections == []
    assert fast.ids == full.ids
    assert fast.envelope == {name: value for name, value in full.envelope.items() if value is not None}
    events = [json.loads(each) for each in full.texts]
    assert fast.columns.times.split(SEPARATOR) == [event["timestamp"] for event in events]
    assert fast.columns.event_types.split(SEPARATOR) == [event["eventType"] for event in events]
    assert fast.columns.areas.split(SEPARATOR) == [event.get("area") or "unknown" for event in events]
    data = [json.loads(each) for each in fast.columns.data.split(SEPARATOR)]
    assert data == [event.get("data") or {} for event in events]
    session_id = (full.envelope.get("sessionId") or "").lower()
    assert full.contexts == {session_id: {"browser": fast.browser, "context": json.loads(fast.context)}}


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_every_event_is_valid_or_rejected(events: list[dict[str, Any]]) -> None:
    batch = parse_batch(json.dumps({"sessionId": SESSION, "events": events}), NO_AGENT)
    assert sorted([*batch.valid, *(rejection.index or 0 for rejection in batch.rejections)]) == list(range(len(events)))
    assert len(batch.texts) == len(batch.valid)


def test_an_events_text_is_passed_on_unchanged() -> None:
    written = '{"eventType":"a",  "timestamp":"2026-01-01T00:00:00Z", "data":{"n": 1.10e2}}'
    batch = parse_batch(f'{{"sessionId": "{SESSION}", "events": [{written}]}}', NO_AGENT)
    assert batch.texts[0].startswith(written[:-1] + ',"id":"')


def test_a_part_of_a_batch_counts_from_its_first_index() -> None:
    text = json.dumps({"sessionId": SESSION, "events": [an_event(), an_event(eventType="")]})
    batch = parse_batch(text, NO_AGENT, first_index=40)
    assert batch.valid == [40]
    assert [(each.index, each.details[0]["loc"]) for each in batch.rejections] == [(41, ["events", 41, "eventType"])]
