"""Sessions by their latest event, the latest first."""

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
    """A page of the sessions that have an event in the range that passes, by the latest such event."""
    found = find_latest(connection, access.project_id, request, "get_recent_sessions", _as_session)
    page = found[: request.limit]
    last = page[-1] if len(found) > request.limit else None
    # A page of sessions ends with a session: what follows it needs no event's id.
    cursor = to_cursor(last.last_event_at, last.session_id, last.session_id) if last else None
    return SessionPage(sessions=page, next_cursor=cursor)


def _as_session(_: Cursor[Any]) -> RowMaker[SeenSession]:
    return lambda values: SeenSession.read(values[0])
