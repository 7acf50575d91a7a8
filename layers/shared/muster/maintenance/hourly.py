"""Runs scheduled work: partitions, the quarantine's limits, reconciliation, roll-ups and the archive."""

import time
from typing import Any

from psycopg.rows import dict_row

from muster.db.client import Connection, call_value
from muster.db.migrate import ensure_partitions
from muster.db.queries import query, rows_of
from muster.maintenance.archive import archive_events
from muster.metrics.rollups import roll_up
from muster.platform.logging import log, log_with_metrics
from muster.platform.settings import Settings
from muster.quarantine.rejections import trim_rejections

ARCHIVE_SECONDS = 120.0
ROLLUP_SECONDS = 120.0
ROLLED_UP_AT_ONCE = 50_000
SESSIONS_RECONCILED = 10_000
# Longer than the role's own, because maintenance reads more than requests do.
STATEMENT_TIMEOUT = "60s"


def roll_up_all(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Roll up new events, so that requests read few unrolled ones; `connection` is in autocommit mode.

    Returns:
        {"status", "rolledUp": {"events", "complete"}}
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
    rolled_up = _roll_up(connection)
    metrics = {"EventsRolledUp": rolled_up["events"]}
    log_with_metrics("rollup_result", metrics, service=settings.service_name, stage=settings.stage, **rolled_up)
    return {"status": "ok", "rolledUp": rolled_up}


def maintain(connection: Connection, settings: Settings) -> dict[str, Any]:
    """Run the hourly work, including the roll-up; `connection` is in autocommit mode.

    Returns:
        {"status", "partitionsCreated", "rejectionsTrimmed", "reconciled": {"sessions", "differing"},
        "rolledUp": {"events", "complete"}, "rangesSummarized",
        "archived": null | {"objects", "events", "complete"}}
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [STATEMENT_TIMEOUT])
    partitions = ensure_partitions(connection)
    trimmed = trim_rejections(connection)
    reconciled = _reconcile(connection)
    rolled_up = _roll_up(connection)
    summarized = _summarize(connection)
    metrics: dict[str, float] = {
        "PartitionsCreated": partitions,
        "RejectionsTrimmed": trimmed,
        "SessionsReconciled": reconciled["sessions"],
        "EventsRolledUp": rolled_up["events"],
        "RangesSummarized": summarized,
        # An alarm is raised if it is not 0.
        "EventsUnaccounted": reconciled.pop("eventsApart"),
    }
    log_with_metrics("maintain_result", metrics, service=settings.service_name, stage=settings.stage)
    archived = _archive(connection, settings) if settings.archive_bucket else None
    return {
        "status": "ok",
        "partitionsCreated": partitions,
        "rejectionsTrimmed": trimmed,
        "reconciled": reconciled,
        "rolledUp": rolled_up,
        "rangesSummarized": summarized,
        "archived": archived,
    }


def _reconcile(connection: Connection) -> dict[str, int]:
    """Compare the event counters of recently changed sessions with their stored events."""
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


def _roll_up(connection: Connection) -> dict[str, Any]:
    """Roll up every project until the time is up."""
    deadline = time.monotonic() + ROLLUP_SECONDS
    events, complete = 0, True
    for (project_id,) in connection.execute(query("maintenance/get_all_project_ids")).fetchall():
        done = False
        call_value(connection, "claim_pending_events", {"project_id": project_id})
        while not done and time.monotonic() < deadline:
            rolled_up, done = roll_up(connection, project_id, ROLLED_UP_AT_ONCE)
            events += rolled_up
            if not rolled_up:
                break  # everything is rolled up, or a reader is rolling up
        complete = complete and done
    return {"events": events, "complete": complete}


def _summarize(connection: Connection) -> int:
    """Complete the BRIN indexes of past months; returns how many page ranges were summarized."""
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
