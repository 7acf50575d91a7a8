"""Buffered ingest: batches validated and queued by one function, and stored from the queue by another."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from psycopg.errors import CheckViolation

from muster.auth.keys import Access, note_use
from muster.db.client import Database, call
from muster.http.body import RawBody, read_text
from muster.ingest.log import log_rejection, log_rejections
from muster.ingest.parse import Batch, read_batch
from muster.ingest.queue import MAX_MESSAGE_BYTES, pack, send, unpack
from muster.ingest.results import BatchResult, Saved, told
from muster.ingest.store import describe, described_text, judged_events, record, refusal_row, summed_up
from muster.platform.errors import DatabaseUnavailable, Detail, InvalidBatch, InvalidKey, KeyNotAllowed, RequestRefused
from muster.platform.logging import log, log_with_metrics, work_for
from muster.platform.settings import Settings
from muster.validation.json_spans import Slice, elements, members
from muster.validation.limits import MAX_EVENTS

_WRITE_PREFIXES = ("mw_", "ma_")
_READ_PREFIX = "mr_"


def queue_request(settings: Settings, access: Access, body: RawBody) -> Saved:
    """Queue a batch durably; what passed validation is `queued`, and consent, age and duplicates are judged later.

    Raises:
        RequestRefused: nothing of it was queued.
        KeyRefused: the key is none that may write, as far as it shows: only the database knows all of them.
        DatabaseUnavailable: it is not known to be queued; the same batch may be sent again.
    """
    _check_kind(access)
    batch = _read(settings, access, body)
    batch_id = str(uuid.uuid4())
    received_at = datetime.now(UTC).isoformat()
    described = {**describe(batch, batch_id, access), "receivedAt": received_at}
    started = time.perf_counter()
    send(settings, list(_messages(access, described, batch.body)))
    result = summed_up(batch_id, "queued", judged_events(batch, "queued"))
    _log_queued(settings, access, batch, result, (time.perf_counter() - started) * 1000)
    return told(result)


def _read(settings: Settings, access: Access, body: RawBody) -> Batch:
    """The request's batch; one that is refused as a whole is queued for the quarantine."""
    text: str | None = None
    try:
        text = read_text(body)
        return read_batch(text, access.user_agent)
    except RequestRefused as refusal:
        nothing = {"count": 0, "bots": [], "contexts": {}, "sessionId": None, "userId": None, "batchId": None}
        rejections = [refusal_row(refusal, text)]
        now = datetime.now(UTC).isoformat()
        request = {**nothing, "requestId": access.request_id, "rejections": rejections, "receivedAt": now}
        try:
            send(settings, list(_messages(access, request, '{"events":[]}')))
        except DatabaseUnavailable as error:
            # The client must hear what is wrong with its request even while nobody can count it.
            log("WARN", "refusal_not_counted", reason=refusal.code, error=error.code)
        raise


def store_message(database: Database, text: str) -> None:
    """Store one message's batch; that it comes again, or out of order, changes nothing.

    Raises:
        DatabaseUnavailable: it is not stored; it must stay in the queue.
        ValueError: it is none of ours.
    """
    message = unpack(text)
    request = message["request"]
    work_for(request["requestId"])
    started = time.perf_counter()
    described, key_hash = described_text(request), bytes.fromhex(message["keyHash"])
    where = {"request_id": request["requestId"], "batch_id": request["batchId"], "session_id": request["sessionId"]}
    try:
        answer = database.run(record, key_hash, described, message["body"])
    except DatabaseUnavailable as error:
        if not _is_permanent(error):
            raise
        log("ERROR", "batch_quarantined", sqlstate=error.sqlstate, **where)
        answer = database.run(call, "record_refused_request", _whole(key_hash, message, error))
        answer |= {
            "accepted": 0,
            "mode": "quarantined",
            "others": [[n, "rejected", None] for n in range(request["count"])],
        }
    received = request["count"] + len(request["rejections"])
    service, stage = database.settings.service_name, database.settings.stage
    if refusal := answer.get("refused"):
        # Its project is not known, so there is no quarantine for it; the alarm on this number is all that is left.
        log("ERROR", "batch_refused", reason=refusal, key_prefix=message["keyPrefix"], **where)
        log_with_metrics("consume_refused", {"EventsRefused": received}, service=service, stage=stage, **where)
        return
    if database.is_open:
        note_use(database.connection(), key_hash)
    _log_rejected(message, answer["others"])
    others = Counter(status for _, status, _ in answer["others"])
    metrics = {
        "EventsAccepted": answer["accepted"],
        "EventsDuplicate": others["duplicate"],
        "EventsRejected": others["rejected"],
        "EventsIgnored": others["ignored"],
        "EventsUnaccounted": abs(request["count"] - answer["accepted"] - others.total()),
        "DbWriteMs": (time.perf_counter() - started) * 1000,
        "DbConnectMs": database.take_connect_ms(),
        "QueueAgeMs": (datetime.now(UTC) - datetime.fromisoformat(request["receivedAt"])).total_seconds() * 1000,
    }
    log_with_metrics(
        "consume_result",
        metrics,
        service=service,
        stage=stage,
        **where,
        project=answer["project"],
        key_prefix=answer["prefix"],
        received=received,
        path=answer["mode"],
    )


