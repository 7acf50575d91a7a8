"""Buffered ingest, first half: validates a batch and queues it durably. consume.py stores it."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from muster.auth.keys import Access
from muster.http.body import RawBody, read_text
from muster.ingest.event_ids import new_batch_id
from muster.ingest.fast_path import read_fast_batch
from muster.ingest.full_path import event_results, refusal_row
from muster.ingest.log import log_rejections, rejection_reasons
from muster.ingest.models import Envelope
from muster.ingest.parse import parse_batch
from muster.ingest.queue import MAX_MESSAGE_BYTES, pack, send
from muster.ingest.results import BatchResponse, EventResult, make_response
from muster.ingest.user_agents import Agent, request_agent
from muster.platform.errors import DatabaseUnavailable, InvalidKey, KeyNotAllowed, RequestRefused
from muster.platform.logging import log, log_with_metrics
from muster.platform.settings import Settings
from muster.validation.json_spans import elements, members
from muster.validation.limits import MAX_EVENTS

_WRITE_PREFIXES = ("mw_", "ma_")
_READ_PREFIX = "mr_"


def queue_request(settings: Settings, access: Access, body: RawBody) -> BatchResponse:
    """Queue a batch durably. Valid events are `queued`; consent, age and duplicates are checked when they are stored.

    Raises:
        RequestRefused: the batch was not queued; the refusal is queued for the quarantine.
        KeyRefused: the key's prefix is not that of a write or admin key. Only the database can check the whole key.
        DatabaseUnavailable: it is unknown whether the batch is queued; the same batch may be sent again.
    """
    _check_kind(access)
    agent = request_agent(access.user_agent)
    text: str | None = None
    try:
        text = read_text(body)
        envelope, events = _validate(text, agent)
    except RequestRefused as refusal:
        _queue_refusal(settings, access, refusal, text)
        raise
    batch_id, started = new_batch_id(), time.perf_counter()
    send(settings, list(_messages(_header(access, batch_id, envelope, agent), text, count=len(events))))
    response = make_response(batch_id, events, status="queued")
    _log_queued(settings, access, envelope, response, (time.perf_counter() - started) * 1000)
    return response


def _validate(text: str, agent: Agent) -> tuple[Envelope, list[EventResult]]:
    fast = read_fast_batch(text, agent)
    if fast is not None:
        return fast.envelope, [
            {"index": index, "id": event_id, "status": "queued"} for index, event_id in enumerate(fast.ids)
        ]
    batch = parse_batch(text, agent)
    return batch.envelope, event_results(batch, "queued")


def _queue_refusal(settings: Settings, access: Access, refusal: RequestRefused, text: str | None) -> None:
    message = {**_header(access, None, {}, None), "count": 1, "refusal": refusal_row(refusal, text)}
    try:
        send(settings, [pack(message)])
    except DatabaseUnavailable as error:
        # The client gets the error of its request even if the refusal cannot be counted.
        log("WARN", "refusal_not_counted", reason=refusal.code, error=error.code)


def _header(access: Access, batch_id: str | None, envelope: Envelope, agent: Agent | None) -> dict[str, Any]:
    return {
        "keyHash": (access.key_hash or b"").hex(),
        "keyPrefix": access.key_prefix,
        "requestId": access.request_id,
        "optsOut": access.opts_out,
        "batchId": batch_id,
        "sessionId": envelope.get("sessionId"),
        "agent": agent,
        "receivedAt": datetime.now(UTC).isoformat(),
    }


def _check_kind(access: Access) -> None:
    if access.key_prefix.startswith(_READ_PREFIX):
        raise KeyNotAllowed(access.allowed)
    if not access.key_prefix.startswith(_WRITE_PREFIXES):
        raise InvalidKey


def _messages(header: dict[str, Any], text: str, *, count: int, first_index: int = 0) -> Iterator[str]:
    """The messages of a batch, which is halved until each part fits into SQS's limit. Each has its first index."""
    message = pack({**header, "count": count, "firstIndex": first_index, "body": text})
    if len(message) <= MAX_MESSAGE_BYTES or count <= 1:
        yield message
        return
    fields = members(text) or {}
    events = [as_sent for _, as_sent in elements(fields["events"][1], most=MAX_EVENTS) or []]
    envelope = "".join(f"{json.dumps(name)}:{as_sent}," for name, (_, as_sent) in fields.items() if name != "events")
    middle = len(events) // 2
    for start, half in ((0, events[:middle]), (middle, events[middle:])):
        part = f'{{{envelope}"events":[{",".join(half)}]}}'
        yield from _messages(header, part, count=len(half), first_index=first_index + start)


def _log_queued(
    settings: Settings, access: Access, envelope: Envelope, response: BatchResponse, send_ms: float
) -> None:
    result = response.result
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
        session_id=envelope.get("sessionId"),
        received=result["received"],
        accepted=result["accepted"],
        rejected=rejection_reasons(result),
        mode=settings.ingest_mode,
    )
