"""Computes the overview (totals, series, breakdown and explain) from the roll-ups and the unrolled events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.db.queries import query
from muster.http.params import DATA
from muster.metrics.models import Breakdown, Bucket, Explain, Metrics, Range, Totals
from muster.metrics.request import BREAKDOWNS, MetricsRequest
from muster.metrics.rollups import RollupState, claim_pending_events, get_state, one_snapshot, roll_up_if_due
from muster.metrics.time_ranges import TimeRange, boundaries

_NOTHING = {"events": 0, "users": 0, "sessions": 0}


@dataclass(frozen=True, slots=True)
class DimensionValue:
    """A value of a rolled-up dimension, e.g. ("eventType", "page_view"), or ("all", None) for the whole project."""

    dimension: str
    value: str | None


def get_metrics(connection: Connection, access: Access, request: MetricsRequest) -> Metrics:
    """Get a range's totals, series and breakdown, read in one statement and one snapshot.

    Raises:
        InvalidParameter: the range has too many buckets.
    """
    state = current_state(connection, access.project_id)
    answer, unrolled = _answer(connection, access.project_id, request, state)
    roll_up_if_due(connection, access.project_id, state, unrolled)
    return answer


def current_state(connection: Connection, project_id: UUID) -> RollupState:
    """Get how far the project is rolled up. The first reader rolls up a bounded number of events."""
    state = claim_pending_events(connection, project_id, get_state(connection, project_id))
    if state.watermark is None and roll_up_if_due(connection, project_id, state, 0):
        return get_state(connection, project_id)
    return state


def get_raw_metrics(connection: Connection, access: Access, request: MetricsRequest) -> Metrics:
    """Compute get_metrics from the events alone, for comparison. It reads all events of the project."""
    state = get_state(connection, access.project_id)
    return _answer(connection, access.project_id, request, replace(state, watermark=None))[0]


def _answer(
    connection: Connection, project_id: UUID, request: MetricsRequest, state: RollupState
) -> tuple[Metrics, int]:
    """The metrics, and the number of unrolled events that were read for them."""
    time_range = _time_range(connection, project_id, request, state)
    granularity = request.granularity or time_range.granularity
    starts = boundaries(time_range, granularity, request.zone)
    parameters = {
        "filter": Jsonb(request.filters),
        "project_id": project_id,
        "before": time_range.before,
        "start": time_range.start,
        "end": time_range.end,
        "starts": starts[:-1],
        "ends": starts[1:],
        "breakdown": request.breakdown,
        "limit": request.limit,
    }
    dimension_value = find_dimension_value(request, state)
    row = _count(connection, parameters, dimension_value, state)
    totals, previous = Totals.of(row["totals"]), Totals.of(row["previous"])
    zone = request.zone
    answer = Metrics(
        range=Range(
            start=time_range.start.astimezone(zone),
            end=time_range.end.astimezone(zone),
            timezone=request.timezone,
            granularity=granularity,
        ),
        as_of=row["as_of"],
        totals=msgspec.structs.replace(totals, active_users_now=row["active_users_now"]),
        previous=previous,
        series=_series(starts[:-1], row["series"], request),
        breakdown=[Breakdown(**value) for value in row["breakdown"]],
        explain=_explain(row, totals, request),
    )
    return answer, row["unrolled"]


def find_dimension_value(request: MetricsRequest, state: RollupState) -> DimensionValue | None:
    """Find the dimension value whose roll-ups hold the requested counts; None if they must come from the events."""
    if state.watermark is None:
        return None
    keys = {f"{DATA}{key}" for key in state.keys}
    if not request.filters:
        return DimensionValue("all", None) if request.breakdown in (None, *BREAKDOWNS, *keys) else None
    (dimension, values), *others = single_filters(request)
    if others or len(values) > 1 or request.breakdown is not None:
        return None
    return DimensionValue(dimension, values[0]) if dimension in ("eventType", "area", *keys) else None


def single_filters(request: MetricsRequest) -> list[tuple[str, Sequence[str]]]:
    """List each filter with its values. Each key of "data" is a filter of its own, named data.<key>."""
    by_data = request.filters.get("data", {})
    return [
        *((name, values) for name, values in request.filters.items() if name != "data"),
        *((f"{DATA}{key}", values) for key, values in by_data.items()),
    ]


def _count(
    connection: Connection, parameters: dict[str, Any], value: DimensionValue | None, state: RollupState
) -> dict[str, Any]:
    """Count from the roll-ups and the unrolled events or, without roll-ups, from the events alone."""
    row = _execute(connection, parameters, value, state.watermark)
    if row["watermark"] == state.watermark:
        return row
    # A roll-up ran between the two statements. Repeat them in one snapshot.
    with one_snapshot(connection, parameters["project_id"]) as current:
        return _execute(connection, parameters, None if current.watermark is None else value, current.watermark)


def _execute(
    connection: Connection, parameters: dict[str, Any], value: DimensionValue | None, watermark: int | None
) -> dict[str, Any]:
    values = {
        **parameters,
        "watermark": watermark,
        "is_rolled_up": value is not None,
        "dimension": value and value.dimension,
        "value": value and value.value,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = (
            cursor.execute(
                query("metrics/get_raw_metrics" if watermark is None else "metrics/get_metrics"), values
            ).fetchone()
            or {}
        )
    if watermark is None:
        return {**row, "source": "events", "watermark": None, "unrolled": 0}
    return {**row, "source": "events" if value is None else "rollups"}


def time_range_of(connection: Connection, project_id: UUID, request: MetricsRequest) -> TimeRange:
    """Get the requested range as absolute times, as of now."""
    return _time_range(connection, project_id, request, get_state(connection, project_id))


def _time_range(connection: Connection, project_id: UUID, request: MetricsRequest, state: RollupState) -> TimeRange:
    now = state.now.astimezone(UTC)
    first, last = span_of(connection, project_id, state) if request.timeframe == "all" else (None, None)
    return request.time_range(now, (first or now, last or now))


def span_of(
    connection: Connection, project_id: UUID, state: RollupState
) -> tuple[datetime, datetime] | tuple[None, None]:
    """Get the times of the project's first and last event."""
    name = "metrics/get_event_span" if state.watermark is None else "metrics/get_unrolled_span"
    parameters = {"project_id": project_id, "watermark": state.watermark}
    row = connection.execute(query(name), parameters).fetchone() or ()
    times = [value.astimezone(UTC) for value in (*row, state.first_at, state.last_at) if isinstance(value, datetime)]
    return (min(times), max(times)) if times else (None, None)


