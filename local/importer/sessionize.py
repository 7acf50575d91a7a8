"""Turns the requests of an access log into events and sessions."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from local.importer.access_log import LogRecord
from muster.ingest.user_agents import browser_family

QUIET = timedelta(minutes=30)
# Do not change it: a second import of the same log must produce the same ids.
_NAMESPACE = uuid.UUID("8f1b7f0c-6c5e-5d0a-9a52-4c0d3b1f7e21")
_ASSETS = frozenset(
    (
        *("css", "js", "mjs", "map"),
        *("png", "jpg", "jpeg", "gif", "ico", "svg", "webp", "avif", "bmp", "tif", "tiff", "cur"),
        *("woff", "woff2", "ttf", "otf", "eot"),
    )
)
_ERROR_STATUS = 400
_MAX_AREA = 100
_MAX_AGENT = 1_000  # the context of an event may have 4 KB


@dataclass(frozen=True, slots=True)
class ImportedEvent:
    """One event, ready to send, and the number of its line."""

    line: int
    at: datetime
    session_id: str
    body: bytes


def make_events(records: Iterable[tuple[int, LogRecord]]) -> Iterator[ImportedEvent]:
    """The events of all (line number, record) pairs, session by session. The same log gives the same events."""
    for visit in _visits(records):
        yield from _events_of(visit)


def _visits(records: Iterable[tuple[int, LogRecord]]) -> list[list[tuple[int, LogRecord]]]:
    """Group requests into visits: 30 minutes without a request end one. The lines of a log may be out of order."""
    by_client: dict[str, list[tuple[int, LogRecord]]] = defaultdict(list)
    for entry in records:
        by_client[entry[1].client].append(entry)
    visits: list[list[tuple[int, LogRecord]]] = []
    for entries in by_client.values():
        entries.sort(key=lambda entry: entry[1].at)  # the sort is stable: requests of the same second keep their order
        last: datetime | None = None
        for entry in entries:
            if last is None or entry[1].at - last > QUIET:
                visits.append([])
            visits[-1].append(entry)
            last = entry[1].at
    visits.sort(key=lambda visit: visit[0][1].at)
    return visits


def _events_of(visit: list[tuple[int, LogRecord]]) -> Iterator[ImportedEvent]:
    first = visit[0][1]
    session_id = str(uuid.uuid5(_NAMESPACE, f"{first.client} {first.at.isoformat()}"))
    seen: Counter[bytes] = Counter()
    for line, record in visit:
        event = _event_of(record, session_id)
        # The server derives the id of an event from its content. Number identical requests of the same second, so each
        # stays an event of its own.
        content = orjson.dumps([event["eventType"], event["timestamp"], event["data"]])
        seen[content] += 1
        if seen[content] > 1:
            event["data"]["repeat"] = seen[content]
        yield ImportedEvent(line=line, at=record.at, session_id=session_id, body=orjson.dumps(event))


def _event_of(record: LogRecord, session_id: str) -> dict[str, Any]:
    path = _path(record)
    agent = (record.agent or "")[:_MAX_AGENT]
    return {
        "sessionId": session_id,
        "eventType": _event_type(record.status, path),
        "area": _area(path),
        "timestamp": record.at.isoformat().replace("+00:00", "Z"),
        "data": {
            "method": record.method,
            "path": path,
            "status": record.status,
            "bytes": record.size,
            "referrerHost": _host(record.referrer),
            "browser": (browser_family(agent) or "other") if agent else None,
        },
        # The server detects bots by it and does not store it. An empty one replaces that of the importer.
        "context": {"userAgent": agent},
    }


def _path(record: LogRecord) -> str | None:
    """The path of the request, without the query."""
    if record.target is None or record.method is None:
        return record.target
    if "://" in record.target.partition("?")[0]:  # a request to a proxy: GET http://host/path
        after_host = record.target.partition("://")[2]
        return "/" + after_host.partition("?")[0].partition("/")[2]
    return record.target.partition("?")[0]


def _event_type(status: int, path: str | None) -> str:
    if status >= _ERROR_STATUS:
        return "error_view"
    _, dot, extension = (path or "").rpartition("/")[2].rpartition(".")
    return "asset_view" if dot and extension.lower() in _ASSETS else "page_view"


def _area(path: str | None) -> str:
    if path is None or not path.startswith("/"):
        return "unknown"
    return path.strip("/").partition("/")[0][:_MAX_AREA] or "home"


def _host(referrer: str | None) -> str | None:
    try:
        return urlsplit(referrer).hostname if referrer else None
    except ValueError:  # http://[not-an-address/
        return None
