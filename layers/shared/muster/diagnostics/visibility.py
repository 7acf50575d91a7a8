"""Explains why a metrics view does not show an event."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from muster.db.client import Connection
from muster.db.queries import query
from muster.http.params import DATA
from muster.metrics.overview import single_filters, time_range_of
from muster.metrics.request import MetricsRequest
from muster.metrics.time_ranges import TimeRange


def explain_hidden(
    connection: Connection,
    request: MetricsRequest,
    *,
    project_id: UUID,
    event_id: UUID,
    session_id: UUID,
    occurred_at: datetime,
) -> tuple[list[str], str | None]:
    """A sentence for each part of the request that excludes a stored event, and how to change the request."""
    reasons, remedies = [], []
    time_range = time_range_of(connection, project_id, request)
    if not time_range.start <= occurred_at < time_range.end:
        reasons.append(_out_of_range(request, time_range, occurred_at))
        day = occurred_at.astimezone(request.zone).date()
        remedies.append(f"use timeframe=all or start={day}&end={day + timedelta(days=1)}&timezone={request.timezone}")
    parameters = {
        "filters": Jsonb([{"name": name, "filter": _filter(name, values)} for name, values in single_filters(request)]),
        "project_id": project_id,
        "event_id": event_id,
        "session_id": session_id,
        "occurred_at": occurred_at,
    }
    for name, value in connection.execute(query("diagnostics/get_excluding_filters"), parameters):
        reasons.append(f"The filter {name} excludes it: the event's value is {_quoted(value)}.")
        remedies.append(f"change or remove {name}")
    return reasons, f"Change the request: {'; '.join(remedies)}." if remedies else None


def _filter(name: str, values: Any) -> dict[str, Any]:
    return {"data": {name.removeprefix(DATA): values}} if name.startswith(DATA) else {name: values}


def _out_of_range(request: MetricsRequest, time_range: TimeRange, occurred_at: datetime) -> str:
    zone = request.zone
    start, end, when = (
        time.astimezone(zone).isoformat(timespec="seconds") for time in (time_range.start, time_range.end, occurred_at)
    )
    side = "before" if occurred_at < time_range.start else "after"
    sentence = f"The range excludes it: it occurred at {when}, {side} the range from {start} to {end}."
    # If the range has whole days, the same days in another time zone may include it.
    if request.timezone != "UTC" and _in_days_of_utc(time_range, occurred_at, request):
        return f"{sentence} The range has days in {request.timezone}; the same days in UTC include it."
    if side == "after":
        return f"{sentence} The client's clock may be ahead."
    return sentence


def _in_days_of_utc(time_range: TimeRange, occurred_at: datetime, request: MetricsRequest) -> bool:
    start, end = (time.astimezone(request.zone).replace(tzinfo=UTC) for time in (time_range.start, time_range.end))
    return start <= occurred_at < end


def _quoted(value: str | None) -> str:
    return "none" if value is None else f"'{value}'"
