"""The quick reading of a plain batch and the close one agree."""

import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.ingest.fast_path import SEPARATOR, read_plain_batch
from muster.ingest.parse import read_batch, read_closely
from muster.platform.errors import RequestRefused

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


def plain_event(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "eventType": "a", "timestamp": "2026-01-01T00:00:00Z", **fields}


@given(st.lists(EVENTS, min_size=1, max_size=6))
def test_what_is_plain_is_what_the_close_reading_takes(events: list[dict[str, Any]]) -> None:
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
def test_what_an_envelope_may_be_is_one_thing_for_both(envelope: dict[str, Any], ids: list[dict[str, str]]) -> None:
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
def test_an_odd_event_is_plain_only_if_the_close_reading_takes_it(odd: str) -> None:
    first, second = (json.dumps(plain_event())[1:-1] for _ in range(2))
    assert_agreement(f'{{"sessionId":"{SESSION}","events":[{{{first}}},{{{second},{ODD[odd]}}}]}}')


@given(
    st.lists(st.sampled_from([*TIMES, "2026-01-01T24:00:00Z", "2026-W01-1T00:00:00Z", "20260101T000000Z"]), min_size=1)
)
def test_first_and_last_are_the_earliest_and_the_latest(times: list[str]) -> None:
    text = json.dumps({"sessionId": SESSION, "events": [plain_event(timestamp=each) for each in times]})
    assert_agreement(text)
    plain = read_plain_batch(text, "")
    if plain is not None:
        moments = sorted(map(datetime.fromisoformat, times))
        assert datetime.fromisoformat(plain.columns["first"]) == moments[0]
        assert datetime.fromisoformat(plain.columns["last"]) == moments[-1]


def test_the_usual_batch_is_plain() -> None:
    for written in TIMES:
        if "456789" not in written:
            text = json.dumps({"sessionId": SESSION, "events": [plain_event(timestamp=written, data={"a": [1]})]})
            assert read_plain_batch(text, "Mozilla/5.0 Firefox/140.0") is not None
    named = {
        "sessionId": SESSION,
        "userId": "ada",
        "sentAt": TIMES[0],
        "sequence": 1,
        "dropped": 0,
        "context": {"a": 1},
    }
    without_ids = [{"eventType": each, "timestamp": TIMES[0], "data": {"a": 1.5}} for each in "ab"]
    assert read_plain_batch(json.dumps({**named, "events": without_ids}), "") is not None


def assert_agreement(text: str) -> None:
    plain = read_plain_batch(text, "")
    try:
        close = read_closely(text, "")
    except RequestRefused:
        assert plain is None
        return
    if plain is None:
        return
    assert close.rejections == []
    assert plain.ids == close.ids
    assert plain.envelope == {name: value for name, value in close.envelope.items() if value is not None}
    columns = {name: value.split(SEPARATOR) for name, value in plain.columns.items()}
    events = json.loads(close.body)["events"]
    assert columns["times"] == [event["timestamp"] for event in events]
    assert columns["event_types"] == [event["eventType"] for event in events]
    assert columns["areas"] == [event.get("area") or "unknown" for event in events]
    assert [json.loads(each) for each in columns["data"]] == [event.get("data") or {} for event in events]
    # Where it goes the long way after all, it says the same.
    long_way = read_batch(text, "")
    assert (long_way.ids, long_way.candidates, long_way.contexts) == (close.ids, close.candidates, close.contexts)
    assert json.loads(long_way.body)["events"] == events


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
