"""The full path: stores a batch event by event, and counts refused requests in the quarantine."""

import json
from dataclasses import asdict
from typing import Any

import orjson

from muster.auth.keys import Access, only_project
from muster.db.client import Connection, Database, call
from muster.ingest.parse import Batch, RejectedEvent, reject_request
from muster.ingest.results import BatchResponse, EventResult, EventStatus, make_response
from muster.platform.errors import Detail, MusterError, RequestRefused
from muster.platform.logging import log


def store_full_batch(
    database: Database, access: Access, batch: Batch, *, batch_id: str, received_at: str | None
) -> dict[str, Any]:
    """Store a batch in one round trip; returns the result of muster.store_full_path.

    Raises:
        KeyRefused: the key may not write events.
        DatabaseUnavailable: the database did not confirm the batch; the same batch may be sent again.
    """
    payload = make_payload(access, batch, batch_id=batch_id, received_at=received_at)
    answer = database.run(_store, access.key_hash, payload)
    access.raise_if_refused(answer)
    return answer


def make_payload(
    access: Access, batch: Batch, *, batch_id: str, received_at: str | None = None, **others: Any
) -> dict[str, str]:
    """The parameters `request` and `body` of muster.store_full_path, as JSON texts."""
    envelope = batch.envelope
    request = {
        # Absent rather than null if they equal the positions: in PostgreSQL, 'null' -> 0 is 'null'.
        **({} if batch.valid == list(range(len(batch.ids))) else {"indexes": batch.valid}),
        "requestId": access.request_id,
        "optsOut": access.opts_out,
        "batchId": batch_id,
        "sessionId": envelope.get("sessionId"),
        "userId": envelope.get("userId"),
        "sequence": envelope.get("sequence"),
        "dropped": envelope.get("dropped"),
        "sentAt": envelope.get("sentAt"),
        "receivedAt": received_at,
        "bots": batch.bots,
        "contexts": batch.contexts,
        "identities": [[session_id, user_id] for session_id, (_, user_id) in batch.named_users.items()],
        "rejections": [rejection_row(rejection) for rejection in batch.rejections],
        **others,
    }
    # Not orjson, which refuses the long integers that PostgreSQL can store.
    return {"request": json.dumps(request), "body": f'{{"events":[{",".join(batch.texts)}]}}'}


def full_response(batch: Batch, batch_id: str, answer: dict[str, Any]) -> BatchResponse:
    """The response to a batch, from the result of muster.store_full_path."""
    events = event_results(batch, "accepted")
    for position, status, reason in answer["others"]:
        index = batch.valid[position]
        event = events[index - batch.first_index]
        event["status"] = status
        if reason is not None:
            event["reason"] = reason
        if status == "rejected":
            event["details"] = [_explain(reason, index, answer["windowDays"])]
    return make_response(batch_id, events, redacted=answer["redacted"])


def event_results(batch: Batch, valid: EventStatus) -> list[EventResult]:
    """The results of all events after validation; `valid` is the status of the valid ones."""
    rejections = {rejection.index: rejection for rejection in batch.rejections}
    events: list[EventResult] = []
    for index, event_id in enumerate(batch.ids, start=batch.first_index):
        event: EventResult = {"index": index, "id": event_id, "status": valid}
        if rejection := rejections.get(index):
            event |= {"status": "rejected", "reason": rejection.reason, "details": rejection.details}
        events.append(event)
    return events


def count_refused_request(database: Database, access: Access, refusal: RequestRefused, text: str | None) -> None:
    """Count a refused request in the quarantine.

    Raises:
        KeyRefused: the key may not write events. The client gets this error instead of the refusal.
    """
    if access.key_hash is None:
        return
    parameters = {
        "key_hash": access.key_hash,
        "request_id": access.request_id,
        "rejections": orjson.dumps([refusal_row(refusal, text)]).decode(),
    }
    try:
        answer = database.run(call, "count_refused_request", parameters)
    except MusterError as error:
        # The client gets the error of its request even if the refusal cannot be counted.
        log("WARN", "refusal_not_counted", request_id=access.request_id, reason=refusal.code, error=error.code)
        return
    access.raise_if_refused(answer)


def refusal_row(refusal: RequestRefused, text: str | None) -> dict[str, Any]:
    """A refused request in the form that muster.quarantine expects."""
    details = refusal.details or [Detail(loc=["body"], type=refusal.code, message=refusal.message)]
    return rejection_row(reject_request(refusal.code, details, text))


def rejection_row(rejection: RejectedEvent) -> dict[str, Any]:
    """A rejected event in the form that muster.quarantine expects."""
    row = asdict(rejection)
    for name, wire_name in (
        ("payload_bytes", "payloadBytes"),
        ("event_id", "eventId"),
        ("session_id", "sessionId"),
        ("user_id", "userId"),
        ("occurred_at", "occurredAt"),
    ):
        row[wire_name] = row.pop(name)
    return row


def _store(connection: Connection, key_hash: bytes | None, payload: dict[str, str]) -> dict[str, Any]:
    if key_hash is not None:
        return call(connection, "ingest_full_path", {**payload, "key_hash": key_hash})
    # Without a key, as in an engineer's shell, the batch belongs to the database's only project.
    return call(connection, "store_full_path", {**payload, "project_id": only_project(connection), "kind": "write"})


def _explain(reason: str, index: int, window_days: int) -> Detail:
    if reason == "timestamp_out_of_range":
        message = (
            f"The event is older than {window_days} days or more than 24 hours ahead of the server. "
            "Use an admin key to import older events."
        )
        return Detail(loc=["events", index, "timestamp"], type=reason, message=message)
    message = "PostgreSQL cannot store a value of this event. The quarantine has its payload and the SQLSTATE."
    return Detail(loc=["events", index], type=reason, message=message)
