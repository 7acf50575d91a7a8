"""Summarizes one user: counts, event types and latest events."""

import msgspec
from psycopg.rows import dict_row

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.db.queries import query
from muster.metrics.models import StoredEvent, UserSummary
from muster.metrics.overview import current_state
from muster.metrics.rollups import one_snapshot
from muster.platform.errors import NotFound

RECENT = 50


def get_user(connection: Connection, access: Access, user_id: str) -> UserSummary:
    """Get a user's summary and latest events. The cost grows with the user's events.

    Raises:
        NotFound: the project has no event of this user.
    """
    current_state(connection, access.project_id)
    with one_snapshot(connection, access.project_id) as state, connection.cursor(row_factory=dict_row) as cursor:
        parameters = {
            "project_id": access.project_id,
            "user_id": user_id,
            "watermark": state.watermark or 0,
            "limit": RECENT,
        }
        row = cursor.execute(query("metrics/get_user"), parameters).fetchone()
    if row is None or not row["events"]:
        raise NotFound("This project has no event with this userId.")
    recent = msgspec.convert(row.pop("recent"), list[StoredEvent])
    return UserSummary(**row, user_id=user_id, recent=recent)
