"""The quarantine: what was rejected and why."""

from dataclasses import asdict
from uuid import UUID

from psycopg.rows import class_row

from muster.database import Connection
from muster.quarantine_models import Rejection, RejectionGroup, RejectionGroups, RejectionPage
from muster.quarantine_requests import RejectionsRequest
from muster.sql import query

MAX_DAYS, MAX_ROWS, MAX_BYTES = 90, 100_000, 256 * 1024 * 1024
TRIM_STEP = 20_000


def get_rejections(
    connection: Connection, project_id: UUID, request: RejectionsRequest
) -> RejectionPage | RejectionGroups:
    """A page of rejections, the newest first, or all of them by reason."""
    parameters = {**asdict(request), "project_id": project_id}
    if request.is_grouped:
        with connection.cursor(row_factory=class_row(RejectionGroup)) as cursor:
            return RejectionGroups(groups=cursor.execute(query("get_rejection_groups"), parameters).fetchall())
    with connection.cursor(row_factory=class_row(Rejection)) as cursor:
        found = cursor.execute(query("get_rejections"), {**parameters, "limit": request.limit + 1}).fetchall()
    page = found[: request.limit]
    return RejectionPage(rejections=page, next_cursor=str(page[-1].id) if len(found) > request.limit else None)


def trim_rejections(connection: Connection) -> int:
    """Take the oldest away that are over the quarantine's bounds; how many."""
    bounds = {"days": MAX_DAYS, "most": MAX_ROWS, "bytes": MAX_BYTES, "step": TRIM_STEP}
    row = connection.execute(query("trim_rejections"), bounds).fetchone()
    return int(str(row[0])) if row else 0
