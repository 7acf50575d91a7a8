"""Reads a metrics request from a query string, naming the parameter that cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from muster.http.query_params import (
    DATA,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    check_names,
    choice,
    limit_of,
    one,
    time_of,
    uuid_of,
)
from muster.metrics.cursor import Cursor, event_cursor_of
from muster.metrics.time_ranges import (
    GRANULARITIES,
    TIMEFRAMES,
    Granularity,
    Timeframe,
    TimeRange,
    by_length,
    day_start,
    timeframe_range,
)
from muster.platform.errors import InvalidParameter

_FIELDS = ("eventType", "area", "userId", "participantType")
_RANGE = ("timeframe", "start", "end", "timezone")
_METRICS = (*_RANGE, "granularity", "breakdown", "limit", *_FIELDS)
_EVENTS = (*_RANGE, "limit", "cursor", "sessionId", *_FIELDS)

BreakdownField = Literal["eventType", "area", "userId", "participantType", "data"]


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
    participant_types: Sequence[str] = ()
    session_ids: Sequence[UUID] = ()
    """Of raw events alone."""
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


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """In which view an event is looked for."""

    metrics: MetricsRequest
    session_id: UUID | None = None


def parse_metrics_request(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for metrics.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, _METRICS, data=True)
    breakdown, key = _breakdown(one(query, "breakdown"))
    return _request(
        query,
        default_timeframe="week",
        granularity=cast(Granularity | None, choice(query, "granularity", GRANULARITIES)),
        breakdown=breakdown,
        breakdown_key=key,
    )


def parse_events_request(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for a page of events or sessions; the range is all of them unless it says otherwise.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, _EVENTS, data=True)
    return _request(query, default_timeframe="all", cursor=event_cursor_of(one(query, "cursor")))


def parse_range(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for a range alone.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, _RANGE)
    return _request(query, default_timeframe="week")


def parse_retention_request(query: Mapping[str, Sequence[str]]) -> MetricsRequest:
    """A request for cohorts; its granularity is their period.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, (*_RANGE, "period"))
    period = cast(Granularity, choice(query, "period", ("day", "week")) or "day")
    ranged = {name: values for name, values in query.items() if name != "period"}
    return _request(ranged, default_timeframe="month" if period == "day" else "quarter", granularity=period)


def parse_export_request(query: Mapping[str, Sequence[str]]) -> tuple[MetricsRequest, Literal["csv", "ndjson"]]:
    """A request for a page of an export, and its format.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, (*_EVENTS, "format"), data=True)
    form = cast(Literal["csv", "ndjson"], choice(query, "format", ("csv", "ndjson")) or "ndjson")
    ranged = {"limit": [str(MAX_LIMIT)], **{name: values for name, values in query.items() if name != "format"}}
    return parse_events_request(ranged), form


def parse_trace_request(query: Mapping[str, Sequence[str]]) -> TraceRequest:
    """In which view to look for an event: a metrics request's parameters, and the event's session where it is known.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    session_id = one(query, "sessionId")
    view = parse_metrics_request({name: values for name, values in query.items() if name != "sessionId"})
    return TraceRequest(view, None if session_id is None else uuid_of("sessionId", session_id))


def _request(
    query: Mapping[str, Sequence[str]],
    *,
    default_timeframe: Timeframe,
    granularity: Granularity | None = None,
    breakdown: BreakdownField | None = None,
    breakdown_key: str | None = None,
    cursor: Cursor | None = None,
) -> MetricsRequest:
    start, end = time_of(query, "start"), time_of(query, "end")
    timeframe = cast(Timeframe | None, choice(query, "timeframe", TIMEFRAMES))
    if timeframe is not None and (start is not None or end is not None):
        raise InvalidParameter("timeframe", "Send a timeframe or start and end, not both.")
    if end is not None and start is None:
        raise InvalidParameter("end", "Send start with it.")
    request = MetricsRequest(
        timeframe=None if start is not None else timeframe or default_timeframe,
        start=start,
        end=end,
        timezone=one(query, "timezone") or "UTC",
        granularity=granularity,
        event_types=tuple(query.get("eventType", ())),
        areas=tuple(query.get("area", ())),
        user_ids=tuple(query.get("userId", ())),
        participant_types=tuple(query.get("participantType", ())),
        session_ids=tuple(uuid_of("sessionId", text) for text in query.get("sessionId", ())),
        data={name.removeprefix(DATA): tuple(values) for name, values in query.items() if name.startswith(DATA)},
        breakdown=breakdown,
        breakdown_key=breakdown_key,
        limit=limit_of(one(query, "limit")),
        cursor=cursor,
    )
    zone = request.zone
    if start is not None and end is not None and _instant(start, zone) >= _instant(end, zone):
        raise InvalidParameter("start", "The start must be before the end.")
    return request


def _breakdown(text: str | None) -> tuple[BreakdownField | None, str | None]:
    if text is None:
        return None, None
    if text in _FIELDS:
        return cast(BreakdownField, text), None
    if text.startswith(DATA) and text != DATA:
        return "data", text.removeprefix(DATA)
    raise InvalidParameter("breakdown", f"Send one of {', '.join(_FIELDS)} or data.<key>.")


def _instant(when: datetime | date, zone: ZoneInfo) -> datetime:
    return when.astimezone(UTC) if isinstance(when, datetime) else day_start(when, zone)
