"""Reads a metrics request from a query string, naming the parameter that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
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
from muster.metrics.time_ranges import Granularity, Timeframe, TimeRange, by_length, day_start, timeframe_range
from muster.platform.errors import InvalidParameter

Format = Literal["csv", "ndjson"]
BREAKDOWNS = ("eventType", "area", "userId", "participantType")
"""What a breakdown groups by, besides data.<key>."""


class RangeQuery(QueryModel, frozen=True):
    """The parameters of a range."""

    timeframe: Annotated[
        Timeframe | None, Meta(description="A range up to now. Send either a timeframe, or start and end.")
    ] = None
    start: Annotated[
        datetime | date | None, Meta(description="The range's start: a time with an offset, or a day in the time zone.")
    ] = None
    end: Annotated[
        datetime | date | None,
        Meta(description="The range ends before this time with an offset, or day in the time zone. Needs a start."),
    ] = None
    timezone: Annotated[str, Meta(description="The time zone's IANA name.")] = "UTC"


class FilterQuery(RangeQuery, frozen=True):
    """The filters: the values of one filter are alternatives, and all filters must match.

    A new filter is a field here and a condition in the SQL function muster.matches_filter.
    """

    event_type: Annotated[tuple[str, ...], Meta(description="Only events of these types.")] = ()
    area: Annotated[tuple[str, ...], Meta(description="Only events of these areas.")] = ()
    user_id: Annotated[tuple[str, ...], Meta(description="Only events of these users.")] = ()
    participant_type: Annotated[
        tuple[str, ...], Meta(description="Only events of pilot participants of these types.")
    ] = ()
    data: Annotated[
        Mapping[str, tuple[str, ...]],
        Meta(description="data.<key>=<value>: only events whose data has one of these values under the key."),
    ] = msgspec.field(default_factory=dict)

    def filters(self) -> dict[str, Any]:
        """The filters that were sent, by their names in the query string."""
        named = ((field.name, field.encode_name) for field in msgspec.structs.fields(FilterQuery))
        own = {field.name for field in msgspec.structs.fields(RangeQuery)}
        return {wire: value for name, wire in named if name not in own and (value := getattr(self, name))}


class MetricsQuery(FilterQuery, frozen=True):
    """The parameters of GET /v1/metrics."""

    limit: PageLimit = DEFAULT_LIMIT
    granularity: Annotated[
        Granularity | None, Meta(description="The length of a bucket. The range's length chooses it by default.")
    ] = None
    breakdown: Annotated[
        str | None, Meta(description="Counts by eventType, area, userId, participantType or data.<key>.")
    ] = None


class EventsQuery(FilterQuery, frozen=True):
    """The parameters of GET /v1/metrics/events and of GET /v1/metrics/sessions."""

    limit: PageLimit = DEFAULT_LIMIT
    session_id: Annotated[tuple[UUID, ...], Meta(description="Only events of these sessions.")] = ()
    cursor: PageCursor = None


class ExportQuery(EventsQuery, frozen=True):
    """The parameters of GET /v1/metrics/export."""

    limit: PageLimit = MAX_LIMIT
    format: Annotated[Format, Meta(description="The form of the file.")] = "ndjson"


class RetentionQuery(RangeQuery, frozen=True):
    """The parameters of GET /v1/metrics/retention."""

    period: Annotated[Literal["day", "week"], Meta(description="The length of a period.")] = "day"


class TraceQuery(MetricsQuery, frozen=True):
    """The parameters of GET /v1/diagnostics/events/{eventId}: the view that should show the event."""

    session_id: Annotated[
        UUID | None, Meta(description="The event's session, where it is known: the event is found faster.")
    ] = None


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """Which events to count or list."""

    timeframe: Timeframe | None = "week"
    """None if the range has a start."""
    start: datetime | date | None = None
    end: datetime | date | None = None
    timezone: str = "UTC"
    granularity: Granularity | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    """As muster.matches_filter takes them: {"eventType": [text…], …, "data": {key: [text…]}}.

    Raw events can be filtered by "sessionId" too.
    """
    breakdown: str | None = None
    """One of BREAKDOWNS or data.<key>."""
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
class ExportRequest:
    """Which page of events to export, and in which form."""

    events: MetricsRequest
    format: Format = "ndjson"


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Which event to look for, and the view of metrics that should show it."""

    event_id: UUID
    metrics: MetricsRequest
    session_id: UUID | None = None


def parse_metrics_request(request: Request) -> MetricsRequest:
    """A request for metrics.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    return _metrics_request(read_query(request.query, MetricsQuery))


def parse_events_request(request: Request) -> MetricsRequest:
    """A request for a page of events or sessions; its range is all of them by default.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    return _events_request(read_query(request.query, EventsQuery))


def parse_retention_request(request: Request) -> MetricsRequest:
    """A request for cohorts; its granularity is their period.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    query = read_query(request.query, RetentionQuery)
    return replace(range_request(query, "month" if query.period == "day" else "quarter"), granularity=query.period)


def parse_export_request(request: Request) -> ExportRequest:
    """A request for a page of an export.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    query = read_query(request.query, ExportQuery)
    return ExportRequest(_events_request(query), query.format)


def parse_trace_request(request: Request) -> TraceRequest:
    """A request for an event's trace: the event's id is in the path.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    event_id = uuid_in_path(request)
    query = read_query(request.query, TraceQuery)
    return TraceRequest(event_id, _metrics_request(query), query.session_id)


def range_request(query: RangeQuery, default_timeframe: Timeframe = "week") -> MetricsRequest:
    """A request for a range alone.

    Raises:
        InvalidParameter: naming the parameter that does not fit the others.
    """
    start, end = query.start, query.end
    if query.timeframe is not None and (start is not None or end is not None):
        raise InvalidParameter("timeframe", "Send a timeframe or start and end, not both.")
    if end is not None and start is None:
        raise InvalidParameter("end", "Send start with it.")
    timeframe = None if start is not None else query.timeframe or default_timeframe
    request = MetricsRequest(timeframe=timeframe, start=start, end=end, timezone=query.timezone)
    zone = request.zone
    if start is not None and end is not None and _instant(start, zone) >= _instant(end, zone):
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


def _instant(when: datetime | date, zone: ZoneInfo) -> datetime:
    return when.astimezone(UTC) if isinstance(when, datetime) else day_start(when, zone)
