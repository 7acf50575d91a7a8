"""Answers metrics from the events themselves: totals, series, breakdown, and why a view is empty."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg.rows import class_row, dict_row

from muster.database import Connection
from muster.metrics_models import Breakdown, Bucket, EventPage, Explain, Metrics, Range, StoredEvent, Totals
from muster.metrics_requests import MetricsRequest, to_cursor
from muster.sql import query
from muster.time_ranges import TimeRange, boundaries


def get_metrics(connection: Connection, project_id: UUID, request: MetricsRequest) -> Metrics:
    """All that a range holds, in one statement and one snapshot.

    Raises:
        InvalidParameter: the range has too many buckets.
    """
    time_range = time_range_of(connection, project_id, request)
    granularity = request.granularity or time_range.granularity
    starts = boundaries(time_range, granularity, request.zone)
    parameters = {
        **_filters(request),
        "project_id": project_id,
        "before": time_range.before,
        "start": time_range.start,
        "end": time_range.end,
        "starts": starts[:-1],
        "breakdown": request.breakdown,
        "breakdown_key": request.breakdown_key,
        "limit": request.limit,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("get_metrics"), parameters).fetchone() or {}
    totals, previous = Totals.of(row["totals"]), Totals.of(row["previous"])
    zone = request.zone
    return Metrics(
        range=Range(
            start=time_range.start.astimezone(zone),
            end=time_range.end.astimezone(zone),
            timezone=request.timezone,
            granularity=granularity,
        ),
        as_of=row["as_of"],
        totals=totals.model_copy(update={"active_users_now": row["active_users_now"]}),
        previous=previous,
        series=_series(starts[:-1], row["series"], request),
        breakdown=[Breakdown.model_validate(value) for value in row["breakdown"]],
        explain=_explain(row, totals, request),
    )


def get_recent_events(connection: Connection, project_id: UUID, request: MetricsRequest) -> EventPage:
    """A page of events, the latest first."""
    time_range = time_range_of(connection, project_id, request)
    occurred_at, session_id, event_id = request.cursor or (None, None, None)
    parameters = {
        **_filters(request),
        "project_id": project_id,
        "start": time_range.start,
        "end": time_range.end,
        "limit": request.limit + 1,
        "after_time": occurred_at,
        "after_session": session_id,
        "after_id": event_id,
    }
    with connection.cursor(row_factory=class_row(StoredEvent)) as cursor:
        events = cursor.execute(query("get_recent_events"), parameters).fetchall()
    page = events[: request.limit]
    more = len(events) > request.limit
    last = page[-1] if page else None
    return EventPage(
        events=page, next_cursor=to_cursor(last.timestamp, last.session_id, last.id) if more and last else None
    )


def time_range_of(connection: Connection, project_id: UUID, request: MetricsRequest) -> TimeRange:
    """The range that is asked for, as of now."""
    row = connection.execute(query("get_event_span"), {"project_id": project_id}).fetchone()
    now, first, last = (_utc(value) for value in row) if row else (datetime.now(UTC), None, None)
    asked_at = now or datetime.now(UTC)
    return request.time_range(asked_at, (first or asked_at, last or asked_at))


def _utc(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def _filters(request: MetricsRequest) -> dict[str, Any]:
    return {
        "event_types": list(request.event_types) or None,
        "areas": list(request.areas) or None,
        "user_ids": list(request.user_ids) or None,
        "data": orjson.dumps([{"key": key, "wanted": list(values)} for key, values in request.data.items()]).decode(),
    }


def _series(starts: Sequence[datetime], counted: Sequence[dict[str, int]], request: MetricsRequest) -> list[Bucket]:
    by_number = {row["bucket"]: row for row in counted}
    zone = request.zone
    empty = {"events": 0, "users": 0, "sessions": 0}
    return [
        Bucket.model_validate({**empty, **by_number.get(number, {}), "bucket": start.astimezone(zone)})
        for number, start in enumerate(starts, start=1)
    ]


def _explain(row: dict[str, Any], totals: Totals, request: MetricsRequest) -> Explain:
    return Explain(
        rows_outside_range=row["rows_outside_range"],
        rejected_in_range=row["rejected_in_range"],
        ignored_in_range=row["ignored_in_range"],
        last_event_at=row["last_event_at"],
        hint=_hint(row, totals, request),
    )


def _hint(row: dict[str, Any], totals: Totals, request: MetricsRequest) -> str:
    refused = [
        f"{row[name]} {what}"
        for name, what in (("rejected_in_range", "rejected"), ("ignored_in_range", "ignored"))
        if row[name]
    ]
    beside = f" In this range {' and '.join(refused)}: see GET /v1/diagnostics." if refused else ""
    if totals.events:
        return f"The range holds {totals.events} matching events.{beside}"
    if row["last_event_at"] is None:
        return f"This project has no events yet; post one to /v1/events.{beside}"
    if row["rows_outside_range"]:
        latest = row["last_event_at"].astimezone(UTC)
        return (
            f"No event of this range matches, but {row['rows_outside_range']} outside it do; the project's latest "
            f"event is of {latest:%Y-%m-%dT%H:%M:%SZ}. Widen the range, or ask for timeframe=all.{beside}"
        )
    if request.event_types or request.areas or request.user_ids or request.data:
        return f"The filters match no event of the project at any time; leave one out.{beside}"
    return f"The range holds no events.{beside}"
