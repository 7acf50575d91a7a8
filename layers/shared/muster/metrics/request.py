"""Reads metrics requests from query strings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from muster.http.params import (
    DATA,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    PageCursor,
    PageLimit,
    QueryModel,
    read_query,
    uuid_in_path,
)
from muster.http.request import Request
from muster.metrics.cursor import Cursor, event_cursor_of
from muster.metrics.time_ranges import Granularity, Timeframe, TimeRange, by_length, instant, timeframe_range
from muster.platform.errors import InvalidParameter

Format = Literal["csv", "ndjson"]
BREAKDOWNS = ("eventType", "area", "userId", "participantType")
"""The breakdowns besides data.<key>."""


class RangeQuery(QueryModel, frozen=True):
    """The parameters of a range."""

    timeframe: Annotated[
        Timeframe | None, Meta(description="A range that ends now. Send either timeframe, or start and end.")
    ] = None
    start: Annotated[
        datetime | date | None, Meta(description="The range's start, inclusive: a time with an offset, or a day.")
    ] = None
    end: Annotated[
        datetime | date | None,
        Meta(description="The range's end, exclusive: a time with an offset, or a day. Needs start."),
    ] = None
    timezone: Annotated[str, Meta(description="The time zone of days and buckets: an IANA name.")] = "UTC"


class FilterQuery(RangeQuery, frozen=True):
    """The filters. An event matches a filter if it has any of the filter's values; it must match all filters.

    A new filter is a field here and a condition in the SQL function muster.matches_filter.
    """

    event_type: Annotated[tuple[str, ...], Meta(description="Only events of these types.")] = ()
    area: Annotated[tuple[str, ...], Meta(description="Only events in these areas.")] = ()
    user_id: Annotated[tuple[str, ...], Meta(description="Only events of these users.")] = ()
    participant_type: Annotated[
        tuple[str, ...], Meta(description="Only events of pilot participants of these types.")
    ] = ()
    data: Annotated[
        Mapping[str, tuple[str, ...]],
        Meta(description="data.<key>=<value>: only events whose data has one of these values under the key."),
    ] = msgspec.field(default_factory=dict)

    def filters(self) -> dict[str, Any]:
        """The filters that were sent, by their parameter names."""
        names = zip(FilterQuery.__struct_fields__, FilterQuery.__struct_encode_fields__, strict=True)
        own = RangeQuery.__struct_fields__
        return {wire: value for name, wire in names if name not in own and (value := getattr(self, name))}


class MetricsQuery(FilterQuery, frozen=True):
    """The parameters of GET /v1/metrics."""

    limit: PageLimit = DEFAULT_LIMIT
    granularity: Annotated[
        Granularity | None, Meta(description="The length of a bucket. The default depends on the range's length.")
    ] = None
    breakdown: Annotated[
        str | None, Meta(description="Break the counts down by eventType, area, userId, participantType or data.<key>.")
    ] = None


class EventsQuery(FilterQuery, frozen=True):
    """The parameters of GET /v1/metrics/events and of GET /v1/metrics/sessions."""

    limit: PageLimit = DEFAULT_LIMIT
    session_id: Annotated[tuple[UUID, ...], Meta(description="Only events of these sessions.")] = ()
    cursor: PageCursor = None


class ExportQuery(EventsQuery, frozen=True):
    """The parameters of GET /v1/metrics/export."""

    limit: PageLimit = MAX_LIMIT
    format: Annotated[Format, Meta(description="The file format.")] = "ndjson"


class RetentionQuery(RangeQuery, frozen=True):
    """The parameters of GET /v1/metrics/retention."""

    period: Annotated[Literal["day", "week"], Meta(description="The length of a period.")] = "day"


class TraceQuery(MetricsQuery, frozen=True):
    """The parameters of GET /v1/diagnostics/events/{eventId}: the metrics view that should show the event."""

    session_id: Annotated[
        UUID | None, Meta(description="The event's session, if known. It makes the search faster.")
    ] = None


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """Which events to count or list."""

    timeframe: Timeframe | None = "week"
    """None if the request has a start."""
    start: datetime | date | None = None
    end: datetime | date | None = None
    timezone: str = "UTC"
    granularity: Granularity | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    """The argument of muster.matches_filter: {"eventType": [text…], …, "data": {key: [text…]}}.

    Lists of events and sessions also filter by "sessionId".
    """
    breakdown: str | None = None
    """One of BREAKDOWNS or data.<key>."""
    limit: int = DEFAULT_LIMIT
    cursor: Cursor | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone.

        Raises:
            InvalidParameter: there is no time zone of that name.
        """
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = "Unknown time zone. Send an IANA name, such as Europe/Berlin."
            raise InvalidParameter("timezone", message) from error

    def time_range(self, now: datetime, events: tuple[datetime, datetime]) -> TimeRange:
        """The requested range; `events` are the times of the project's first and last event."""
        zone = self.zone
        if self.start is None:
            return timeframe_range(self.timeframe or "week", zone, now, events)
        start = instant(self.start, zone)
        end = timeframe_range("day", zone, now, events).end if self.end is None else instant(self.end, zone)
        if start >= end:
            raise InvalidParameter("start", "The start must be before the end.")
        return TimeRange(start, end, by_length(end - start))


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which page of events to export, and in which format."""

    events: MetricsRequest
    format: Format = "ndjson"


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Which event to find, and the metrics view that should show it."""

    event_id: UUID
    metrics: MetricsRequest
    session_id: UUID | None = None


