"""The parts cut from a body are what json reads, and join to the same body."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.platform.errors import InvalidJson
from muster.validation.json_spans import elements, members

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
INDENT = st.sampled_from([None, 0, 2])


@given(st.lists(JSON), INDENT)
def test_elements_are_those_that_json_reads(value: list[object], indent: int | None) -> None:
    found = elements(json.dumps(value, indent=indent), most=1_000)
    assert found is not None
    assert [element for element, _ in found] == value
    assert json.loads(f"[{','.join(text for _, text in found)}]") == value


@given(st.dictionaries(st.text(), JSON), INDENT)
def test_members_are_those_that_json_reads(value: dict[str, object], indent: int | None) -> None:
    found = members(json.dumps(value, indent=indent))
    assert found is not None
    assert {key: member for key, (member, _) in found.items()} == value
    assert {key: json.loads(text) for key, (_, text) in found.items()} == value


@given(st.text(alphabet='{}[]",:1ae. \\tnu\n'))
def test_text_that_json_refuses_is_refused(text: str) -> None:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(InvalidJson):
            members(text)
        with pytest.raises(InvalidJson):
            elements(text, most=1_000)
    else:
        assert (members(text) is not None) == isinstance(value, dict)
        assert (elements(text, most=1_000) is not None) == isinstance(value, list)


def test_the_last_of_equal_keys_counts_as_in_postgres() -> None:
    assert members('{"a": 1, "a": 2}') == {"a": (2, "2")}


def test_reading_stops_after_one_element_too_many() -> None:
    assert elements("[1,2,3,4,this is never read", most=2) == [(1, "1"), (2, "2"), (3, "3")]
