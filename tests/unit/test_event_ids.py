"""The ids of batches, and the derived ids of events that are sent without one."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.ingest.event_ids import derive_event_id, new_batch_id

SESSION = "3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11"
EVENT: dict[str, Any] = {"eventType": "a", "timestamp": "2026-01-01T00:00:00Z", "data": {"x": 1, "y": [1, 2]}}


@pytest.mark.parametrize(
    ("user_id", "event", "expected"),
    [
        ("u", EVENT, "4928ff95-eb1f-888e-a9ed-e70ec53259f6"),
        (None, {**EVENT, "data": None}, "1714110d-d4e7-823e-a114-d3299539be43"),
        ("ada", {**EVENT, "data": {}}, "fa816ffd-8328-8600-a149-0286bd0ef75c"),
        (None, {**EVENT, "eventType": "d", "data": {}}, "1a343f8d-bf7d-8f45-832a-fe303e939422"),
        (
            "ada",
            {**EVENT, "eventType": "käse", "area": "büro", "data": {"ü": "😀"}},
            "7a9fbd1b-7701-8ea2-b2bd-fc7d0b50157d",
        ),
        (
            None,
            {**EVENT, "eventType": "c", "data": {"n": 1.5, "b": [True, None], "a": {"z": 1, "y": 10**30}}},
            "4af52c9a-d83a-891a-b721-40b12d6834b2",
        ),
    ],
)
def test_it_is_a_uuid_and_never_changes(user_id: str | None, event: dict[str, Any], expected: str) -> None:
    # Clients retry across deployments. Another id here would store their events twice.
    assert derive_event_id(SESSION, user_id, event) == expected
    assert uuid.UUID(expected).version == 8


def test_key_order_letter_case_and_explicit_defaults_do_not_matter() -> None:
    same = {"data": {"y": [1, 2], "x": 1}, "timestamp": EVENT["timestamp"], "area": "unknown", "eventType": "a"}
    assert derive_event_id(SESSION.upper(), "u", same) == derive_event_id(SESSION, "u", EVENT)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "eventType": st.text(min_size=1),
            "area": st.text(min_size=1).filter(lambda area: area != "unknown"),
            "timestamp": st.text(),
            "data": st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()),
        },
    )
)
def test_any_other_content_has_another_id(change: dict[str, Any]) -> None:
    other = {**EVENT, **change}
    assert (derive_event_id(SESSION, "u", other) == derive_event_id(SESSION, "u", EVENT)) == (other == EVENT)


def test_another_session_or_user_has_another_id() -> None:
    ids = {
        derive_event_id(SESSION, "u", EVENT),
        derive_event_id(SESSION, None, EVENT),
        derive_event_id(SESSION, "v", EVENT),
        derive_event_id(str(uuid.UUID(int=1)), "u", EVENT),
    }
    assert len(ids) == 4


def test_the_id_of_a_batch_is_a_random_uuid() -> None:
    ids = {new_batch_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert {(str(uuid.UUID(text)) == text, uuid.UUID(text).version, uuid.UUID(text).variant) for text in ids} == {
        (True, 4, uuid.RFC_4122)
    }
