"""What became of a batch and its events, as the wire contract has it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, NotRequired, TypedDict

import msgspec

from muster.platform.errors import Detail

EventStatus = Literal["accepted", "duplicate", "rejected", "ignored", "queued"]


class EventResult(TypedDict):
    """What became of one event."""

    index: int
    id: str | None
    status: EventStatus
    reason: NotRequired[str]
    details: NotRequired[list[Detail]]


class BatchResult(TypedDict):
    """What became of a batch: received = accepted + duplicates + rejected + ignored."""

    batchId: str
    status: Literal["committed", "queued"]
    received: int
    accepted: int
    duplicates: int
    rejected: int
    ignored: int
    redacted: NotRequired[int]
    """Values left out of data that the project does not store; not known yet of a queued batch."""
    events: list[EventResult]


class BatchResponse(NamedTuple):
    """The result of a batch, and its JSON text."""

    result: BatchResult
    text: str


def make_response(
    batch_id: str,
    events: Sequence[EventResult],
    *,
    status: Literal["committed", "queued"] = "committed",
    redacted: int | None = None,
) -> BatchResponse:
    """The response to a batch from the results of its events."""
    # Faster than a Counter for the few events of most batches.
    statuses = [event["status"] for event in events]
    result: BatchResult = {
        "batchId": batch_id,
        "status": status,
        "received": len(events),
        "accepted": statuses.count("accepted") + statuses.count("queued"),
        "duplicates": statuses.count("duplicate"),
        "rejected": statuses.count("rejected"),
        "ignored": statuses.count("ignored"),
        **({} if redacted is None else {"redacted": redacted}),  # type: ignore[typeddict-item]  # its one optional key
        "events": list(events),
    }
    return BatchResponse(result, msgspec.json.encode(result).decode())
