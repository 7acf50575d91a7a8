"""Where in a range events can be: windows backwards from the latest, so that a page costs what it is spread over.

No index in the order of time is needed for it, for which every event would pay. With filters, only the days are looked
at on which rollups know of such events, and what is not folded yet.
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
# A function has ten seconds.
BUDGET_SECONDS, UNHURRIED_SECONDS = 8.0, 7.0

T = TypeVar("T")
Span = tuple[datetime, datetime]
"""From a time to before another."""


def find_latest(
    connection: Connection, project_id: UUID, request: MetricsRequest, statement: str, make: RowFactory[T]
) -> list[T]:
    """The rows of a page after the request's cursor, the latest first, and one more where there is a page after it.

    `statement` is the name of one that answers for the times from `start` to before `end`, of a range that is from
    `range_start` to before `range_end`.

    Raises:
        DatabaseUnavailable: it takes too long.
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
        asked = {**parameters, "start": since, "end": before, "limit": request.limit + 1 - len(rows)}
        with budget.bounds(), connection.cursor(row_factory=make) as cursor:
            rows += cursor.execute(query(f"metrics/{statement}"), asked).fetchall()
        if len(rows) > request.limit:
            break
    return rows


class Budget:
    """The time for all windows together, for they must end before the gateway gives up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._until = time.monotonic() + BUDGET_SECONDS

    @contextmanager
    def bounds(self) -> Iterator[None]:
        """Bound a statement by what is left.

        Raises:
            DatabaseUnavailable: nothing is.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise DatabaseUnavailable(TOOK_TOO_LONG)
        if left > UNHURRIED_SECONDS:
            # The role's own timeout does.
            yield
            return
        with self._connection.transaction():
            self._connection.execute(query("metrics/limit_statements"), {"milliseconds": str(int(left * 1000) + 1)})
            yield


def _windows(connection: Connection, request: MetricsRequest, parameters: dict[str, Any], span: Span) -> Iterator[Span]:
    """The windows of a span, the latest first, each four times as long as the one before."""
    if "sessionId" in request.filters:
        # The index finds them wherever they are.
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
    """Where in the range events can be that pass the filters, the latest first."""
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
