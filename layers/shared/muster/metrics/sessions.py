"""Lists sessions by their latest event."""

from typing import Any

from psycopg import Cursor
from psycopg.rows import RowMaker

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.metrics.cursor import to_cursor
from muster.metrics.models import SeenSession, SessionPage
from muster.metrics.request import MetricsRequest
from muster.metrics.windows import find_latest


def get_recent_sessions(connection: Connection, access: Access, request: MetricsRequest) -> SessionPage:
    """Get a page of the sessions with a matching event in the range, ordered by the latest one, newest first."""
    found = find_latest(connection, access.project_id, request, "get_recent_sessions", _as_session)
    page = found[: request.limit]
    last = page[-1] if len(found) > request.limit else None
    # A session has one row per page, so its own id stands in for the event id of the cursor.
    cursor = to_cursor(last.last_event_at, last.session_id, last.session_id) if last else None
    return SessionPage(sessions=page, next_cursor=cursor)


def _as_session(_: Cursor[Any]) -> RowMaker[SeenSession]:
    return lambda values: SeenSession.read(values[0])
