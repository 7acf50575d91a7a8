"""What became of a batch and its events: the shapes of the wire contract."""

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
    """Values left out of events' data, for the project does not keep such; not known of a queued batch."""
    events: list[EventResult]


class Saved(NamedTuple):
    """What became of a batch, and the JSON that its client is told of it."""

    result: BatchResult
    text: str


def told(result: BatchResult) -> Saved:
    """The result with its JSON."""
    return Saved(result, msgspec.json.encode(result).decode())
