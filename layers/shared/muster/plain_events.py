"""Stores plain batches, as almost every one is."""

import uuid

from muster.database import Database
from muster.ingest_log import Clock, begin_line, write_line
from muster.keys import Sender, raise_if_refused
from muster.observability import MetricsLine
from muster.plain_batches import PlainBatch
from muster.results import BatchResult, EventResult, Saved, told
from muster.rights import RIGHTS
from muster.sql import query

_OF_ONE = ("ids", "event_types", "areas", "first", "data")
_OF_MANY = ("first", "last", "ids", "event_types", "areas", "times", "data")


def save_plain(database: Database, sender: Sender, batch: PlainBatch, key_hash: bytes) -> Saved | None:
    """Store a plain batch; None when nothing of it is stored, for the database says that it needs a closer look."""
    batch_id = str(uuid.uuid4())
    clock = Clock(database)

    def prepare() -> tuple[Saved, MetricsLine]:
        saved = told(_all_accepted(batch_id, batch.ids))
        settings, request_id = database.settings, sender.request_id
        return saved, begin_line(settings, saved.result, batch.envelope, request_id=request_id, path="plain")

    statement, values = _statement(batch, batch_id, key_hash)
    text, (saved, line) = database.execute_one(statement, values, meanwhile=prepare)
    if text == b"closer":
        return None
    kind, value, *project = text.decode().split()
    if kind == "refused":
        raise_if_refused({kind: value}, RIGHTS["save_events"])
    answer = {"accepted": int(value), "project": project[0], "prefix": sender.key_prefix}
    write_line(line, saved.result, answer, clock.read(), batch.envelope)
    return saved


def _all_accepted(batch_id: str, ids: list[str]) -> BatchResult:
    events: list[EventResult] = [
        {"index": index, "id": event_id, "status": "accepted"} for index, event_id in enumerate(ids)
    ]
    return {
        "batchId": batch_id,
        "status": "committed",
        "received": len(events),
        "accepted": len(events),
        "duplicates": 0,
        "rejected": 0,
        "ignored": 0,
        "redacted": 0,
        "events": events,
    }


def _statement(batch: PlainBatch, batch_id: str, key_hash: bytes) -> tuple[bytes, list[str | None]]:
    """The call of muster.record_plain_event or muster.record_plain_batch, and its parameters."""
    envelope, columns = batch.envelope, batch.columns
    sequence, dropped = envelope.get("sequence"), envelope.get("dropped")
    values = [
        f"\\x{key_hash.hex()}",
        batch_id,
        envelope.get("sessionId"),
        envelope.get("userId"),
        None if sequence is None else str(sequence),
        None if dropped is None else str(dropped),
        envelope.get("sentAt"),
        batch.browser,
        batch.context,
    ]
    if len(batch.ids) == 1:
        return query("record_plain_event"), [*values, *map(columns.__getitem__, _OF_ONE)]
    return query("record_plain_batch"), [*values, *map(columns.__getitem__, _OF_MANY), str(len(batch.ids))]
