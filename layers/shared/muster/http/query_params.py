"""Reads parameters of a query string one by one, naming the one that cannot be used."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from muster.platform.errors import InvalidParameter
from muster.validation.limits import UUID_PATTERN

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100
DATA = "data."
_TIME = re.compile(r"^(\d{4})-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$")
_DAY = re.compile(r"^(\d{4})-\d\d-\d\d$")
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
# A plus sign that was not percent-encoded arrives as a space.
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d(:?\d\d)?)$")


def check_names(query: Mapping[str, Sequence[str]], known: Sequence[str], *, data: bool = False) -> None:
    """Refuse what is not in `known`, nor of the form data.<key> where `data` allows it, and values that can be none."""
    for name, values in query.items():
        of_data = data and name.startswith(DATA)
        if name not in known and not (of_data and name != DATA):
            listed = ", ".join([*known, *(["data.<key>"] if data else [])])
            raise InvalidParameter(name[:100], f"There is no such parameter; known are {listed}.")
        if any("\0" in text for text in (name, *values)):
            raise InvalidParameter(name.replace("\0", "\ufffd")[:100], "The character U+0000 is in no stored value.")
        if "" in values and not of_data:
            raise InvalidParameter(name, "It is empty; send a value or leave it out.")


def one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The value of a parameter that is sent once, or not at all."""
    values = query.get(name, ())
    if len(values) > 1:
        raise InvalidParameter(name, "Send it once.")
    return values[0] if values else None


def choice(query: Mapping[str, Sequence[str]], name: str, choices: Sequence[str]) -> str | None:
    """The value of a parameter that is one of some."""
    value = one(query, name)
    if value is not None and value not in choices:
        raise InvalidParameter(name, f"Send one of {', '.join(choices)}.")
    return value


def limit_of(text: str | None) -> int:
    """How many rows a page has."""
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidParameter("limit", f"Send a number from 1 to {MAX_LIMIT}.")
    return int(text)


def uuid_of(name: str, text: str) -> UUID:
    """The UUID that a text is."""
    if re.fullmatch(UUID_PATTERN, text):
        return UUID(text)
    raise InvalidParameter(name, "Send a UUID, such as 3f0c7e0e-6f3e-4c57-9a3e-2d0f6a1b9c11.")


def time_of(query: Mapping[str, Sequence[str]], name: str) -> datetime | date | None:
    """The value of a parameter that is a time with an offset, or a day."""
    text = one(query, name)
    if text is None:
        return None
    text = _SPACE_FOR_PLUS.sub(r"\1+\2", text)
    form = _TIME.match(text) or _DAY.match(text)
    try:
        if form is not None and _FIRST_YEAR <= int(form[1]) <= _LAST_YEAR:
            return date.fromisoformat(text) if _DAY.match(text) else datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidParameter(name, "There is no such time.") from error
    message = "Send a time with an offset, such as 2026-05-17T10:05:03Z, or a day, such as 2026-05-17, after 1970."
    raise InvalidParameter(name, message)
