"""Raw events, the latest first: looked for backwards, and only where there can be any."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from muster.database import Connection
from muster.event_cursors import to_cursor
from muster.metrics import filters_of, span_of
from muster.metrics_models import EventPage, StoredEvent
from muster.metrics_requests import MetricsRequest
from muster.rollups import get_state, settle_identities
from muster.sql import query

FIRST_WINDOW, LONGEST_WINDOW = timedelta(minutes=1), timedelta(days=365)
RESOLUTION = timedelta(microseconds=1)

Span = tuple[datetime, datetime]
"""From a time to before another."""


def get_recent_events(connection: Connection, project_id: UUID, request: MetricsRequest) -> EventPage:
    """A page of events, the latest first.

    They are looked for backwards from the latest, in windows each four times as long as the one before: that costs what
    the page is spread over, and no index in the order of time, for which every event would pay. With filters, only the
    days are looked at on which rollups know of such events, and what is not folded yet.
    """
    state = settle_identities(connection, project_id, get_state(connection, project_id))
    first, last = span_of(connection, project_id, state)
    time_range = request.time_range(state.now.astimezone(UTC), (first or state.now, last or state.now))
    if first is None or last is None:
        return EventPage(events=[], next_cursor=None)
    occurred_at, session_id, event_id = request.cursor or (None, None, None)
    whole = (
        max(time_range.start, first),
        min(time_range.end, (min(occurred_at, last) if occurred_at else last) + RESOLUTION),
    )
    parameters = {
        **filters_of(request),
        "project_id": project_id,
        "after_time": occurred_at,
        "after_session": session_id,
        "after_id": event_id,
    }
    events = list[StoredEvent]()
    for start, end in _windows(_spans(connection, parameters, whole)):
        asked = {**parameters, "start": start, "end": end, "limit": request.limit + 1 - len(events)}
        with connection.cursor(row_factory=class_row(StoredEvent)) as cursor:
            events += cursor.execute(query("get_recent_events"), asked).fetchall()
        if len(events) > request.limit:
            break
    page = events[: request.limit]
    cursor_at = to_cursor(page[-1].timestamp, page[-1].session_id, page[-1].id) if len(events) > request.limit else None
    return EventPage(events=page, next_cursor=cursor_at)


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


def _windows(spans: Sequence[Span]) -> Iterator[Span]:
    length = FIRST_WINDOW
    for start, end in spans:
        before = end
        while start < before:
            since = max(start, before - length) if length < LONGEST_WINDOW else start
            yield since, before
            before, length = since, min(length * 4, LONGEST_WINDOW)
