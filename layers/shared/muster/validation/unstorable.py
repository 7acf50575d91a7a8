"""Finds values that pass as JSON but that PostgreSQL cannot store: NUL, lone surrogates, NaN, and huge numbers."""

import math
import re
from collections.abc import Iterator
from typing import Any

from muster.platform.errors import Detail

_SURROGATE = re.compile(r"[\ud800-\udfff]")

Location = list[str | int]


class NotANumber(float):
    """NaN, Infinity, or a number that does not fit a double."""


def parse_number(text: str) -> float:
    """A JSON number as a float; NotANumber if it does not fit a double."""
    value = float(text)
    return value if math.isfinite(value) else NotANumber(value)


def parse_integer(text: str) -> int | float:
    """A JSON integer; NotANumber if it has so many digits that it does not fit a double."""
    return int(text) if math.isfinite(float(text)) else NotANumber(text)


def parse_constant(text: str) -> float:
    """NaN, Infinity or -Infinity, which Python's json module accepts although JSON does not have them."""
    return NotANumber(text)


def find_unstorable(value: Any, location: Location) -> Iterator[Detail]:
    """A detail for each string or number inside `value` that cannot be stored."""
    pending: list[tuple[Any, Location]] = [(value, location)]
    while pending:
        item, where = pending.pop()
        if isinstance(item, str):
            yield from _find_in_text(item, where)
        elif isinstance(item, NotANumber):
            yield Detail(
                loc=where, type="number_out_of_range", message="NaN, Infinity and numbers over 1e308 cannot be stored."
            )
        elif isinstance(item, dict):
            for key, inner in item.items():
                yield from _find_in_text(key, [*where, printable(key)])
                pending.append((inner, [*where, printable(key)]))
        elif isinstance(item, list):
            pending.extend((inner, [*where, index]) for index, inner in enumerate(item))


def depth_of(value: Any) -> int:
    """The depth of nested objects and lists: 1 for a flat one."""
    deepest = 0
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth)
            pending.extend((inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item))
    return deepest


def printable(text: str) -> str:
    """The text with NUL and lone surrogates replaced, cut to 100 characters."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", "\ufffd"))[:100]


def _find_in_text(text: str, where: Location) -> Iterator[Detail]:
    if "\0" in text:
        yield Detail(loc=where, type="nul_character", message="The character U+0000 cannot be stored; leave it out.")
    if _SURROGATE.search(text):
        yield Detail(
            loc=where,
            type="lone_surrogate",
            message="This text has half of a surrogate pair; send the whole pair or leave it out.",
        )