def _is_permanent(error: DatabaseUnavailable) -> bool:
    """Whether PostgreSQL refuses what the message says, and would refuse it for ever; 23514 is a missing partition."""
    state = error.sqlstate or ""
    return state[:2] in ("22", "23") and state != CheckViolation.sqlstate


def _whole(key_hash: bytes, message: dict[str, Any], error: DatabaseUnavailable) -> dict[str, Any]:
    """The message as one rejection, for what is wrong is none of its events alone."""
    said = Detail(loc=[], type=f"sqlstate_{(error.sqlstate or '').lower()}", message="PostgreSQL refuses this batch.")
    refusal = InvalidBatch("PostgreSQL refuses this batch.", details=[said])
    row = refusal_row(refusal, message["body"]) | {"reason": "storage_error"}
    request = message["request"]
    return {"key_hash": key_hash, "request_id": request["requestId"], "rejections": orjson.dumps([row]).decode()}


def _log_rejected(message: dict[str, Any], others: list[tuple[int, str, str | None]]) -> None:
    """One line for each event that only the database could reject; ingest has written those of validation."""
    rejected = [(position, reason) for position, status, reason in others if status == "rejected" and reason]
    if not rejected:
        return
    request = message["request"]
    events = _events(message["body"])
    for position, reason in rejected:
        event, _ = events[position]
        log_rejection(
            request_id=request["requestId"],
            batch_id=request["batchId"],
            index=request["indexes"][position] if "indexes" in request else position,
            event_id=event.get("id"),
            reason=reason,
            types=[reason],
        )


def _check_kind(access: Access) -> None:
    if access.key_prefix.startswith(_READ_PREFIX):
        raise KeyNotAllowed(access.allowed)
    if not access.key_prefix.startswith(_WRITE_PREFIXES):
        raise InvalidKey


def _messages(access: Access, described: dict[str, Any], body: str) -> Iterator[str]:
    """The batch in as few messages as SQS's limit allows."""
    key = {"keyHash": (access.key_hash or b"").hex(), "keyPrefix": access.key_prefix}
    text = pack({**key, "request": described, "body": body})
    if len(text) <= MAX_MESSAGE_BYTES or described["count"] <= 1:
        yield text
        return
    for half, events in _halves(described, body):
        yield from _messages(access, half, events)


def _halves(described: dict[str, Any], body: str) -> Iterator[tuple[dict[str, Any], str]]:
    slices = [as_sent for _, as_sent in _events(body)]
    middle = len(slices) // 2
    indexes = described.get("indexes") or list(range(len(slices)))
    for start, end in ((0, middle), (middle, len(slices))):
        half = {
            **described,
            "count": end - start,
            "bots": [position - start for position in described["bots"] if start <= position < end],
            "indexes": indexes[start:end],
            "rejections": described["rejections"] if start == 0 else [],
        }
        yield half, f'{{"events":[{",".join(slices[start:end])}]}}'


def _events(body: str) -> list[Slice]:
    fields = members(body) or {}
    return elements(fields["events"][1], most=MAX_EVENTS) or []


def _log_queued(settings: Settings, access: Access, batch: Batch, result: BatchResult, send_ms: float) -> None:
    log_rejections(result, request_id=access.request_id)
    metrics = {
        "EventsReceived": result["received"],
        "EventsQueued": result["accepted"],
        "EventsRejected": result["rejected"],
        "EventsUnaccounted": abs(result["received"] - result["accepted"] - result["rejected"]),
        "QueueSendMs": send_ms,
    }
    log_with_metrics(
        "ingest_result",
        metrics,
        service=settings.service_name,
        stage=settings.stage,
        request_id=access.request_id,
        batch_id=result["batchId"],
        key_prefix=access.key_prefix,
        session_id=batch.envelope.get("sessionId"),
        received=result["received"],
        accepted=result["accepted"],
        rejected=dict(Counter(rejection.reason for rejection in batch.rejections)),
        mode=settings.ingest_mode,
    )
