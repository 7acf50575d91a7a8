"""What is done from time to time: partitions, the quarantine's bounds, the books, the rollups, and the archive."""

import time
from typing import Any

from psycopg.rows import dict_row

from muster.db.client import Connection, call_value
from muster.db.migrate import ensure_partitions
from muster.db.queries import query, rows_of
from muster.maintenance.archive import archive_events
from muster.metrics.rollups import roll_forward
from muster.platform.logging import log, log_with_metrics
from muster.platform.settings import Settings
from muster.quarantine.rejections import trim_rejections

ARCHIVE_SECONDS = 120.0
ROLLUP_SECONDS = 120.0
FOLDED_AT_ONCE = 50_000
SESSIONS_RECONCILED = 10_000
# It reads more at once than the role's other statements may.
STATEMENT_TIMEOUT = "60s"


def fold(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Fold what has come since, so that an answer has little to count; `connection` is in autocommit mode.

    Returns:
        {"status", "folded": {"events", "complete"}}
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
    folded = _fold(connection)
    metrics = {"EventsFolded": folded["events"]}
    log_with_metrics("fold_result", metrics, service=settings.service_name, stage=settings.stage, **folded)
    return {"status": "ok", "folded": folded}


def maintain(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Do what is due every hour, folding included; `connection` is in autocommit mode.

    Returns:
        {"status", "partitionsCreated", "rejectionsTrimmed", "reconciled": {"sessions", "differing"},
        "folded": {"events", "complete"}, "rangesSummarized",
        "archived": null | {"objects", "events", "complete"}}
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
    partitions = ensure_partitions(connection)
    trimmed = trim_rejections(connection)
    reconciled = _reconcile(connection)
    folded = _fold(connection)
    summarized = _summarize(connection)
    metrics: dict[str, float] = {
        "PartitionsCreated": partitions,
        "RejectionsTrimmed": trimmed,
        "SessionsReconciled": reconciled["sessions"],
        "EventsFolded": folded["events"],
        "RangesSummarized": summarized,
        # What the books are apart: an alarm when it is not 0.
        "EventsUnaccounted": reconciled.pop("eventsApart"),
    }
    log_with_metrics("maintain_result", metrics, service=settings.service_name, stage=settings.stage)
    archived = _archive(connection, settings) if settings.archive_bucket else None
    return {
        "status": "ok",
        "partitionsCreated": partitions,
        "rejectionsTrimmed": trimmed,
        "reconciled": reconciled,
        "folded": folded,
        "rangesSummarized": summarized,
        "archived": archived,
    }


def _reconcile(connection: Connection) -> dict[str, int]:
    """Count the events of sessions that were touched since the last time, against what the sessions say."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(rows_of("reconcile_sessions", ("most",)), {"most": SESSIONS_RECONCILED}).fetchall()
    for row in rows:
        if row["differing"]:
            log(
                "ERROR",
                "sessions_differ",
                project=row["project_id"],
                sessions=row["differing"],
                events=row["events_apart"],
            )
    return {
        "sessions": sum(row["sessions"] for row in rows),
        "differing": sum(row["differing"] for row in rows),
        "eventsApart": sum(row["events_apart"] for row in rows),
    }


def _fold(connection: Connection) -> dict[str, Any]:
    """Fold every project's events into its rollups, as far as the time allows."""
    until = time.monotonic() + ROLLUP_SECONDS
    events, complete = 0, True
    for (project_id,) in connection.execute(query("maintenance/get_all_project_ids")).fetchall():
        done = False
        call_value(connection, "settle_identities", {"project_id": project_id})
        while not done and time.monotonic() < until:
            folded, done = roll_forward(connection, project_id, FOLDED_AT_ONCE)
            events += folded
            if not folded:
                break  # all is folded, or a reader is at it
        complete = complete and done
    return {"events": events, "complete": complete}


def _summarize(connection: Connection) -> int:
    """Have the indexes of past months know all of their pages; how many ranges of pages they did not know."""
    return int(call_value(connection, "summarize_partitions", {}))


def _archive(connection: Connection, settings: Settings) -> dict[str, Any]:
    report = archive_events(
        connection, settings.archive_bucket or "", region=settings.aws_region, seconds=ARCHIVE_SECONDS
    )
    log_with_metrics(
        "archive_result",
        {"EventsArchived": report.events},
        service=settings.service_name,
        stage=settings.stage,
        objects=report.objects,
        complete=report.complete,
    )
    return {"objects": report.objects, "events": report.events, "complete": report.complete}
