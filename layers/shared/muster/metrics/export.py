"""Exports events as CSV or NDJSON, page by page."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import orjson

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.metrics.cursor import to_cursor
from muster.metrics.events import get_recent_events
from muster.metrics.models import StoredEvent
from muster.metrics.request import ExportRequest, Format

# Lambda limits a response to 6 MB.
MAX_BYTES = 4 * 1024 * 1024
COLUMNS = ("id", "sessionId", "userId", "eventType", "area", "timestamp", "receivedAt", "data")
CONTENT_TYPES: Mapping[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class ExportPage:
    """One page of the file."""

    text: str
    content_type: str
    next_cursor: str | None
    """The cursor of the next page; None on the last page."""


def export_events(connection: Connection, access: Access, request: ExportRequest) -> ExportPage:
    """Export a page of events, newest first. Only the first page of a CSV has a header line."""
    page = get_recent_events(connection, access, request.events)
    is_csv = request.format == "csv"
    lines = [_csv_line(COLUMNS)] if is_csv and request.events.cursor is None else []
    write: Callable[[StoredEvent], str] = _as_csv if is_csv else _as_json
    size, cursor = 0, page.next_cursor
    for number, event in enumerate(page.events):
        line = write(event)
        size += len(line.encode())
        if size > MAX_BYTES and number:
            last = page.events[number - 1]
            cursor = to_cursor(last.timestamp, last.session_id, last.id)
            break
        lines.append(line)
    return ExportPage("".join(lines), CONTENT_TYPES[request.format], cursor)


def _as_json(event: StoredEvent) -> str:
    return msgspec.json.encode(event).decode() + "\n"


def _as_csv(event: StoredEvent) -> str:
    values = msgspec.to_builtins(event)
    return _csv_line([*(values[name] for name in COLUMNS[:-1]), orjson.dumps(values["data"]).decode()])


def _csv_line(values: object) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(values)  # type: ignore[arg-type]
    return text.getvalue()
