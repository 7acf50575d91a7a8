"""Reads what a funnel is asked for, naming what cannot be used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from muster.errors import InvalidParameter
from muster.json_forms import decode_form
from muster.metrics_requests import MetricsRequest, parse_range
from muster.poison import find_poison
from muster.validation import place_of

_DURATION = r"P([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?"
_LONGEST_TEXT = 40
_LONGEST = timedelta(days=366)
_UNITS = ("weeks", "days", "", "hours", "minutes", "seconds")
_RANGE = ("timeframe", "start", "end", "timezone")


class StepIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One step as sent: the events of a type, in an area, with these values in their data."""

    event_type: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
    area: Annotated[str, Meta(max_length=100, pattern=r"^$|\S")] | None = None
    data: dict[str, Any] | None = None


class FunnelIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A funnel as sent."""

    steps: Annotated[list[StepIn], Meta(min_length=2, max_length=10)]
    window: str = "PT1H"
    by: str = "user"
    timeframe: str | None = None
    start: str | None = None
    end: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class FunnelRequest:
    """Steps to be taken in their order, all within a window that the first one opens."""

    steps: Sequence[StepIn]
    range: MetricsRequest
    window: timedelta = timedelta(hours=1)
    by: Literal["user", "session"] = "user"


def parse_funnel_request(text: str) -> FunnelRequest:
    """A request for a funnel, from a body's text.

    Raises:
        InvalidParameter: naming the first part of the body that cannot be used.
    """
    sent = decode_form(text, FunnelIn)
    if not isinstance(sent, FunnelIn):
        raise InvalidParameter(place_of([sent]), sent["message"])
    for number, step in enumerate(sent.steps):
        for fault in find_poison(msgspec.to_builtins(step), ["steps", number]):
            raise InvalidParameter(place_of([fault]), fault["message"])
    if sent.by not in ("user", "session"):
        raise InvalidParameter("by", "Send one of user, session.")
    given = {name: getattr(sent, name) for name in _RANGE}
    return FunnelRequest(
        steps=sent.steps,
        range=parse_range({name: [text] for name, text in given.items() if text is not None}),
        window=_duration(sent.window),
        by=cast("Literal['user', 'session']", sent.by),
    )


def _duration(text: str) -> timedelta:
    found = re.fullmatch(_DURATION, text) if len(text) <= _LONGEST_TEXT else None
    parts = zip(_UNITS, found.groups() if found else (), strict=False)
    try:
        length = timedelta(**{unit: int(part[:-1]) for unit, part in parts if unit and part})
    except OverflowError:
        length = _LONGEST * 2
    if not timedelta(0) < length <= _LONGEST:
        raise InvalidParameter("window", "Send a duration of up to 366 days, such as PT1H or P7D.")
    return length
