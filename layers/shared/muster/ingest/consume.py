"""Buffered ingest, second half: stores the batches that enqueue.py queued, on the same two paths as direct ingest."""

from datetime import UTC, datetime
from typing import Any

import orjson
from psycopg.errors import CheckViolation

from muster.auth.keys import Access, note_use
from muster.auth.permissions import PERMISSIONS
from muster.db.client import Database, call
from muster.ingest.full_path import refusal_row
from muster.ingest.handler import StoredBatch, store_batch
from muster.ingest.log import DatabaseTimer, log_stored_rejections
from muster.ingest.models import Envelope
from muster.ingest.queue import unpack
from muster.ingest.results import BatchResponse
from muster.ingest.user_agents import Agent
from muster.platform.errors import DatabaseUnavailable, Detail, InvalidBatch, KeyRefused, RequestRefused
from muster.platform.logging import MetricsLine, log, log_with_metrics, work_for

_IDS = {"request_id": "requestId", "batch_id": "batchId", "session_id": "sessionId"}


def store_message(database: Database, text: str) -> None:
    """Store the batch in a message. Messages may be repeated or out of order.

    Raises:
        DatabaseUnavailable: the batch may not be stored; the message must stay in the queue.
        ValueError: this is not one of Muster's messages.
    """
    message = unpack(text)
    work_for(message["requestId"])
    access = Access(
        key_hash=bytes.fromhex(message["keyHash"]),
        request_id=message["requestId"],
        key_prefix=message["keyPrefix"],
        opts_out=message["optsOut"],
        allowed=PERMISSIONS["save_batch"],
    )
    try:
        if "refusal" in message:
            # rejected=0, because ingest has counted it.
            _quarantine(database, access, message, message["refusal"], rejected=0)
        else:
            _store(database, access, message)
    except KeyRefused as refusal:
        _log_refused(database, message, refusal)
        return
    if database.is_open and access.key_hash is not None:
        note_use(database.connection(), access.key_hash)


def _store(database: Database, access: Access, message: dict[str, Any]) -> None:
    timer = DatabaseTimer(database)

    def begin(response: BatchResponse, _: Envelope, path: str) -> MetricsLine:
        settings, result = database.settings, response.result
        return MetricsLine(
            "consume_result",
            {
                "EventsAccepted": result["accepted"],
                "EventsDuplicate": result["duplicates"],
                "EventsIgnored": result["ignored"],
            },
            service=settings.service_name,
            stage=settings.stage,
            **{name: message[key] for name, key in _IDS.items()},
            received=result["received"],
            path=path,
        )

    try:
        stored = store_batch(
            database,
            access,
            message["body"],
            Agent(*message["agent"]),
            batch_id=message["batchId"],
            received_at=message["receivedAt"],
            first_index=message["firstIndex"],
            begin_line=begin,
        )
    except DatabaseUnavailable as error:
        if not _is_permanent(error):
            raise
        log("ERROR", "batch_quarantined", sqlstate=error.sqlstate, batch_id=message["batchId"])
        _quarantine(database, access, message, _batch_rejection(message["body"], error), rejected=message["count"])
    except RequestRefused as refusal:
        # Another version of ingest accepted this batch. store_batch has put it into the quarantine.
        log("ERROR", "batch_quarantined", reason=refusal.code, batch_id=message["batchId"])
    else:
        _write(stored, message, timer)


def _write(stored: StoredBatch, message: dict[str, Any], timer: DatabaseTimer) -> None:
    # Ingest has already counted and logged the events that validation rejected.
    result = stored.response.result
    log_stored_rejections(result, stored.invalid, request_id=message["requestId"])
    times = timer.read()
    received_at = datetime.fromisoformat(message["receivedAt"])
    stored.line.write(
        {
            "EventsRejected": result["rejected"] - len(stored.invalid),
            "EventsUnaccounted": abs(result["accepted"] - stored.accepted),
            "DbWriteMs": times["DbWriteMs"],
            "DbConnectMs": times["DbConnectMs"],
            "QueueAgeMs": (datetime.now(UTC) - received_at).total_seconds() * 1000,
        },
        project=stored.project,
        key_prefix=stored.prefix,
    )


def _is_permanent(error: DatabaseUnavailable) -> bool:
    """Whether PostgreSQL will never accept this batch. A missing partition (23514) is not permanent."""
    state = error.sqlstate or ""
    return state[:2] in ("22", "23") and state != CheckViolation.sqlstate


def _batch_rejection(body: str, error: DatabaseUnavailable) -> dict[str, Any]:
    """One rejection for the whole batch, because PostgreSQL does not say which event is invalid."""
    kind = f"sqlstate_{(error.sqlstate or '').lower()}"
    message = "PostgreSQL cannot store this batch."
    refusal = InvalidBatch(message, details=[Detail(loc=[], type=kind, message=message)])
    return refusal_row(refusal, body) | {"reason": "storage_error"}


def _quarantine(
    database: Database, access: Access, message: dict[str, Any], row: dict[str, Any], *, rejected: int
) -> None:
    parameters = {
        "key_hash": access.key_hash,
        "request_id": access.request_id,
        "rejections": orjson.dumps([row]).decode(),
    }
    answer = database.run(call, "count_refused_request", parameters)
    access.raise_if_refused(answer)
    log_with_metrics(
        "consume_result",
        {
            "EventsAccepted": 0,
            "EventsDuplicate": 0,
            "EventsIgnored": 0,
            "EventsRejected": rejected,
            "EventsUnaccounted": 0,
        },
        service=database.settings.service_name,
        stage=database.settings.stage,
        **{name: message[key] for name, key in _IDS.items()},
        received=message["count"],
        path="quarantine",
        project=answer["project"],
        key_prefix=answer["prefix"],
    )


def _log_refused(database: Database, message: dict[str, Any], refusal: KeyRefused) -> None:
    # Without a valid key there is no project and so no quarantine. An alarm watches this metric.
    where = {name: message[key] for name, key in _IDS.items()}
    log("ERROR", "batch_refused", reason=refusal.code, key_prefix=message["keyPrefix"], **where)
    settings = database.settings
    metrics = {"EventsRefused": message["count"]}
    log_with_metrics("consume_refused", metrics, service=settings.service_name, stage=settings.stage, **where)
