"""Stores batches that are looked at event by event, and counts requests that are refused."""

import json
import uuid
from collections import Counter
from dataclasses import asdict
from typing import Any, Literal, cast

import orjson

from muster.auth.keys import Access, only_project
from muster.db.client import Connection, Database, call
from muster.ingest.fast_path import PlainBatch
from muster.ingest.log import Clock, begin_line, log_rejections, write_line
from muster.ingest.parse import Batch, RejectedEvent, in_full, refused_request
from muster.ingest.results import BatchResult, EventResult, EventStatus
from muster.platform.errors import Detail, MusterError, RequestRefused
from muster.platform.logging import log


def save_carefully(database: Database, access: Access, text: str, plain: PlainBatch | None) -> BatchResult:
    """Store a batch from its JSON text, or from what was read of it already; raises as events.save_batch does."""
    try:
        batch = in_full(plain, text, access.user_agent)
    except RequestRefused as refusal:
        note_refused(database, access, refusal, text)
        raise
    if access.key_hash is not None:
        # Who came so far has been tried the short way, or cannot go it.
        batch.is_plain = False
    batch_id = str(uuid.uuid4())
    described = described_text(describe(batch, batch_id, access))
    clock = Clock(database)
    answer = database.run(record, access.key_hash, described, batch.body)
    access.raise_if_refused(answer)
    result = _result(batch, batch_id, answer)
    timings = clock.read()
    log_rejections(result, request_id=access.request_id)
    line = begin_line(database.settings, result, batch.envelope, request_id=access.request_id, path=answer["mode"])
    write_line(line, result, answer, timings, batch.envelope)
    return result


def note_refused(database: Database, access: Access, refusal: RequestRefused, text: str | None) -> None:
    """Count a request that is refused as a whole; a key that may not write takes precedence over the refusal.

    Raises:
        KeyRefused: the key may not write events.
    """
    if access.key_hash is None:
        return
    rejection = refusal_row(refusal, text)
    parameters = {
        "key_hash": access.key_hash,
        "request_id": access.request_id,
        "rejections": orjson.dumps([rejection]).decode(),
    }
    try:
        answer = database.run(call, "record_refused_request", parameters)
    except MusterError as error:
        # The client must hear what is wrong with its request even while nobody can count it.
        log("WARN", "refusal_not_counted", request_id=access.request_id, reason=refusal.code, error=error.code)
        return
    access.raise_if_refused(answer)


def refusal_row(refusal: RequestRefused, text: str | None) -> dict[str, Any]:
    """A request that is refused as a whole, as the quarantine takes it."""
    details = refusal.details or [Detail(loc=["body"], type=refusal.code, message=refusal.message)]
    return _rejection_row(refused_request(refusal.code, details, text))


def record(connection: Connection, key_hash: bytes | None, described: str, body: str) -> dict[str, Any]:
    """Store a described batch in one round trip; without a key, for the database's only project."""
    parameters: dict[str, Any] = {"request": described, "body": body}
    if key_hash is not None:
        return call(connection, "record_events", {**parameters, "key_hash": key_hash})
    return call(connection, "store_batch", {**parameters, "project_id": only_project(connection), "kind": "write"})


def describe(batch: Batch, batch_id: str, access: Access) -> dict[str, Any]:
    """The batch as the database's function takes it, less its body."""
    envelope = batch.envelope
    # Absent, not null, where all are candidates: PostgreSQL's 'null' -> 0 is 'null'.
    indexes = {} if len(batch.candidates) == len(batch.ids) else {"indexes": batch.candidates}
    return {
        **indexes,
        "requestId": access.request_id,
        "optsOut": access.opts_out,
        "batchId": batch_id,
        "sessionId": envelope.get("sessionId"),
        "userId": envelope.get("userId"),
        "sequence": envelope.get("sequence"),
        "dropped": envelope.get("dropped"),
        "sentAt": envelope.get("sentAt"),
        "count": len(batch.candidates),
        "careful": not batch.is_plain,
        "bots": batch.bots,
        "contexts": batch.contexts,
        "rejections": [_rejection_row(rejection) for rejection in batch.rejections],
    }


def described_text(described: dict[str, Any]) -> str:
    """The JSON text of what describe() made, and what was added to it."""
    # Not orjson: a context may hold whole numbers of any length, as PostgreSQL does.
    return json.dumps(described)


def _rejection_row(rejection: RejectedEvent) -> dict[str, Any]:
    row = asdict(rejection)
    for ours, theirs in (
        ("payload_bytes", "payloadBytes"),
        ("event_id", "eventId"),
        ("session_id", "sessionId"),
        ("user_id", "userId"),
        ("occurred_at", "occurredAt"),
    ):
        row[theirs] = row.pop(ours)
    return row


def _result(batch: Batch, batch_id: str, answer: dict[str, Any]) -> BatchResult:
    events = judged_events(batch, "accepted")
    for position, status, reason in answer["others"]:
        index = batch.candidates[position]
        events[index]["status"] = status
        if reason is not None:
            events[index]["reason"] = reason
        if status == "rejected":
            events[index]["details"] = [_explained(reason, index, answer["windowDays"])]
    result = summed_up(batch_id, "committed", events)
    result["redacted"] = answer["redacted"]
    return result


def judged_events(batch: Batch, candidates: EventStatus) -> list[EventResult]:
    """The results of all events as validation leaves them, where the candidates have one status."""
    events: list[EventResult] = [
        {"index": index, "id": event_id, "status": candidates} for index, event_id in enumerate(batch.ids)
    ]
    for rejection in batch.rejections:
        index = cast(int, rejection.index)
        events[index] = {
            "index": index,
            "id": rejection.event_id,
            "status": "rejected",
            "reason": rejection.reason,
            "details": rejection.details,
        }
    return events


def summed_up(batch_id: str, status: Literal["committed", "queued"], events: list[EventResult]) -> BatchResult:
    """The result of a batch from those of its events."""
    counts = Counter(event["status"] for event in events)
    return {
        "batchId": batch_id,
        "status": status,
        "received": len(events),
        "accepted": counts["accepted"] + counts["queued"],
        "duplicates": counts["duplicate"],
        "rejected": counts["rejected"],
        "ignored": counts["ignored"],
        "events": events,
    }


def _explained(reason: str, index: int, window_days: int) -> Detail:
    if reason == "timestamp_out_of_range":
        message = (
            f"The event is older than {window_days} days or more than 24 hours ahead of the server; "
            "history is imported with an admin key."
        )
        return Detail(loc=["events", index, "timestamp"], type=reason, message=message)
    message = "PostgreSQL refuses a value of this event; the quarantine has its payload and the database's code."
    return Detail(loc=["events", index], type=reason, message=message)
