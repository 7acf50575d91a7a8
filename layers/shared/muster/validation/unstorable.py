"""Finds and names values that JSON allows and PostgreSQL refuses: NUL, half surrogate pairs, NaN."""

import re
from collections.abc import Iterator
from typing import Any

from muster.platform.errors import Detail

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAX_DIGITS = 309

Location = list[str | int]


class NotANumber(float):
    """A number that JSON's grammar or PostgreSQL's numeric does not have."""


def parse_number(text: str) -> float:
    """A JSON number as float, marked when it does not fit one."""
    value = float(text)
    return NotANumber(value) if value in (float("inf"), float("-inf")) else value


def parse_integer(text: str) -> int | float:
    """A JSON integer, or the mark of one that no double comes near."""
    return int(text) if len(text) < _MAX_DIGITS else NotANumber("inf")


def parse_constant(text: str) -> float:
    """NaN, Infinity, -Infinity: in Python's JSON, not in JSON."""
    return NotANumber(text)


def find_unstorable(value: Any, location: Location) -> Iterator[Detail]:
    """A detail for each text or number inside `value` that cannot be stored."""
    waiting: list[tuple[Any, Location]] = [(value, location)]
    while waiting:
        item, where = waiting.pop()
        if isinstance(item, str):
            yield from _in_text(item, where)
        elif isinstance(item, NotANumber):
            yield Detail(
                loc=where, type="number_out_of_range", message="NaN, Infinity and numbers over 1e308 cannot be stored."
            )
        elif isinstance(item, dict):
            for key, inner in item.items():
                yield from _in_text(key, [*where, printable(key)])
                waiting.append((inner, [*where, printable(key)]))
        elif isinstance(item, list):
            waiting.extend((inner, [*where, index]) for index, inner in enumerate(item))


def depth_of(value: Any) -> int:
    """How deep objects and lists are nested: 1 for a flat one."""
    deepest = 0
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth)
            waiting.extend((inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item))
    return deepest


def printable(text: str) -> str:
    """The text with what PostgreSQL and UTF-8 refuse replaced, cut to a length fit for an error."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", "\ufffd"))[:100]


def _in_text(text: str, where: Location) -> Iterator[Detail]:
    if "\0" in text:
        yield Detail(loc=where, type="nul_character", message="The character U+0000 cannot be stored; leave it out.")
    if _SURROGATE.search(text):
        yield Detail(
            loc=where, type="lone_surrogate", message="Half of a surrogate pair is no character; send the whole pair."
        )
