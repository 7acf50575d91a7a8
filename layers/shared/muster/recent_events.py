"""Raw events, the latest first."""

from uuid import UUID

from psycopg.rows import class_row

from muster.database import Connection
from muster.event_cursors import to_cursor
from muster.event_windows import RESOLUTION, Budget, search, windows
from muster.metrics_models import EventPage, StoredEvent
from muster.metrics_requests import MetricsRequest
from muster.sql import query


def get_recent_events(connection: Connection, project_id: UUID, request: MetricsRequest) -> EventPage:
    """A page of events, the latest first."""
    sought = search(connection, project_id, request)
    if sought.span is None:
        return EventPage(events=[], next_cursor=None)
    occurred_at, session_id, event_id = request.cursor or (None, None, None)
    start, end = sought.span
    span = (start, min(end, occurred_at + RESOLUTION) if occurred_at else end)
    after = {"after_time": occurred_at, "after_session": session_id, "after_id": event_id}
    events, budget = list[StoredEvent](), Budget(connection)
    for since, before in windows(connection, sought.parameters, span):
        asked = {**sought.parameters, **after, "start": since, "end": before, "limit": request.limit + 1 - len(events)}
        with budget.bounds(), connection.cursor(row_factory=class_row(StoredEvent)) as cursor:
            events += cursor.execute(query("get_recent_events"), asked).fetchall()
        if len(events) > request.limit:
            break
    page = events[: request.limit]
    cursor_at = to_cursor(page[-1].timestamp, page[-1].session_id, page[-1].id) if len(events) > request.limit else None
    return EventPage(events=page, next_cursor=cursor_at)
