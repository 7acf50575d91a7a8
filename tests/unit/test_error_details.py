"""Each fault that msgspec finds becomes a detail with its place, its type and what to send instead."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from muster.platform.errors import Detail
from muster.validation.error_details import MAX_DETAILS, convert_model, decode_model, find_faults, place_of, time_faults


class Step(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A model inside of another."""

    event_type: Annotated[str, Meta(min_length=2, max_length=3, pattern="^[a-z]*$")]


class Model(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One field of each kind."""

    status: Literal["granted", "denied"]
    version: Literal[1, 2] | None = None
    steps: Annotated[list[Step], Meta(min_length=1, max_length=2)] | None = None
    count: Annotated[int, Meta(ge=1, le=9)] | None = None
    is_new: bool | None = None
    data: dict[str, Any] | None = None
    started_at: Annotated[str, Meta(pattern="Z$")] | None = None


def fault_of(values: Any) -> Detail:
    found = convert_model(values, Model)
    assert not isinstance(found, Model)
    return found


@pytest.mark.parametrize(
    ("fields", "place", "kind", "message"),
    [
        ({"status": "maybe"}, ["status"], "literal_error", "Send one of granted, denied."),
        ({"version": 3}, ["version"], "literal_error", "Send one of 1, 2."),
        ({"bogus": 1}, ["bogus"], "unknown_field", "This field is unknown; leave it out."),
        ({"steps": [{"eventType": "ab"}, {}]}, ["steps", 1, "eventType"], "missing", "'eventType' is required."),
        ({"steps": [{"eventType": "a"}]}, ["steps", 0, "eventType"], "string_too_short", "at least 2 characters."),
        ({"steps": [{"eventType": "abcd"}]}, ["steps", 0, "eventType"], "string_too_long", "at most 3 characters."),
        ({"steps": [{"eventType": "AB"}]}, ["steps", 0, "eventType"], "string_pattern_mismatch", "not blank."),
        ({"steps": [{"eventType": 7}]}, ["steps", 0, "eventType"], "string_type", "Send a string."),
        ({"steps": []}, ["steps"], "string_too_short", "Send at least 1 items."),
        ({"steps": [{"eventType": "ab"}] * 3}, ["steps"], "string_too_long", "Send at most 2 items."),
        ({"steps": 7}, ["steps"], "list_type", "Send a list."),
        ({"count": 0}, ["count"], "greater_than_equal", "Send a whole number of at least 1."),
        ({"count": 10}, ["count"], "less_than_equal", "Send a whole number of at most 9."),
        ({"count": "1"}, ["count"], "int_type", "Send a whole number."),
        ({"isNew": 1}, ["isNew"], "bool_type", "Send true or false."),
        ({"data": []}, ["data"], "dict_type", "Send an object."),
        ({"startedAt": "now"}, ["startedAt"], "string_pattern_mismatch", "Send an ISO 8601 time with an offset"),
    ],
)
def test_a_fault_says_where_it_is_and_what_to_send(
    fields: dict[str, Any], place: list[Any], kind: str, message: str
) -> None:
    found = fault_of({"status": "granted", **fields})
    assert (found["loc"], found["type"]) == (place, kind)
    assert message in found["message"]
    assert "`" not in found["message"]


def test_a_value_that_is_no_object_is_a_fault_of_the_body() -> None:
    assert (fault_of(7)["loc"], fault_of(7)["type"]) == (["body"], "dict_type")
    assert decode_model("{", Model) == Detail(
        loc=["body"], type="json_invalid", message="The body is not JSON; send an object."
    )


def test_a_fault_of_a_field_has_the_place_of_its_object() -> None:
    (fault,) = find_faults({"status": "maybe", "steps": [{"eventType": "ab"}]}, Model, ["events", 3])
    assert (fault["loc"], fault["message"]) == (["events", 3, "status"], "Send one of granted, denied.")


def test_at_most_20_faults_of_an_object_are_listed() -> None:
    values = {f"field{number:02}": 1 for number in range(30)}
    faults = find_faults(values, Step, ["events", 0])
    assert len(faults) == MAX_DETAILS == 20
    assert [fault["loc"] for fault in faults[:2]] == [["events", 0, "eventType"], ["events", 0, "field00"]]


def test_the_place_of_the_first_fault_is_named() -> None:
    first, second = (Detail(loc=["steps", number, "eventType"], type="", message="") for number in (1, 2))
    assert place_of([first, second]) == "steps.1.eventType"
    assert place_of([Detail(loc=[], type="", message="")]) == "body"


def test_a_time_that_does_not_exist_is_named() -> None:
    times = {"startedAt": "2026-02-30T00:00:00Z", "endedAt": "2026-02-28T00:00:00Z", "sentAt": None}
    faults = time_faults(times, [*times, "decidedAt"], ["events", 3])
    assert [(fault["loc"], fault["type"]) for fault in faults] == [(["events", 3, "startedAt"], "time_invalid")]
