"""The result of a batch and its events, as in the API's response."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, NotRequired, TypedDict

import msgspec

from muster.platform.errors import Detail

EventStatus = Literal["accepted", "duplicate", "rejected", "ignored", "queued"]


class EventResult(TypedDict):
    """The result of one event."""

    index: int
    id: str | None
    status: EventStatus
    reason: NotRequired[str]
    details: NotRequired[list[Detail]]


class BatchResult(TypedDict):
    """The result of a batch: received = accepted + duplicates + rejected + ignored."""

    batchId: str
    status: Literal["committed", "queued"]
    received: int
    accepted: int
    duplicates: int
    rejected: int
    ignored: int
    redacted: NotRequired[int]
    """The number of values redacted from data; absent for a queued batch."""
    events: list[EventResult]


class BatchResponse(NamedTuple):
    """The result of a batch and its JSON text."""

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
    statuses = [event["status"] for event in events]
    accepted = statuses.count("accepted")
    # Most batches have no other status.
    others = Counter(statuses) if accepted < len(statuses) else {}
    result: BatchResult = {
        "batchId": batch_id,
        "status": status,
        "received": len(events),
        "accepted": accepted + others.get("queued", 0),
        "duplicates": others.get("duplicate", 0),
        "rejected": others.get("rejected", 0),
        "ignored": others.get("ignored", 0),
        **({} if redacted is None else {"redacted": redacted}),  # type: ignore[typeddict-item]  # its only optional key
        "events": list(events),
    }
    return BatchResponse(result, msgspec.json.encode(result).decode())
