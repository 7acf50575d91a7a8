"""The answers about the quarantine."""

from datetime import datetime
from typing import Any
from uuid import UUID

from muster.wire import WireModel


class Rejection(WireModel):
    """An event, or a whole request, that was not stored."""

    id: int
    reason: str
    details: list[dict[str, Any]]
    payload: str | None
    """As received, cut at 16 Ki characters; none where consent forbids it, or after a replay."""
    payload_bytes: int | None
    event_id: str | None
    session_id: str | None
    user_id: str | None
    batch_id: UUID | None
    request_id: str | None
    index: int | None
    """Its place in the batch; none for a whole request."""
    occurred_at: datetime | None
    received_at: datetime
    last_received_at: datetime
    attempts: int
    """How often it came."""
    events: int
    """More than 1 where a flood was counted together."""
    replayed_at: datetime | None


class RejectionPage(WireModel):
    """The answer of GET /v1/diagnostics/rejections."""

    rejections: list[Rejection]
    next_cursor: str | None


class RejectionGroup(WireModel):
    """What was rejected for one reason."""

    reason: str
    events: int
    attempts: int
    first_received_at: datetime
    last_received_at: datetime


class RejectionGroups(WireModel):
    """The answer of GET /v1/diagnostics/rejections?group=reason."""

    groups: list[RejectionGroup]


class Replay(WireModel):
    """The answer of POST /v1/diagnostics/rejections/replay."""

    replayed: int
    still_rejected: int
    not_kept: int
    """Of those still rejected, what cannot be tried: its payload was cut, or is not kept for want of consent."""
    next_cursor: str | None
    """Where to go on when there was too much for one call."""
