"""Answers what is known of one user."""

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
    """A user's summary and latest events; costs what the user did.

    Raises:
        NotFound: no event of the project is the user's.
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
        raise NotFound("No event of this project has this userId.")
    recent = msgspec.convert(row.pop("recent"), list[StoredEvent])
    return UserSummary(**row, user_id=user_id, recent=recent)
