"""The log lines of a batch: one for each rejected event, and one with the metrics."""

import time
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime

from muster.db.client import Database
from muster.ingest.models import Envelope
from muster.ingest.results import BatchResponse, BatchResult, EventStatus
from muster.platform.logging import MetricsLine, log
from muster.platform.settings import Settings


class DatabaseTimer:
    """Measures the time in the database, from the construction of the timer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._started, self._reconnects = time.perf_counter(), database.reconnects

    def read(self) -> dict[str, float]:
        """The metrics of the database since then."""
        return {
            "DbWriteMs": (time.perf_counter() - self._started) * 1000,
            "DbConnectMs": self._database.take_connect_ms(),
            "DbReconnects": self._database.reconnects - self._reconnects,
        }


def begin_ingest_line(
    settings: Settings, response: BatchResponse, envelope: Envelope, *, request_id: str, path: str
) -> MetricsLine:
    """Begin a batch's log line with the data of its response; write_ingest_line completes it."""
    result = response.result
    metrics: dict[str, float] = {
        "EventsReceived": result["received"],
        "EventsAccepted": result["accepted"],
        "EventsDuplicate": result["duplicates"],
        "EventsRejected": result["rejected"],
        "EventsIgnored": result["ignored"],
    }
    if result.get("redacted"):
        metrics["ValuesRedacted"] = result["redacted"]
    return MetricsLine(
        "ingest_result",
        metrics,
        service=settings.service_name,
        stage=settings.stage,
        request_id=request_id,
        batch_id=result["batchId"],
        session_id=envelope.get("sessionId"),
        received=result["received"],
        accepted=result["accepted"],
        duplicates=result["duplicates"],
        rejected=rejection_reasons(result),
        ignored=_reasons(result, "ignored") if result["ignored"] else {},
        mode=settings.ingest_mode,
        path=path,
    )


def write_ingest_line(
    line: MetricsLine,
    envelope: Envelope,
    timer: DatabaseTimer,
    *,
    unaccounted: int,
    project: str,
    key_prefix: str | None,
) -> None:
    """Write the line. `unaccounted` is the difference between the events stored and those answered as accepted."""
    times = timer.read()
    # An alarm goes off if EventsUnaccounted is not 0.
    metrics = {"EventsUnaccounted": unaccounted, **times}
    sent_at = envelope.get("sentAt")
    if sent_at is not None:
        metrics["IngestLagMs"] = (datetime.now(UTC) - datetime.fromisoformat(sent_at)).total_seconds() * 1000
    line.write(metrics, project=project, key_prefix=key_prefix, db_ms=times["DbWriteMs"])


def log_rejections(result: BatchResult, *, request_id: str) -> None:
    """Write a line for each rejected event of a batch, with the types of its details."""
    for event in result["events"]:
        if event["status"] == "rejected":
            log(
                "WARN",
                "event_rejected",
                request_id=request_id,
                batch_id=result["batchId"],
                index=event["index"],
                event_id=event["id"],
                reason=event["reason"],
                types=[detail["type"] for detail in event.get("details", [])],
            )


def log_stored_rejections(result: BatchResult, invalid: Collection[int], *, request_id: str) -> None:
    """Write a line for each event that the database rejected; `invalid` are the indexes that validation rejected."""
    events = [event for event in result["events"] if event["index"] not in invalid]
    log_rejections({**result, "events": events}, request_id=request_id)


def rejection_reasons(result: BatchResult) -> dict[str, int]:
    """The number of rejected events for each reason."""
    return _reasons(result, "rejected") if result["rejected"] else {}


def _reasons(result: BatchResult, status: EventStatus) -> dict[str, int]:
    return dict(Counter(event["reason"] for event in result["events"] if event["status"] == status))
