"""Logs what became of a batch: one line for each rejected event, and one that carries the metrics."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from muster.database import Database
from muster.observability import log, log_with_metrics
from muster.results import BatchResult, EventStatus
from muster.settings import Settings

if TYPE_CHECKING:
    from muster.models import EnvelopeIn


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


def log_batch(
    settings: Settings,
    result: BatchResult,
    answer: dict[str, Any],
    timings: dict[str, float],
    envelope: "EnvelopeIn",
    *,
    request_id: str,
) -> None:
    """Account for a batch; `answer` is what the database said of it, `timings` are metrics of their own."""
    sent_at = envelope.get("sentAt")
    if result["rejected"]:
        log_rejections(result, request_id=request_id)
    metrics = {
        "EventsReceived": result["received"],
        "EventsAccepted": result["accepted"],
        "EventsDuplicate": result["duplicates"],
        "EventsRejected": result["rejected"],
        "EventsIgnored": result["ignored"],
        # What the database counted as stored against what the client is told: an alarm when it is not 0.
        "EventsUnaccounted": abs(result["accepted"] - answer["accepted"]),
        **timings,
    }
    if result.get("redacted"):
        metrics["ValuesRedacted"] = result["redacted"]
    if sent_at is not None:
        metrics["IngestLagMs"] = (datetime.now(UTC) - datetime.fromisoformat(sent_at)).total_seconds() * 1000
    log_with_metrics(
        "ingest_result",
        metrics,
        service=settings.service_name,
        stage=settings.stage,
        request_id=request_id,
        batch_id=result["batchId"],
        project=answer["project"],
        key_prefix=answer.get("prefix"),
        session_id=envelope.get("sessionId"),
        received=result["received"],
        accepted=result["accepted"],
        duplicates=result["duplicates"],
        rejected=_reasons(result, "rejected") if result["rejected"] else {},
        ignored=_reasons(result, "ignored") if result["ignored"] else {},
        db_ms=timings["DbWriteMs"],
        mode=settings.ingest_mode,
        path=answer["mode"],
    )


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
