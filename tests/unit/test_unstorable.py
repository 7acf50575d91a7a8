"""Values that are JSON but that PostgreSQL cannot store: each is found, at its place, and nothing else is."""

import json
from typing import Any

import pytest

from muster.ingest.fast_path import read_fast_batch
from muster.ingest.parse import parse_batch
from muster.ingest.user_agents import request_agent
from muster.validation.unstorable import (
    NotANumber,
    depth_of,
    find_unstorable,
    parse_constant,
    parse_integer,
    parse_number,
    printable,
)

NUMBER, NUL, SURROGATE = "number_out_of_range", "nul_character", "lone_surrogate"
LARGEST = str(2**1024 - 2**971)


@pytest.mark.parametrize("text", ["0", "-7", "1" + "0" * 307, "-1" + "0" * 307, LARGEST, f"-{LARGEST}"])
def test_a_whole_number_may_be_as_large_as_a_double(text: str) -> None:
    assert parse_integer(text) == int(text)
    assert not isinstance(parse_number(f"{text}.0"), NotANumber)
    data = f'{{"eventType": "a", "timestamp": "2026-01-01T00:00:00Z", "data": {{"n": {text}}}}}'
    batch = f'{{"sessionId": "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11", "events": [{data}]}}'
    assert parse_batch(batch, request_agent("")).valid == [0]


@pytest.mark.parametrize("text", [str(2**1024), str(-(2**1024)), "9" * 309, "-" + "9" * 5_000])
def test_a_larger_whole_number_is_none(text: str) -> None:
    assert isinstance(parse_integer(text), NotANumber)
    assert isinstance(parse_number(f"{text}.5"), NotANumber)
    data = f'{{"eventType": "a", "timestamp": "2026-01-01T00:00:00Z", "data": {{"n": {text}}}}}'
    batch = f'{{"sessionId": "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11", "events": [{data}]}}'
    assert read_fast_batch(batch, request_agent("")) is None
    assert parse_batch(batch, request_agent("")).valid == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": ["x", {"b": "\\u0000"}, 1e400]}', [(["a", 2], NUMBER), (["a", 1, "b"], NUL)]),
        ('["\\ud800", NaN, {"a": Infinity}]', [([2, "a"], NUMBER), ([1], NUMBER), ([0], SURROGATE)]),
        ('{"a\\u0000": {"\\udc00": 1}}', [(["a\ufffd"], NUL), (["a\ufffd", "\ufffd"], SURROGATE)]),
        ('{"a": "\\ud83d\\ude00", "n": [1, 1.5, true, null], "e": 1e308}', []),
    ],
)
def test_each_unstorable_value_is_found_at_its_place(text: str, found: list[tuple[list[Any], str]]) -> None:
    value = json.loads(text, parse_float=parse_number, parse_int=parse_integer, parse_constant=parse_constant)
    faults = list(find_unstorable(value, ["data"]))
    assert [(fault["loc"], fault["type"]) for fault in faults] == [(["data", *place], kind) for place, kind in found]


@pytest.mark.parametrize(
    ("value", "depth"),
    [(1, 0), ("a", 0), ({}, 1), ([], 1), ({"a": 1}, 1), ({"a": {}, "b": 1}, 2), ([[1, [2]], {"a": 3}], 3)],
)
def test_the_depth_is_that_of_the_deepest_object_or_list(value: Any, depth: int) -> None:
    assert depth_of(value) == depth


def test_a_printable_text_has_at_most_100_characters() -> None:
    assert printable("\0" + "ü" * 100 + "\ud800") == "\ufffd" + "ü" * 99
