"""The delivery report of a session: which of its batches have arrived and which are missing."""

from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.db.queries import query
from muster.http.response import WireModel
from muster.platform.errors import NotFound


class Batches(WireModel):
    """The batches of a session by the client's sequence numbers; ranges are [first, last]."""

    received: list[list[int]]
    gaps: list[list[int]]
    missing: int
    last: int
    """The highest number received; 0 if the client does not number its batches."""


class Lateness(WireModel):
    """How long after their timestamps the events were received."""

    median_seconds: float
    max_seconds: float


class DeliveryReport(WireModel):
    """The response to GET /v1/diagnostics/sessions/{sessionId}."""

    session_id: UUID
    user_id: str | None
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    last_received_at: datetime | None
    events_count: int
    events_stored: int
    batches: Batches
    dropped: int
    """Events that the client dropped from its queue."""
    rejected: int
    clock_skew_ms: int | None
    """The server's clock minus the client's when the latest batch was sent."""
    lateness: Lateness | None
    user_conflicts: int
    """Batches with another userId than the session's."""
    verdict: str
    remedy: str | None


def find_delivery_report(connection: Connection, project_id: UUID, session_id: UUID) -> DeliveryReport | None:
    """Get a session's delivery report; None if none of its batches was stored."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            query("diagnostics/get_delivery_report"), {"project_id": project_id, "session_id": session_id}
        ).fetchone()
    if row is None:
        return None
    batches = {"received": row.pop("received"), "gaps": row.pop("gaps"), "missing": row.pop("missing")}
    median, longest = row.pop("median_seconds"), row.pop("max_seconds")
    verdict, remedy = _verdict(row, batches["gaps"], batches["missing"])
    return DeliveryReport(
        **{name: value for name, value in row.items() if name not in ("stored", "last_batch")},
        events_stored=row["stored"],
        batches=Batches(**batches, last=row["last_batch"]),
        lateness=None if median is None else Lateness(median_seconds=median, max_seconds=longest),
        verdict=verdict,
        remedy=remedy,
    )


def get_delivery_report(connection: Connection, access: Access, session_id: UUID) -> DeliveryReport:
    """Get a session's delivery report.

    Raises:
        NotFound: none of the session's batches was stored.
    """
    found = find_delivery_report(connection, access.project_id, session_id)
    if found is None:
        raise NotFound("No batch of this session has been stored; see GET /v1/diagnostics/rejections?sessionId=….")
    return found


def _verdict(row: dict[str, Any], gaps: list[list[int]], missing: int) -> tuple[str, str | None]:
    """The verdict and its remedy."""
    if row["events_count"] != row["stored"]:
        return (
            f"The session's counter says {row['events_count']} events, but {row['stored']} are stored.",
            "Run the remedy of the check reconciliation of GET /v1/diagnostics: it corrects the counter.",
        )
    lost = []
    if missing:
        listed = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in gaps[:10])
        lost.append(f"{missing} of {row['last_batch']} batches have not arrived: {listed}")
    if row["dropped"]:
        lost.append(f"the client dropped {row['dropped']} events")
    if row["rejected"]:
        lost.append(f"{row['rejected']} events were rejected")
    if not lost:
        return "Every batch that the client numbered has arrived.", None
    sentence = "; ".join(lost)
    remedy = (
        "The client resends a missing batch by itself if it still has it. To find a batch in the logs, run the saved "
        "queries trace-one-batch and refused-before-lambda."
    )
    if row["rejected"]:
        remedy = f"GET /v1/diagnostics/rejections?sessionId={row['session_id']} lists the rejected events. {remedy}"
    return f"{sentence[0].upper()}{sentence[1:]}.", remedy
