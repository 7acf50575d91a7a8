"""Cuts a JSON body into the texts of its members, so that what was sent can be kept without serialising it again."""

import json
from collections.abc import Callable
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # public in CPython, not in typeshed
from typing import Any, TypeVar

from muster.platform.errors import Detail, InvalidJson
from muster.validation.unstorable import parse_constant, parse_integer, parse_number

_DECODER = json.JSONDecoder(parse_float=parse_number, parse_int=parse_integer, parse_constant=parse_constant)

T = TypeVar("T")
Span = tuple[Any, str]
"""A decoded value and the text that it was decoded from."""


def members(text: str) -> dict[str, Span] | None:
    """The members of a JSON object by key, the last of equal keys; None when the text is another JSON value.

    Raises:
        InvalidJson: the text is not JSON, or is nested too deep to read.
    """
    return _guarded(_members, text)


def elements(text: str, *, most: int) -> list[Span] | None:
    """The elements of a JSON array in order; None when the text is another JSON value.

    After one more than `most` it looks no further: who sends so many is refused, and shall not cost memory first.

    Raises:
        InvalidJson: the text is not JSON, or is nested too deep to read.
    """
    return _guarded(lambda whole: _elements(whole, most), text)


def _guarded(cut: Callable[[str], T], text: str) -> T:
    try:
        return cut(text)
    except json.JSONDecodeError as error:
        raise _invalid(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", "json_invalid"
        ) from error
    except RecursionError as error:
        raise _invalid("The body is not JSON that can be read: it is nested too deep.", "json_too_deep") from error


def _invalid(message: str, kind: str) -> InvalidJson:
    return InvalidJson(message, details=[Detail(loc=["body"], type=kind, message=message)])


def _members(text: str) -> dict[str, Span] | None:
    position = _skip(text, 0)
    if text[position : position + 1] != "{":
        _only_value(text)
        return None
    found: dict[str, Span] = {}
    position = _skip(text, position + 1)
    if text[position : position + 1] == "}":
        _end(text, position + 1)
        return found
    while True:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        key, position = _DECODER.raw_decode(text, position)
        position = _expect(text, _skip(text, position), ":")
        position = _skip(text, position)
        value, end = _DECODER.raw_decode(text, position)
        found[key] = (value, text[position:end])
        position = _skip(text, end)
        if text[position : position + 1] == "}":
            _end(text, position + 1)
            return found
        position = _skip(text, _expect(text, position, ","))


def _elements(text: str, most: int) -> list[Span] | None:
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        _only_value(text)
        return None
    found: list[Span] = []
    position = _skip(text, position + 1)
    if text[position : position + 1] == "]":
        _end(text, position + 1)
        return found
    while True:
        value, end = _DECODER.raw_decode(text, position)
        found.append((value, text[position:end]))
        if len(found) > most:
            return found
        position = _skip(text, end)
        if text[position : position + 1] == "]":
            _end(text, position + 1)
            return found
        position = _skip(text, _expect(text, position, ","))


def _only_value(text: str) -> None:
    _, end = _DECODER.raw_decode(text, _skip(text, 0))
    _end(text, end)


def _skip(text: str, position: int) -> int:
    match = WHITESPACE.match(text, position)
    return int(match.end()) if match else position


def _expect(text: str, position: int, delimiter: str) -> int:
    if text[position : position + 1] != delimiter:
        raise json.JSONDecodeError(f"Expecting '{delimiter}' delimiter", text, position)
    return position + 1


def _end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise json.JSONDecodeError("Extra data", text, position)
