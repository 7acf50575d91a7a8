"""The data that the database redacts: with a redacted key, an escaped key or a possible card number."""

import json
from typing import Any

import pytest

from muster.ingest.redaction import may_need_redaction

CARD = "4111111111111111"


def needs(value: dict[str, Any], *, is_flat: bool) -> bool:
    return may_need_redaction(json.dumps(value).encode(), [value], is_flat=is_flat)


@pytest.mark.parametrize("value", [{}, {"page": "home"}, {"page": {"name": "home", "ids": [1, 2]}}])
@pytest.mark.parametrize("is_flat", [True, False])
def test_harmless_data_takes_the_fast_path(value: dict[str, Any], is_flat: bool) -> None:
    assert not needs(value, is_flat=is_flat)


@pytest.mark.parametrize("key", ["email", "Email", "PASSWORD", "token"])
def test_a_redacted_key_is_found_at_any_depth(key: str) -> None:
    assert needs({key: 1}, is_flat=True)
    assert needs({"a": {key: 1}}, is_flat=False)


def test_an_escaped_key_is_left_to_the_database() -> None:
    assert may_need_redaction(b'{"a": {"\\u0065mail": 1}}', [{"a": {"email": 1}}], is_flat=False)


@pytest.mark.parametrize("card", ["30569309025904", CARD, "4111 1111 1111 1111", "4111-1111-1111-1111"])
def test_a_card_number_is_found_wherever_it_is(card: str) -> None:
    assert needs({"a": card}, is_flat=True)
    assert needs({"a": "7" + "0" * 50, "b": f"paid with {card}"}, is_flat=True)


@pytest.mark.parametrize("before", range(30))
@pytest.mark.parametrize("separator", ["", " "])
def test_a_card_number_is_found_after_any_number_of_digits(before: int, separator: str) -> None:
    card = separator.join("30569309025904")
    assert needs({"a": f"{'1' * before} {card}"}, is_flat=True)


@pytest.mark.parametrize("number", ["1.4111111111111", "1.41111111111111", "411111111111", "1111111111111111"])
def test_other_numbers_are_no_card(number: str) -> None:
    assert not needs({"a": number}, is_flat=True)
