"""Turns what pydantic finds into details that name the place and the remedy, and never the value."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from muster.platform.errors import Detail
from muster.validation.unstorable import Location, printable

if TYPE_CHECKING:
    from pydantic_core import ValidationError

_TIME = "Send an ISO 8601 time with an offset, such as 2026-05-17T10:05:03Z."
_UUID = "Send a UUID, such as 3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11."
REMEDIES = {
    "timestamp": _TIME,
    "sentAt": _TIME,
    "startedAt": _TIME,
    "endedAt": _TIME,
    "decidedAt": _TIME,
    "expiresAt": _TIME,
    "id": _UUID,
    "sessionId": _UUID,
}
NOT_BLANK = "Send a text that is not blank."
_MAX_DETAILS = 20


def details_of(error: "ValidationError", location: Location) -> list[Detail]:
    """One detail for each fault, at most 20; `location` is where the validated value stands in the request."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return [_detail(fault["type"], [*location, *fault["loc"]], fault["msg"]) for fault in faults[:_MAX_DETAILS]]


def time_faults(values: Mapping[str, Any], names: Sequence[str], location: Location) -> list[Detail]:
    """A detail for each of the named times that has the right form and is on no calendar."""
    message = f"There is no such time. {_TIME}"
    return [
        Detail(loc=[*location, name], type="time_invalid", message=message)
        for name in names
        if values.get(name) is not None and not is_time(values[name])
    ]


def is_time(text: str) -> bool:
    """Whether a text of a time's form is on the calendar."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def place_of(details: Sequence[Detail]) -> str:
    """Where the first fault is, for a sentence."""
    return ".".join(str(part) for part in details[0]["loc"]) or "body"


def _detail(kind: str, location: Location, message: str) -> Detail:
    place = [printable(part) if isinstance(part, str) else part for part in location]
    name = place[-1] if place else ""
    if kind == "extra_forbidden":
        return Detail(
            loc=place, type="unknown_field", message="There is no such field; put your own values inside 'data'."
        )
    if kind == "missing":
        return Detail(loc=place, type=kind, message=f"Field '{name}' is required.")
    if kind == "string_pattern_mismatch":
        message = REMEDIES.get(str(name), NOT_BLANK)
    elif name in REMEDIES:
        message = f"{message}. {REMEDIES[str(name)]}"
    return Detail(loc=place, type=kind, message=message)


T = TypeVar("T")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_STEPS = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def decode_form(text: str, form: type[T]) -> T | Detail:
    """The form, a msgspec.Struct, that a body is; or the first fault of it."""
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        return _form_detail(str(error))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Detail(loc=["body"], type="json_invalid", message="The body is no JSON; send an object.")


def convert_form(values: object, form: type[T]) -> T | Detail:
    """The form that decoded JSON is; or the first fault of it."""
    try:
        return msgspec.convert(values, form)
    except msgspec.ValidationError as error:
        return _form_detail(str(error))


def _form_detail(message: str) -> Detail:
    found = _PLACE.match(message)
    what, path = (found["what"], found["path"] or "") if found else (message, "")
    place: Location = [int(index) if index else printable(name) for name, index in _STEPS.findall(path)]
    field = _FIELD.match(what)
    if field is None:
        return Detail(loc=place or ["body"], type="invalid", message=_sentence(what, place))
    name = printable(field["name"])
    if field["fault"] == "missing required":
        return Detail(loc=[*place, name], type="missing", message=f"Field '{name}' is required.")
    return Detail(loc=[*place, name], type="unknown_field", message="There is no such field; leave it out.")


def _sentence(what: str, place: Location) -> str:
    name = str(place[-1]) if place else ""
    if "matching regex" in what:
        return REMEDIES.get(name, NOT_BLANK)
    return " ".join([f"{what.replace('`', '')}.", REMEDIES.get(name, "")]).strip()
