"""Answers metrics: totals, series, breakdown, and why a view is empty; from rollups and the events since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import orjson
from psycopg.rows import dict_row

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.db.queries import query
from muster.http.query_params import DATA
from muster.metrics.models import Breakdown, Bucket, Explain, Metrics, Range, Totals
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import RollupState, fold_if_due, get_state, one_snapshot, settle_identities
from muster.metrics.time_ranges import TimeRange, boundaries

_NOTHING = {"events": 0, "users": 0, "sessions": 0}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of the rollups hold what is asked for."""

    dimension: str
    value: str | None


def get_metrics(connection: Connection, access: Access, request: MetricsRequest) -> Metrics:
    """All that a range holds, in one statement and one snapshot.

    Raises:
        InvalidParameter: the range has too many buckets.
    """
    state = current_state(connection, access.project_id)
    answer, tail = _answer(connection, access.project_id, request, state)
    fold_if_due(connection, access.project_id, state, tail)
    return answer


def current_state(connection: Connection, project_id: UUID) -> RollupState:
    """How far the project is folded; the first to ask folds what there is, as far as that is soon done."""
    state = settle_identities(connection, project_id, get_state(connection, project_id))
    if state.watermark is None and fold_if_due(connection, project_id, state, 0):
        return get_state(connection, project_id)
    return state


def get_raw_metrics(connection: Connection, access: Access, request: MetricsRequest) -> Metrics:
    """The same from the events alone, to compare with; it costs what the project holds."""
    state = get_state(connection, access.project_id)
    return _answer(connection, access.project_id, request, replace(state, watermark=None))[0]


def _answer(
    connection: Connection, project_id: UUID, request: MetricsRequest, state: RollupState
) -> tuple[Metrics, int]:
    """The answer, and how many events it counted that are not folded yet."""
    time_range = _time_range(connection, project_id, request, state)
    granularity = request.granularity or time_range.granularity
    starts = boundaries(time_range, granularity, request.zone)
    parameters = {
        **filters_of(request),
        "project_id": project_id,
        "before": time_range.before,
        "start": time_range.start,
        "end": time_range.end,
        "starts": starts[:-1],
        "ends": starts[1:],
        "breakdown": request.breakdown,
        "breakdown_key": request.breakdown_key,
        "limit": request.limit,
    }
    scope = scope_of(request, state)
    row = _counted(connection, parameters, scope, state)
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
    return answer, row["tail"]


def scope_of(request: MetricsRequest, state: RollupState) -> Scope | None:
    """What of the rollups answers it; None where only the events of the range do."""
    keys = {f"{DATA}{key}" for key in state.keys}
    filters = [
        *(("eventType", values) for values in (request.event_types,) if values),
        *(("area", values) for values in (request.areas,) if values),
        *((f"{DATA}{key}", values) for key, values in request.data.items()),
    ]
    if request.user_ids or request.participant_types or state.watermark is None:
        return None
    if not filters:
        known = request.breakdown != "data" or f"{DATA}{request.breakdown_key}" in keys
        return Scope("all", None) if known else None
    if len(filters) > 1 or len(filters[0][1]) > 1 or request.breakdown is not None:
        return None
    dimension, values = filters[0]
    return Scope(dimension, values[0]) if dimension in ("eventType", "area") or dimension in keys else None


def _counted(
    connection: Connection, parameters: dict[str, Any], scope: Scope | None, state: RollupState
) -> dict[str, Any]:
    """The statement's row: from the rollups and the events since, or while there are none from the events alone."""
    row = _ask(connection, parameters, scope, state.watermark)
    if row["watermark"] == state.watermark:
        return row
    # Somebody has folded on between our look and our statement: now both in one snapshot.
    with one_snapshot(connection, parameters["project_id"]) as now:
        return _ask(connection, parameters, None if now.watermark is None else scope, now.watermark)


def _ask(
    connection: Connection, parameters: dict[str, Any], scope: Scope | None, watermark: int | None
) -> dict[str, Any]:
    values = {
        **parameters,
        "watermark": watermark,
        "is_rolled": scope is not None,
        "dimension": scope and scope.dimension,
        "value": scope and scope.value,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = (
            cursor.execute(
                query("metrics/get_raw_metrics" if watermark is None else "metrics/get_metrics"), values
            ).fetchone()
            or {}
        )
    if watermark is None:
        return {**row, "source": "events", "watermark": None, "tail": 0}
    return {**row, "source": "events" if scope is None else "rollups"}


def time_range_of(connection: Connection, project_id: UUID, request: MetricsRequest) -> TimeRange:
    """The range that is asked for, as of now."""
    return _time_range(connection, project_id, request, get_state(connection, project_id))


def _time_range(connection: Connection, project_id: UUID, request: MetricsRequest, state: RollupState) -> TimeRange:
    now = state.now.astimezone(UTC)
    first, last = span_of(connection, project_id, state) if request.timeframe == "all" else (None, None)
    return request.time_range(now, (first or now, last or now))


def span_of(
    connection: Connection, project_id: UUID, state: RollupState
) -> tuple[datetime, datetime] | tuple[None, None]:
    """The times of the project's first and last event."""
    name = "metrics/get_event_span" if state.watermark is None else "metrics/get_tail_span"
    parameters = {"project_id": project_id, "watermark": state.watermark}
    row = connection.execute(query(name), parameters).fetchone() or ()
    times = [value.astimezone(UTC) for value in (*row, state.first_at, state.last_at) if isinstance(value, datetime)]
    return (min(times), max(times)) if times else (None, None)


def filters_of(request: MetricsRequest) -> dict[str, Any]:
    """What is asked for, as statements take it."""
    return {
        "event_types": list(request.event_types) or None,
        "areas": list(request.areas) or None,
        "user_ids": list(request.user_ids) or None,
        "participant_types": list(request.participant_types) or None,
        "data": orjson.dumps([{"key": key, "wanted": list(values)} for key, values in request.data.items()]).decode(),
    }


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
        others = f"{'' if row['rows_outside_range_is_exact'] else 'at least '}{row['rows_outside_range']}"
        return (
            f"No event of this range matches, but {others} outside it do; the project's latest "
            f"event is of {latest:%Y-%m-%dT%H:%M:%SZ}. Widen the range, or ask for timeframe=all.{beside}"
        )
    if any((request.event_types, request.areas, request.user_ids, request.participant_types, request.data)):
        if not row["rows_outside_range_is_exact"]:
            return f"The filters match no event of the range, nor of the latest months; leave one out.{beside}"
        return f"The filters match no event of the project at any time; leave one out.{beside}"
    return f"The range holds no events.{beside}"