def _series(starts: Sequence[datetime], counted: Sequence[dict[str, int]], request: MetricsRequest) -> list[Bucket]:
    by_number = {row["bucket"]: row for row in counted}
    return [
        _bucket(start.astimezone(request.zone), by_number.get(number, _NOTHING))
        for number, start in enumerate(starts, start=1)
    ]


def _bucket(start: datetime, counted: Mapping[str, int]) -> Bucket:
    return Bucket(bucket=start, events=counted["events"], users=counted["users"], sessions=counted["sessions"])


def _explain(row: dict[str, Any], totals: Totals, request: MetricsRequest) -> Explain:
    return Explain(
        rows_outside_range=row["rows_outside_range"],
        rows_outside_range_is_exact=row["rows_outside_range_is_exact"],
        rejected_in_range=row["rejected_in_range"],
        ignored_in_range=row["ignored_in_range"],
        last_event_at=row["last_event_at"],
        source=row["source"],
        hint=_hint(row, totals, request),
    )


def _hint(row: dict[str, Any], totals: Totals, request: MetricsRequest) -> str:
    not_stored = [
        f"{row[name]} {outcome}"
        for name, outcome in (("rejected_in_range", "rejected"), ("ignored_in_range", "ignored"))
        if row[name]
    ]
    also = f" Not stored in this range: {' and '.join(not_stored)}; see GET /v1/diagnostics." if not_stored else ""
    if totals.events:
        return f"The range has {totals.events} matching events.{also}"
    if row["last_event_at"] is None:
        return f"This project has no events yet. Post one to /v1/events.{also}"
    if row["rows_outside_range"]:
        latest = row["last_event_at"].astimezone(UTC)
        others = f"{'' if row['rows_outside_range_is_exact'] else 'at least '}{row['rows_outside_range']}"
        return (
            f"No event in this range matches, but {others} outside it do. The project's latest event is from "
            f"{latest:%Y-%m-%dT%H:%M:%SZ}. Widen the range or use timeframe=all.{also}"
        )
    if request.filters:
        if not row["rows_outside_range_is_exact"]:
            return f"No event in the range or in the latest months matches the filters. Remove a filter.{also}"
        return f"No event of the project matches the filters. Remove a filter.{also}"
    return f"The range has no events.{also}"
