"""Turns msgspec's errors into details that name the place and the remedy, but never the value."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from muster.platform.errors import Detail
from muster.validation.unstorable import Location, printable

T = TypeVar("T", bound=msgspec.Struct)

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
NOT_BLANK = "Send a string that is not blank."
MAX_DETAILS = 20

# The parts of msgspec's messages, e.g. "Expected `str` of length <= 100 - at `$.steps[0].eventType`".
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_STEPS = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_LENGTH = re.compile(r"^Expected `(?P<kind>str|array)` of length (?P<sign>>=|<=) (?P<limit>\d+)$")
_BOUND = re.compile(r"^Expected `int` (?P<sign>>=|<=) (?P<limit>-?\d+)$")
_KIND = re.compile(r"^Expected `(?P<kind>\w+)[^`]*`, got `\w+`$")
_LENGTHS = {">=": ("string_too_short", "at least"), "<=": ("string_too_long", "at most")}
_BOUNDS = {">=": ("greater_than_equal", "at least"), "<=": ("less_than_equal", "at most")}
# msgspec's name of a type → the type of the detail, and what to send.
_KINDS = {
    "str": ("string_type", "Send a string."),
    "int": ("int_type", "Send a whole number."),
    "bool": ("bool_type", "Send true or false."),
    "object": ("dict_type", "Send an object."),
    "array": ("list_type", "Send a list."),
}


def find_faults(values: object, model: type[msgspec.Struct], location: Location) -> list[Detail]:
    """A detail for each invalid field of an object, at most 20.

    `location` is the object's place in the request. The types of details are part of the wire contract: missing,
    unknown_field, string_type, string_too_short, string_too_long, string_pattern_mismatch, int_type,
    greater_than_equal, less_than_equal, dict_type.
    """
    if not isinstance(values, dict):
        return [Detail(loc=location, type="dict_type", message="Send an object.")]
    faults: list[Detail] = []
    fields = msgspec.structs.fields(model)
    for field in fields:
        place = [*location, field.encode_name]
        if field.encode_name not in values:
            if field.required:
                message = f"Field '{field.encode_name}' is required."
                faults.append(Detail(loc=place, type="missing", message=message))
            continue
        try:
            msgspec.convert(values[field.encode_name], field.type)
        except msgspec.ValidationError as error:
            faults.append(_detail(str(error), place, model))
    for name in sorted(values.keys() - {field.encode_name for field in fields}):
        message = "This field is unknown; put your own values inside 'data'."
        faults.append(Detail(loc=[*location, printable(name)], type="unknown_field", message=message))
    return faults[:MAX_DETAILS]


def decode_model(text: str, model: type[T]) -> T | Detail:
    """Decode a JSON text into a model, which is a msgspec.Struct; or return its first fault."""
    try:
        return msgspec.json.decode(text, type=model)
    except msgspec.ValidationError as error:
        return _detail(str(error), [], model)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Detail(loc=["body"], type="json_invalid", message="The body is not JSON; send an object.")


def convert_model(values: object, model: type[T]) -> T | Detail:
    """Convert decoded JSON into a model; or return its first fault."""
    try:
        return msgspec.convert(values, model)
    except msgspec.ValidationError as error:
        return _detail(str(error), [], model)


def time_faults(values: Mapping[str, Any], names: Sequence[str], location: Location) -> list[Detail]:
    """A detail for each named time that does not exist, such as 30 February. The form of the times is valid."""
    message = f"This time does not exist. {_TIME}"
    return [
        Detail(loc=[*location, name], type="time_invalid", message=message)
        for name in names
        if values.get(name) is not None and not is_time(values[name])
    ]


def is_time(text: str) -> bool:
    """Whether a string in the form of a time is a time that exists."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def place_of(details: Sequence[Detail]) -> str:
    """The place of the first fault, for an error message."""
    return ".".join(str(part) for part in details[0]["loc"]) or "body"


def _detail(message: str, location: Location, model: type[msgspec.Struct]) -> Detail:
    found = _PLACE.match(message)
    what, path = (found["what"], found["path"] or "") if found else (message, "")
    steps = [int(index) if index else printable(name) for name, index in _STEPS.findall(path)]
    place: Location = [*location, *steps]
    if field := _FIELD.match(what):
        name = printable(field["name"])
        if field["fault"] == "missing required":
            return Detail(loc=[*place, name], type="missing", message=f"Field '{name}' is required.")
        return Detail(loc=[*place, name], type="unknown_field", message="This field is unknown; leave it out.")
    name = str(place[-1]) if place else ""
    if what.startswith("Invalid enum value"):  # the rest of the text is the value
        return Detail(loc=place, type="literal_error", message=f"Send one of {', '.join(_choices(model, name))}.")
    kind, remedy = _kind_and_remedy(what)
    # A field's own remedy is more specific than that of its type.
    return Detail(loc=place or ["body"], type=kind, message=REMEDIES.get(name, remedy))


def _kind_and_remedy(what: str) -> tuple[str, str]:
    if length := _LENGTH.match(what):
        kind, words = _LENGTHS[length["sign"]]
        unit = "characters" if length["kind"] == "str" else "items"
        return kind, f"Send {words} {length['limit']} {unit}."
    if bound := _BOUND.match(what):
        kind, words = _BOUNDS[bound["sign"]]
        return kind, f"Send a whole number of {words} {bound['limit']}."
    if "matching regex" in what:
        return "string_pattern_mismatch", NOT_BLANK
    named = _KIND.match(what)
    return _KINDS.get(named["kind"] if named else "", ("invalid", f"{what.replace('`', '')}."))


def _choices(model: type[msgspec.Struct], name: str) -> list[str]:
    fields = msgspec.structs.fields(model)
    types = [kind for field in fields if field.encode_name == name for kind in (field.type, *get_args(field.type))]
    return [str(value) for kind in types if get_origin(kind) is Literal for value in get_args(kind)]
