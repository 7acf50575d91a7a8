"""Splits a JSON body into the texts of its members, so that they can be stored exactly as sent."""

import json
from collections.abc import Callable
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # public in CPython, not in typeshed
from typing import Any, TypeVar

from muster.platform.errors import Detail, InvalidJson
from muster.validation.unstorable import parse_constant, parse_integer, parse_number

_DECODER = json.JSONDecoder(parse_float=parse_number, parse_int=parse_integer, parse_constant=parse_constant)

T = TypeVar("T")
Span = tuple[Any, str]
"""A decoded value and its JSON text."""


def members(text: str) -> dict[str, Span] | None:
    """The members of a JSON object by key; None if the text is another JSON value. The last of equal keys counts.

    Raises:
        InvalidJson: the text is not JSON, or is nested too deeply to parse.
    """
    return _parse(_members, text)


def elements(text: str, *, most: int) -> list[Span] | None:
    """The elements of a JSON array in order; None if the text is another JSON value.

    It stops after one more than `most`: the caller refuses such an array, so parsing the rest would waste memory.

    Raises:
        InvalidJson: the text is not JSON, or is nested too deeply to parse.
    """
    return _parse(lambda whole: _elements(whole, most), text)


def _parse(split: Callable[[str], T], text: str) -> T:
    try:
        return split(text)
    except json.JSONDecodeError as error:
        raise _invalid(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", "json_invalid"
        ) from error
    except RecursionError as error:
        raise _invalid("The JSON is nested too deeply.", "json_too_deep") from error


def _invalid(message: str, kind: str) -> InvalidJson:
    return InvalidJson(message, details=[Detail(loc=["body"], type=kind, message=message)])


def _members(text: str) -> dict[str, Span] | None:
    position = _skip_space(text, 0)
    if text[position : position + 1] != "{":
        _check_value(text)
        return None
    found: dict[str, Span] = {}
    position = _skip_space(text, position + 1)
    if text[position : position + 1] == "}":
        _check_end(text, position + 1)
        return found
    while True:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        key, position = _DECODER.raw_decode(text, position)
        position = _expect(text, _skip_space(text, position), ":")
        position = _skip_space(text, position)
        value, end = _DECODER.raw_decode(text, position)
        found[key] = (value, text[position:end])
        position = _skip_space(text, end)
        if text[position : position + 1] == "}":
            _check_end(text, position + 1)
            return found
        position = _skip_space(text, _expect(text, position, ","))


def _elements(text: str, most: int) -> list[Span] | None:
    position = _skip_space(text, 0)
    if text[position : position + 1] != "[":
        _check_value(text)
        return None
    found: list[Span] = []
    position = _skip_space(text, position + 1)
    if text[position : position + 1] == "]":
        _check_end(text, position + 1)
        return found
    while True:
        value, end = _DECODER.raw_decode(text, position)
        found.append((value, text[position:end]))
        if len(found) > most:
            return found
        position = _skip_space(text, end)
        if text[position : position + 1] == "]":
            _check_end(text, position + 1)
            return found
        position = _skip_space(text, _expect(text, position, ","))


def _check_value(text: str) -> None:
    _, end = _DECODER.raw_decode(text, _skip_space(text, 0))
    _check_end(text, end)


def _skip_space(text: str, position: int) -> int:
    match = WHITESPACE.match(text, position)
    return int(match.end()) if match else position


def _expect(text: str, position: int, delimiter: str) -> int:
    if text[position : position + 1] != delimiter:
        raise json.JSONDecodeError(f"Expecting '{delimiter}' delimiter", text, position)
    return position + 1


def _check_end(text: str, position: int) -> None:
    if _skip_space(text, position) != len(text):
        raise json.JSONDecodeError("Extra data", text, position)
