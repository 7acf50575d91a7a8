"""Where in a range events can be: windows backwards from the latest, so that a page costs what it is spread over.

No index in the order of time is needed for it, for which every event would pay. With filters, only the days are looked
at on which rollups know of such events, and what is not folded yet.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from muster.database import TOOK_TOO_LONG, Connection
from muster.errors import DatabaseUnavailable
from muster.metrics import filters_of, span_of
from muster.metrics_requests import MetricsRequest
from muster.rollups import get_state, settle_identities
from muster.sql import query

FIRST_WINDOW, LONGEST_WINDOW = timedelta(minutes=1), timedelta(days=365)
RESOLUTION = timedelta(microseconds=1)
# A function has ten seconds.
BUDGET_SECONDS, UNHURRIED_SECONDS = 8.0, 7.0

Span = tuple[datetime, datetime]
"""From a time to before another."""


@dataclass(frozen=True, slots=True)
class Search:
    """A request for raw events, as statements take it, and where there can be any."""

    parameters: dict[str, Any]
    span: Span | None
    """None where the project has no event."""


def search(connection: Connection, project_id: UUID, request: MetricsRequest) -> Search:
    """What a request looks for, and between its first and last event."""
    state = settle_identities(connection, project_id, get_state(connection, project_id))
    first, last = span_of(connection, project_id, state)
    time_range = request.time_range(state.now.astimezone(UTC), (first or state.now, last or state.now))
    parameters = {**filters_of(request), "project_id": project_id, "session_ids": list(request.session_ids) or None}
    if first is None or last is None:
        return Search(parameters, None)
    return Search(parameters, (max(time_range.start, first), min(time_range.end, last + RESOLUTION)))


def windows(connection: Connection, parameters: dict[str, Any], span: Span) -> Iterator[Span]:
    """The windows of a span, the latest first, each four times as long as the one before."""
    if parameters["session_ids"]:
        # The index finds them wherever they are.
        yield span
        return
    length = FIRST_WINDOW
    for start, end in _spans(connection, parameters, span):
        before = end
        while start < before:
            since = max(start, before - length) if length < LONGEST_WINDOW else start
            yield since, before
            before, length = since, min(length * 4, LONGEST_WINDOW)


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
            self._connection.execute(query("limit_statements"), {"milliseconds": str(int(left * 1000) + 1)})
            yield


def _spans(connection: Connection, parameters: dict[str, Any], whole: Span) -> Sequence[Span]:
    """Where in the range events can be that pass the filters, the latest first."""
    if not any(parameters[name] for name in ("event_types", "areas", "user_ids", "participant_types")):
        return [whole]
    days = connection.execute(query("get_event_days"), {**parameters, "start": whole[0], "end": whole[1]}).fetchall()
    spans = list[Span]()
    for row in sorted((start, end) for start, end in days if isinstance(start, datetime) and isinstance(end, datetime)):
        start, end = max(row[0].astimezone(UTC), whole[0]), min(row[1].astimezone(UTC), whole[1])
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        elif start < end:
            spans.append((start, end))
    return spans[::-1]
