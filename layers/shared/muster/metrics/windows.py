"""Finds the latest rows of a range: it searches windows of time from the newest to the oldest until a page is full.

The cost of a page grows with the time that its rows span, not with the range. This needs no index on the time, which
would make every insert more expensive. With filters, it searches only the days for which the roll-ups have matching
events, and the unrolled events.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from psycopg.rows import RowFactory
from psycopg.types.json import Jsonb

from muster.db.client import TOOK_TOO_LONG, Connection
from muster.db.queries import query
from muster.metrics.overview import span_of
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import claim_pending_events, get_state
from muster.platform.errors import DatabaseUnavailable

FIRST_WINDOW, LONGEST_WINDOW = timedelta(minutes=1), timedelta(days=365)
RESOLUTION = timedelta(microseconds=1)
# The function times out after ten seconds. While more than UNBOUNDED_SECONDS are left, the role's own statement timeout
# of eight seconds is enough, and a transaction is saved.
BUDGET_SECONDS, UNBOUNDED_SECONDS = 8.0, 7.0

T = TypeVar("T")
Span = tuple[datetime, datetime]
"""A start (inclusive) and an end (exclusive)."""


def find_latest(
    connection: Connection, project_id: UUID, request: MetricsRequest, statement: str, make: RowFactory[T]
) -> list[T]:
    """Get the rows after the request's cursor, newest first: those of the page, and one more if another page follows.

    `statement` names a query that returns the rows from `start` (inclusive) to `end` (exclusive), a window of the range
    from `range_start` to `range_end`.

    Raises:
        DatabaseUnavailable: the search takes too long.
    """
    state = claim_pending_events(connection, project_id, get_state(connection, project_id))
    first, last = span_of(connection, project_id, state)
    time_range = request.time_range(state.now.astimezone(UTC), (first or state.now, last or state.now))
    if first is None or last is None:
        return []
    start, end = max(time_range.start, first), min(time_range.end, last + RESOLUTION)
    occurred_at, session_id, event_id = request.cursor or (None, None, None)
    parameters = {
        "filter": Jsonb(request.filters),
        "project_id": project_id,
        "after_time": occurred_at,
        "after_session": session_id,
        "after_id": event_id,
        "range_start": start,
        "range_end": end,
    }
    rows, budget = list[T](), Budget(connection)
    span = (start, min(end, occurred_at + RESOLUTION) if occurred_at else end)
    for since, before in _windows(connection, request, parameters, span):
        window = {**parameters, "start": since, "end": before, "limit": request.limit + 1 - len(rows)}
        with budget.bounds(), connection.cursor(row_factory=make) as cursor:
            rows += cursor.execute(query(f"metrics/{statement}"), window).fetchall()
        if len(rows) > request.limit:
            break
    return rows


class Budget:
    """The time for all windows together: the search must end before the function times out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + BUDGET_SECONDS

    @contextmanager
    def bounds(self) -> Iterator[None]:
        """Limit a statement to the time that is left.

        Raises:
            DatabaseUnavailable: no time is left.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DatabaseUnavailable(TOOK_TOO_LONG)
        if left > UNBOUNDED_SECONDS:
            yield
            return
        with self._connection.transaction():
            self._connection.execute(query("metrics/limit_statements"), {"milliseconds": str(int(left * 1000) + 1)})
            yield


def _windows(connection: Connection, request: MetricsRequest, parameters: dict[str, Any], span: Span) -> Iterator[Span]:
    """The windows of a span, newest first. Each is four times as long as the one before."""
    if "sessionId" in request.filters:
        # The primary key finds a session's events at any time.
        yield span
        return
    length = FIRST_WINDOW
    for start, end in _spans(connection, request, parameters, span):
        before = end
        while start < before:
            since = max(start, before - length) if length < LONGEST_WINDOW else start
            yield since, before
            before, length = since, min(length * 4, LONGEST_WINDOW)


def _spans(connection: Connection, request: MetricsRequest, parameters: dict[str, Any], whole: Span) -> Sequence[Span]:
    """The parts of the range that can hold matching events, newest first."""
    if not request.filters.keys() - {"data"}:
        return [whole]
    days = connection.execute(
        query("metrics/get_event_days"), {**parameters, "start": whole[0], "end": whole[1]}
    ).fetchall()
    spans = list[Span]()
    for row in sorted((start, end) for start, end in days if isinstance(start, datetime) and isinstance(end, datetime)):
        start, end = max(row[0].astimezone(UTC), whole[0]), min(row[1].astimezone(UTC), whole[1])
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        elif start < end:
            spans.append((start, end))
    return spans[::-1]
