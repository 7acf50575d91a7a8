"""Sessions by their latest event, the latest first."""

from uuid import UUID

from muster.database import Connection
from muster.event_cursors import to_cursor
from muster.event_windows import RESOLUTION, Budget, search, windows
from muster.metrics_models import SeenSession, SessionPage
from muster.metrics_requests import MetricsRequest
from muster.sql import query


def get_recent_sessions(connection: Connection, project_id: UUID, request: MetricsRequest) -> SessionPage:
    """A page of the sessions that have an event in the range that passes, by the latest such event."""
    sought = search(connection, project_id, request)
    if sought.span is None:
        return SessionPage(sessions=[], next_cursor=None)
    occurred_at, session_id, _ = request.cursor or (None, None, None)
    start, end = sought.span
    span = (start, min(end, occurred_at + RESOLUTION) if occurred_at else end)
    fixed = {
        **sought.parameters,
        "after_time": occurred_at,
        "after_session": session_id,
        "range_start": start,
        "range_end": end,
    }
    sessions, budget = list[SeenSession](), Budget(connection)
    for since, before in windows(connection, sought.parameters, span):
        asked = {**fixed, "start": since, "end": before, "limit": request.limit + 1 - len(sessions)}
        with budget.bounds():
            rows = connection.execute(query("get_recent_sessions"), asked).fetchall()
        sessions += [SeenSession.read(row[0]) for row in rows if isinstance(row[0], dict)]
        if len(sessions) > request.limit:
            break
    page = sessions[: request.limit]
    last = page[-1] if len(sessions) > request.limit else None
    # A page of sessions ends with a session: what follows it needs no event's id.
    cursor = to_cursor(last.last_event_at, last.session_id, last.session_id) if last else None
    return SessionPage(sessions=page, next_cursor=cursor)
