"""Logs what became of a batch: one line for each rejected event, and one that carries the metrics."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from muster.db.client import Database
from muster.ingest.results import BatchResult, EventStatus
from muster.platform.logging import MetricsLine, log
from muster.platform.settings import Settings

if TYPE_CHECKING:
    from muster.ingest.models import EnvelopeIn


class Clock:
    """Takes the time of what the database does, from now on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._started, self._reconnects = time.perf_counter(), database.reconnects

    def read(self) -> dict[str, float]:
        """The metrics of the way to the database."""
        return {
            "DbWriteMs": (time.perf_counter() - self._started) * 1000,
            "DbConnectMs": self._database.take_connect_ms(),
            "DbReconnects": self._database.reconnects - self._reconnects,
        }


def begin_line(
    settings: Settings, result: BatchResult, envelope: "EnvelopeIn", *, request_id: str, path: str
) -> MetricsLine:
    """Begin the line that accounts for a batch with what the client will be told of it."""
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
        rejected=_reasons(result, "rejected") if result["rejected"] else {},
        ignored=_reasons(result, "ignored") if result["ignored"] else {},
        mode=settings.ingest_mode,
        path=path,
    )


def write_line(
    line: MetricsLine,
    result: BatchResult,
    answer: dict[str, Any],
    timings: dict[str, float],
    envelope: "EnvelopeIn",
) -> None:
    """Write the line: `answer` is what the database said of the batch, `timings` are metrics of their own."""
    metrics = {
        # What the database counted as stored against what the client is told: an alarm when it is not 0.
        "EventsUnaccounted": abs(result["accepted"] - answer["accepted"]),
        **timings,
    }
    sent_at = envelope.get("sentAt")
    if sent_at is not None:
        metrics["IngestLagMs"] = (datetime.now(UTC) - datetime.fromisoformat(sent_at)).total_seconds() * 1000
    line.write(metrics, project=answer["project"], key_prefix=answer.get("prefix"), db_ms=timings["DbWriteMs"])


def log_rejections(result: BatchResult, *, request_id: str) -> None:
    """Write one line for each event of a batch that is rejected."""
    for event in result["events"]:
        if event["status"] == "rejected":
            log_rejection(
                request_id=request_id,
                batch_id=result["batchId"],
                index=event["index"],
                event_id=event["id"],
                reason=event["reason"],
                types=[detail["type"] for detail in event.get("details", [])],
            )


def log_rejection(
    *, request_id: str, batch_id: str, index: int, event_id: str | None, reason: str, types: list[str]
) -> None:
    """Write one line for a rejected event; `types` are those of its details, as pydantic names them."""
    log(
        "WARN",
        "event_rejected",
        request_id=request_id,
        batch_id=batch_id,
        index=index,
        event_id=event_id,
        reason=reason,
        types=types,
    )


def _reasons(result: BatchResult, status: EventStatus) -> dict[str, int]:
    return dict(Counter(event["reason"] for event in result["events"] if event["status"] == status))
