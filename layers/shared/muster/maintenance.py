"""What is done every hour: the next partitions and, where there is one, the archive."""

from typing import Any

import psycopg

from muster.archive import archive_events
from muster.migrations import ensure_partitions
from muster.observability import log_with_metrics
from muster.settings import Settings

ARCHIVE_SECONDS = 120.0


def maintain(connection: psycopg.Connection[Any], settings: Settings) -> dict[str, Any]:
    """Do what is due; `connection` is in autocommit mode.

    Returns:
        {"status", "partitionsCreated", "archived": null | {"objects", "events", "complete"}}
    """
    partitions = ensure_partitions(connection)
    archived = _archive(connection, settings) if settings.archive_bucket else None
    return {"status": "ok", "partitionsCreated": partitions, "archived": archived}


def _archive(connection: psycopg.Connection[Any], settings: Settings) -> dict[str, Any]:
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
