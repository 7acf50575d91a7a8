"""A body ends where its JSON value ends: only white space may follow."""

import pytest

from muster.platform.errors import InvalidJson
from muster.validation.json_spans import elements, members


@pytest.mark.parametrize("value", ["{}", "[]", '{"a": 1}', "[1]", "1", '"a"'])
@pytest.mark.parametrize("extra", ["x", " x", "]", "}", "]]", "1"])
def test_one_more_character_makes_a_body_invalid(value: str, extra: str) -> None:
    if value == "1" and extra == "1":
        extra = " 1"
    with pytest.raises(InvalidJson):
        members(value + extra)
    with pytest.raises(InvalidJson):
        elements(value + extra, most=10)


@pytest.mark.parametrize("value", ["{}", "[]", '{"a": 1}', "[1]", "1"])
def test_white_space_may_follow(value: str) -> None:
    assert (members(value + " \n") is not None) == value.startswith("{")
    assert (elements(value + " \n", most=10) is not None) == value.startswith("[")
