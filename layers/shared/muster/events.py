"""Stores batches of events and says what became of each: one round trip, one transaction."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import orjson

from muster.batches import Batch, of_plain, read_closely
from muster.bodies import RawBody, read_text
from muster.database import Connection, Database, call, execute_once
from muster.errors import Detail, MusterError, RequestRefused
from muster.ingest_log import log_batch
from muster.judgement import Rejection, refused_request
from muster.keys import WRITERS, only_project, raise_if_refused
from muster.models import BatchResult, EnvelopeIn, EventResult, EventStatus
from muster.observability import log
from muster.plain_batches import PlainBatch, read_plain_batch
from muster.sql import query

_WIRE_NAMES = {"event_type": "eventType", "session_id": "sessionId", "user_id": "userId"}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request, as far as we need to know."""

    key_hash: bytes | None
    """None acts for the database's only project."""
    request_id: str
    user_agent: str = ""
    key_prefix: str = ""
    """The key's first characters, which say its kind."""


def save_request(database: Database, sender: Sender, body: RawBody) -> BatchResult:
    """Store a batch from a request's body; raises as save_batch does."""
    try:
        text = read_text(body)
    except RequestRefused as refusal:
        note_refused(database, sender, refusal, None)
        raise
    return save_batch(database, sender, text)


def save_batch(database: Database, sender: Sender, text: str) -> BatchResult:
    """Store a batch from its JSON text; when this returns, what it calls accepted is committed.

    Raises:
        RequestRefused: nothing of it was stored; the refusal is counted in the quarantine.
        KeyRefused: the key may not write events.
        DatabaseUnavailable: nothing was stored; the same batch may be sent again.
    """
    plain = read_plain_batch(text, sender.user_agent)
    if plain is not None and sender.key_hash is not None:
        stored = _save_plain(database, sender, plain, sender.key_hash)
        if stored is not None:
            return stored
    try:
        batch = read_closely(text, sender.user_agent) if plain is None else of_plain(plain, text)
    except RequestRefused as refusal:
        note_refused(database, sender, refusal, text)
        raise
    if sender.key_hash is not None:
        # Who came so far has been tried the short way, or cannot go it.
        batch.is_plain = False
    batch_id = str(uuid.uuid4())
    described = orjson.dumps(describe(batch, batch_id, sender.request_id)).decode()
    clock = _Clock(database)
    answer = database.run(record, sender.key_hash, described, batch.body)
    raise_if_refused(answer, WRITERS)
    result = _result(batch, batch_id, answer)
    _log(database, sender, result, answer, clock.read(), batch.envelope)
    return result


def _save_plain(database: Database, sender: Sender, batch: PlainBatch, key_hash: bytes) -> BatchResult | None:
    """Store a plain batch; None when nothing of it is stored, for the database says that it needs a closer look."""
    batch_id = str(uuid.uuid4())
    clock = _Clock(database)
    row = database.run(execute_once, query("record_plain_events"), _plain_values(batch, batch_id, key_hash))
    refused, closer, project, prefix, accepted = row
    raise_if_refused({"refused": refused}, WRITERS)
    if closer == "t":
        return None
    answer = {"project": project, "prefix": prefix, "accepted": int(accepted or 0), "mode": "plain"}
    events: list[EventResult] = [
        {"index": index, "id": event_id, "status": "accepted"} for index, event_id in enumerate(batch.ids)
    ]
    result: BatchResult = {
        "batchId": batch_id,
        "status": "committed",
        "received": len(events),
        "accepted": len(events),
        "duplicates": 0,
        "rejected": 0,
        "ignored": 0,
        "events": events,
    }
    _log(database, sender, result, answer, clock.read(), batch.envelope)
    return result


def _plain_values(batch: PlainBatch, batch_id: str, key_hash: bytes) -> list[str | None]:
    """The parameters of muster.record_plain_events."""
    envelope, columns = batch.envelope, batch.columns
    sequence, dropped = envelope.get("sequence"), envelope.get("dropped")
    return [
        f"\\x{key_hash.hex()}",
        batch_id,
        envelope.get("sessionId"),
        envelope.get("userId"),
        None if sequence is None else str(sequence),
        None if dropped is None else str(dropped),
        envelope.get("sentAt"),
        batch.browser,
        batch.context,
        *(columns[name] for name in ("first", "last", "ids", "event_types", "areas", "times", "data")),
        str(len(batch.ids)),
    ]


class _Clock:
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


def _log(
    database: Database,
    sender: Sender,
    result: BatchResult,
    answer: dict[str, Any],
    timings: dict[str, float],
    envelope: EnvelopeIn,
) -> None:
    log_batch(
        database.settings,
        result,
        answer,
        timings,
        request_id=sender.request_id,
        session_id=envelope.get("sessionId"),
        sent_at=envelope.get("sentAt"),
    )


def batch_text(user_id: str | None, session_id: str | UUID, listed: Sequence[Mapping[str, Any]]) -> str:
    """The JSON text of a batch; names may be as on the wire or in snake_case, times texts or datetimes."""
    named = [{_WIRE_NAMES.get(name, name): value for name, value in event.items()} for event in listed]
    return json.dumps({"sessionId": session_id, "userId": user_id, "events": named}, default=_to_wire)


def note_refused(database: Database, sender: Sender, refusal: RequestRefused, text: str | None) -> None:
    """Count a request that is refused as a whole; a key that may not write takes precedence over the refusal.

    Raises:
        KeyRefused: the key may not write events.
    """
    if sender.key_hash is None:
        return
    rejection = refusal_row(refusal, text)
    parameters = {
        "key_hash": sender.key_hash,
        "request_id": sender.request_id,
        "rejections": orjson.dumps([rejection]).decode(),
    }
    try:
        answer = database.run(call, "record_refused_request", parameters)
    except MusterError as error:
        # The client must hear what is wrong with its request even while nobody can count it.
        log("WARN", "refusal_not_counted", request_id=sender.request_id, reason=refusal.code, error=error.code)
        return
    raise_if_refused(answer, WRITERS)


def refusal_row(refusal: RequestRefused, text: str | None) -> dict[str, Any]:
    """A request that is refused as a whole, as the quarantine takes it."""
    details = refusal.details or [Detail(loc=["body"], type=refusal.code, message=refusal.message)]
    return _rejection_row(refused_request(refusal.code, details, text))


def record(connection: Connection, key_hash: bytes | None, described: str, body: str) -> dict[str, Any]:
    """Store a described batch in one round trip; without a key, for the database's only project."""
    parameters: dict[str, Any] = {"request": described, "body": body}
    if key_hash is not None:
        return call(connection, "record_events", {**parameters, "key_hash": key_hash})
    project = only_project(connection)
    return call(connection, "store_batch", {**parameters, "project_id": project.project_id})


def describe(batch: Batch, batch_id: str, request_id: str) -> dict[str, Any]:
    """The batch as the database's function takes it, less its body."""
    envelope = batch.envelope
    # Absent, not null, where all are candidates: PostgreSQL's 'null' -> 0 is 'null'.
    indexes = {} if len(batch.candidates) == len(batch.ids) else {"indexes": batch.candidates}
    return {
        **indexes,
        "requestId": request_id,
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


def _rejection_row(rejection: Rejection) -> dict[str, Any]:
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
    return summed_up(batch_id, "committed", events)


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


def _to_wire(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"An event holds a {type(value).__name__}; JSON has no such type.")
