"""Reads a metrics request from a query string, naming the parameter that cannot be used."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from muster.errors import InvalidParameter
from muster.time_ranges import (
    GRANULARITIES,
    TIMEFRAMES,
    Granularity,
    Timeframe,
    TimeRange,
    by_length,
    day_start,
    timeframe_range,
)

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100
_FIELDS = ("eventType", "area", "userId")
_DATA = "data."
_RANGE = ("timeframe", "start", "end", "timezone")
_METRICS = (*_RANGE, "granularity", "breakdown", "limit", *_FIELDS)
_EVENTS = (*_RANGE, "limit", "cursor", *_FIELDS)
_TIME = re.compile(r"^(\d{4})-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$")
_DAY = re.compile(r"^(\d{4})-\d\d-\d\d$")
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
# A plus sign that was not percent-encoded arrives as a space.
_SPACE_FOR_PLUS = re.compile(r"(T[\d:.]+) (\d\d(:?\d\d)?)$")

BreakdownField = Literal["eventType", "area", "userId", "data"]
Cursor = tuple[datetime, UUID, UUID]


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """What is asked for; a filter's values are alternatives, and filters hold together."""

    timeframe: Timeframe | None = "week"
    """None where start says the range."""
    start: datetime | date | None = None
    end: datetime | date | None = None
    timezone: str = "UTC"
    granularity: Granularity | None = None
    event_types: Sequence[str] = ()
    areas: Sequence[str] = ()
    user_ids: Sequence[str] = ()
    data: Mapping[str, Sequence[str]] = field(default_factory=dict)
    breakdown: BreakdownField | None = None
    breakdown_key: str | None = None
    limit: int = DEFAULT_LIMIT
    cursor: Cursor | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone.

        Raises:
            InvalidParameter: there is none of that name.
        """
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = "There is no such time zone; send an IANA name, such as Europe/Berlin."
            raise InvalidParameter("timezone", message) from error

    def time_range(self, now: datetime, events: tuple[datetime, datetime]) -> TimeRange:
        """The range asked for; `events` are the times of the project's first and last event."""
        zone = self.zone
        if self.start is None:
            return timeframe_range(self.timeframe or "week", zone, now, events)
        start = _instant(self.start, zone)
        end = timeframe_range("day", zone, now, events).end if self.end is None else _instant(self.end, zone)
        if start >= end:
            raise InvalidParameter("start", "The start must be before the end.")
        return TimeRange(start, end, by_length(end - start))


def parse_metrics_request(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for metrics.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    _check_names(query, _METRICS)
    breakdown, key = _breakdown(_one(query, "breakdown"))
    return _request(
        query,
        default_timeframe="week",
        granularity=cast(Granularity | None, _choice(query, "granularity", GRANULARITIES)),
        breakdown=breakdown,
        breakdown_key=key,
    )


def parse_events_request(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for a page of events; the range is all of them unless it says otherwise.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    _check_names(query, _EVENTS)
    return _request(query, default_timeframe="all", cursor=_cursor(_one(query, "cursor")))


def to_cursor(occurred_at: datetime, session_id: UUID, event_id: UUID) -> str:
    """The cursor of the page after an event."""
    text = json.dumps([occurred_at.isoformat(), str(session_id), str(event_id)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _request(
    query: Mapping[str, Sequence[str]],
    *,
    default_timeframe: Timeframe,
    granularity: Granularity | None = None,
    breakdown: BreakdownField | None = None,
    breakdown_key: str | None = None,
    cursor: Cursor | None = None,
) -> MetricsRequest:
    start, end = _time(query, "start"), _time(query, "end")
    timeframe = cast(Timeframe | None, _choice(query, "timeframe", TIMEFRAMES))
    if timeframe is not None and (start is not None or end is not None):
        raise InvalidParameter("timeframe", "Send a timeframe or start and end, not both.")
    if end is not None and start is None:
        raise InvalidParameter("end", "Send start with it.")
    request = MetricsRequest(
        timeframe=None if start is not None else timeframe or default_timeframe,
        start=start,
        end=end,
        timezone=_one(query, "timezone") or "UTC",
        granularity=granularity,
        event_types=tuple(query.get("eventType", ())),
        areas=tuple(query.get("area", ())),
        user_ids=tuple(query.get("userId", ())),
        data={name.removeprefix(_DATA): tuple(values) for name, values in query.items() if name.startswith(_DATA)},
        breakdown=breakdown,
        breakdown_key=breakdown_key,
        limit=_limit(_one(query, "limit")),
        cursor=cursor,
    )
    zone = request.zone
    if start is not None and end is not None and _instant(start, zone) >= _instant(end, zone):
        raise InvalidParameter("start", "The start must be before the end.")
    return request


def _check_names(query: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    for name, values in query.items():
        if name not in known and not (name.startswith(_DATA) and name != _DATA):
            raise InvalidParameter(name[:100], f"There is no such parameter; known are {', '.join(known)}, data.<key>.")
        if any("\0" in text for text in (name, *values)):
            raise InvalidParameter(name.replace("\0", "\ufffd")[:100], "The character U+0000 is in no stored value.")
        if "" in values and not name.startswith(_DATA):
            raise InvalidParameter(name, "It is empty; send a value or leave it out.")


def _one(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = query.get(name, ())
    if len(values) > 1:
        raise InvalidParameter(name, "Send it once.")
    return values[0] if values else None


def _choice(query: Mapping[str, Sequence[str]], name: str, choices: Sequence[str]) -> str | None:
    value = _one(query, name)
    if value is not None and value not in choices:
        raise InvalidParameter(name, f"Send one of {', '.join(choices)}.")
    return value


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidParameter("limit", f"Send a number from 1 to {MAX_LIMIT}.")
    return int(text)


def _breakdown(text: str | None) -> tuple[BreakdownField | None, str | None]:
    if text is None:
        return None, None
    if text in _FIELDS:
        return cast(BreakdownField, text), None
    if text.startswith(_DATA) and text != _DATA:
        return "data", text.removeprefix(_DATA)
    raise InvalidParameter("breakdown", f"Send one of {', '.join(_FIELDS)} or data.<key>.")


def _time(query: Mapping[str, Sequence[str]], name: str) -> datetime | date | None:
    text = _one(query, name)
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


def _instant(when: datetime | date, zone: ZoneInfo) -> datetime:
    return when.astimezone(UTC) if isinstance(when, datetime) else day_start(when, zone)


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        occurred_at, session_id, event_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        cursor = (datetime.fromisoformat(occurred_at), UUID(session_id), UUID(event_id))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidParameter("cursor", "Send the nextCursor of the page before, as it was.") from error
    if cursor[0].tzinfo is None:
        raise InvalidParameter("cursor", "Send the nextCursor of the page before, as it was.")
    return cursor
