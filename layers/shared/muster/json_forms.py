"""Turns a small JSON body into its form, naming what cannot be used; without pydantic, for a cold start's sake."""

import re
from typing import TypeVar

import msgspec

from muster.errors import Detail
from muster.poison import Location, printable
from muster.validation import NOT_BLANK, REMEDIES

T = TypeVar("T")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_STEPS = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def decode_form(text: str, form: type[T]) -> T | Detail:
    """The form, a msgspec.Struct, that a body is; or the first fault of it."""
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        return _detail(str(error))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Detail(loc=["body"], type="json_invalid", message="The body is no JSON; send an object.")


def convert_form(values: object, form: type[T]) -> T | Detail:
    """The form that decoded JSON is; or the first fault of it."""
    try:
        return msgspec.convert(values, form)
    except msgspec.ValidationError as error:
        return _detail(str(error))


def _detail(message: str) -> Detail:
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
