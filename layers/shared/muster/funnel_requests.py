"""Reads what a funnel is asked for, naming what cannot be used."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from muster.errors import InvalidParameter
from muster.metrics_requests import MetricsRequest, parse_range
from muster.models import Area, Name
from muster.poison import find_poison
from muster.validation import details_of, place_of

_DURATION = r"^P([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$"
_LONGEST = timedelta(days=366)
_UNITS = ("weeks", "days", "", "hours", "minutes", "seconds")
_RANGE: tuple[Literal["timeframe", "start", "end", "timezone"], ...] = ("timeframe", "start", "end", "timezone")


class StepIn(TypedDict):
    """One step as sent: the events of a type, in an area, with these values in their data."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it off the TypedDict

    eventType: Name
    area: NotRequired[Area | None]
    data: NotRequired[dict[str, Any] | None]


class FunnelIn(TypedDict):
    """A funnel as sent."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it off the TypedDict

    steps: Annotated[list[StepIn], Field(min_length=2, max_length=10)]
    window: NotRequired[Annotated[str, StringConstraints(strict=True, pattern=_DURATION, max_length=40)]]
    by: NotRequired[Literal["user", "session"]]
    timeframe: NotRequired[str]
    start: NotRequired[str]
    end: NotRequired[str]
    timezone: NotRequired[str]


_FUNNEL = TypeAdapter(FunnelIn)


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
    try:
        sent = _FUNNEL.validate_json(text)
    except ValidationError as error:
        details = details_of(error, [])
        raise InvalidParameter(place_of(details), details[0]["message"]) from error
    for number, step in enumerate(sent["steps"]):
        for fault in find_poison(step, ["steps", number]):
            raise InvalidParameter(place_of([fault]), fault["message"])
    return FunnelRequest(
        steps=sent["steps"],
        range=parse_range({name: [str(sent[name])] for name in _RANGE if name in sent}),
        window=_duration(sent.get("window", "PT1H")),
        by=sent.get("by", "user"),
    )


def _duration(text: str) -> timedelta:
    found = re.match(_DURATION, text)
    parts = zip(_UNITS, found.groups() if found else (), strict=False)
    try:
        length = timedelta(**{unit: int(part[:-1]) for unit, part in parts if unit and part})
    except OverflowError:
        length = _LONGEST * 2
    if not timedelta(0) < length <= _LONGEST:
        raise InvalidParameter("window", "Send a duration of up to 366 days, such as PT1H or P7D.")
    return length
