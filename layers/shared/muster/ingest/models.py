"""The fields of a batch and its events as clients send them.

The full path validates each field by its type here. The fast path decodes a stricter form (see fast_path.py).
"""

from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from muster.validation.limits import MAX_INT4, TIME_PATTERN, UUID_PATTERN, whole

Uuid = Annotated[str, Meta(pattern=whole(UUID_PATTERN))]
Time = Annotated[str, Meta(pattern=whole(TIME_PATTERN))]
UserId = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
Area = Annotated[str, Meta(max_length=100, pattern=r"^\Z|\S")]  # empty means absent
Sequence = Annotated[int, Meta(ge=1, le=MAX_INT4 - 1)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT4)]


class EventFields(msgspec.Struct):
    """The fields of an event."""

    eventType: Name  # noqa: N815 - as on the wire
    timestamp: Time
    id: Uuid | None = None
    sessionId: Uuid | None = None  # noqa: N815
    userId: UserId | None = None  # noqa: N815
    context: dict[str, Any] | None = None
    area: Area | None = None
    data: dict[str, Any] | None = None


class EnvelopeFields(msgspec.Struct):
    """The fields of a batch, without its events."""

    sessionId: Uuid | None = None  # noqa: N815
    userId: UserId | None = None  # noqa: N815
    sentAt: Time | None = None  # noqa: N815
    sequence: Sequence | None = None
    dropped: Count | None = None
    context: dict[str, Any] | None = None


class Event(TypedDict):
    """A valid event, as decoded."""

    eventType: str
    timestamp: str
    id: NotRequired[str | None]
    sessionId: NotRequired[str | None]
    userId: NotRequired[str | None]
    context: NotRequired[dict[str, Any] | None]
    area: NotRequired[str | None]
    data: NotRequired[dict[str, Any] | None]


class Envelope(TypedDict):
    """The envelope of a valid batch, as decoded: all fields but the events."""

    sessionId: NotRequired[str | None]
    userId: NotRequired[str | None]
    sentAt: NotRequired[str | None]
    sequence: NotRequired[int | None]
    dropped: NotRequired[int | None]
    context: NotRequired[dict[str, Any] | None]
