"""Copies newly committed events to S3 every hour, as compressed JSON lines by project and day received.

Each copy is planned first, and its object names come from the plan. If a run fails before the watermark has moved, the
next run writes the same objects under the same names.
"""

import gzip
import io
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from psycopg.rows import class_row

from muster.db.client import Connection
from muster.db.queries import query, rows_of

MOST_EVENTS = 100_000
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What one run copied."""

    objects: int
    events: int
    complete: bool
    """Whether all committed events are copied."""


@dataclass(frozen=True, slots=True)
class _Window:
    from_xid: int
    to_xid: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Row:
    project_id: UUID
    day: date
    line: str


def archive_events(connection: Connection, bucket: str, *, region: str, seconds: float) -> ArchiveReport:
    """Copy unarchived events for about `seconds`; `connection` is in autocommit mode.

    Raises:
        botocore.exceptions.ClientError: S3 refused an object. Earlier windows stay archived.
    """
    import boto3  # noqa: PLC0415 - it costs 333 ms of CPU, and only an archive needs it

    client = boto3.client("s3", region_name=region)
    deadline = time.monotonic() + seconds
    objects = events = 0
    while time.monotonic() < deadline:
        window = _next_window(connection)
        copied = 0
        for key, content, lines in _objects(connection, window):
            client.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/x-ndjson")
            copied += lines
            objects += 1
        moved = {"from_xid": window.from_xid, "to_xid": window.to_xid, "events": copied}
        connection.execute(query("maintenance/move_archive_watermark"), moved)
        events += copied
        if window.is_last:
            return ArchiveReport(objects, events, complete=True)
    return ArchiveReport(objects, events, complete=False)


def _next_window(connection: Connection) -> _Window:
    with connection.cursor(row_factory=class_row(_Window)) as cursor:
        window = cursor.execute(rows_of("next_archive_window", ("most",)), {"most": MOST_EVENTS}).fetchone()
        assert window is not None  # noqa: S101 - for the type checker: the function returns one row
        return window


def _objects(connection: Connection, window: _Window) -> Iterator[tuple[str, bytes, int]]:
    """Each object's name, its content and its number of lines."""
    name = f"{window.from_xid:019}-{window.to_xid:019}.ndjson.gz"
    with connection.transaction(), connection.cursor("archive", row_factory=class_row(_Row)) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(
            query("maintenance/get_events_for_archive"), {"from_xid": window.from_xid, "to_xid": window.to_xid}
        )
        for (project, day), rows in itertools.groupby(cursor, key=lambda row: (row.project_id, row.day)):
            yield f"events/project={project}/day={day}/{name}", *_compressed(rows)


def _compressed(rows: Iterator[_Row]) -> tuple[bytes, int]:
    content, lines = io.BytesIO(), 0
    # Without a time in the header, the same lines give the same bytes.
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as file:
        for row in rows:
            file.write(row.line.encode() + b"\n")
            lines += 1
    return content.getvalue(), lines