def parse_metrics_request(request: Request) -> MetricsRequest:
    """Read a metrics request.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    return _metrics_request(read_query(request.query, MetricsQuery))


def parse_events_request(request: Request) -> MetricsRequest:
    """Read a request for a page of events or sessions. The default timeframe is all.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    return _events_request(read_query(request.query, EventsQuery))


def parse_retention_request(request: Request) -> MetricsRequest:
    """Read a retention request. The granularity is the period of a cohort.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    query = read_query(request.query, RetentionQuery)
    return replace(range_request(query, "month" if query.period == "day" else "quarter"), granularity=query.period)


def parse_export_request(request: Request) -> ExportRequest:
    """Read a request for a page of an export.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    query = read_query(request.query, ExportQuery)
    return ExportRequest(_events_request(query), query.format)


def parse_trace_request(request: Request) -> TraceRequest:
    """Read a request to trace an event; the event's id is in the path.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    event_id = uuid_in_path(request)
    query = read_query(request.query, TraceQuery)
    return TraceRequest(event_id, _metrics_request(query), query.session_id)


def range_request(query: RangeQuery, default_timeframe: Timeframe = "week") -> MetricsRequest:
    """Make a request for a range, without filters.

    Raises:
        InvalidParameter: the message names the parameter that conflicts with the others.
    """
    start, end = query.start, query.end
    if query.timeframe is not None and (start is not None or end is not None):
        raise InvalidParameter("timeframe", "Send either timeframe, or start and end.")
    if end is not None and start is None:
        raise InvalidParameter("end", "Send start with end.")
    timeframe = None if start is not None else query.timeframe or default_timeframe
    request = MetricsRequest(timeframe=timeframe, start=start, end=end, timezone=query.timezone)
    zone = request.zone
    if start is not None and end is not None and instant(start, zone) >= instant(end, zone):
        raise InvalidParameter("start", "The start must be before the end.")
    return request


def _metrics_request(query: MetricsQuery) -> MetricsRequest:
    request = range_request(query, "week")
    return replace(
        request,
        filters=query.filters(),
        granularity=query.granularity,
        breakdown=_breakdown(query.breakdown),
        limit=query.limit,
    )


def _events_request(query: EventsQuery) -> MetricsRequest:
    filters = query.filters()
    if query.session_id:
        filters["sessionId"] = [str(session_id) for session_id in query.session_id]
    request = range_request(query, "all")
    return replace(request, filters=filters, limit=query.limit, cursor=event_cursor_of(query.cursor))


def _breakdown(text: str | None) -> str | None:
    if text is None or text in BREAKDOWNS or (text.startswith(DATA) and text != DATA):
        return text
    raise InvalidParameter("breakdown", f"Send one of {', '.join(BREAKDOWNS)} or data.<key>.")
