"""Lists raw events."""

from psycopg.rows import class_row

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.metrics.cursor import to_cursor
from muster.metrics.models import EventPage, StoredEvent
from muster.metrics.request import MetricsRequest
from muster.metrics.windows import find_latest


def get_recent_events(connection: Connection, access: Access, request: MetricsRequest) -> EventPage:
    """Get a page of events, newest first."""
    found = find_latest(connection, access.project_id, request, "get_recent_events", class_row(StoredEvent))
    page = found[: request.limit]
    last = page[-1] if len(found) > request.limit else None
    return EventPage(events=page, next_cursor=to_cursor(last.timestamp, last.session_id, last.id) if last else None)
