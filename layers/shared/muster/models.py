"""What clients send and what they get back: the shapes of the wire contract."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from muster.errors import Detail

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# What both Python and PostgreSQL read, and read alike: PostgreSQL has no offset of 16 hours or more.
TIME_PATTERN = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
    "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)$"
)
MAX_EVENTS = 1_000
MAX_DATA_BYTES = 32 * 1024
MAX_CONTEXT_BYTES = 4 * 1024
MAX_DEPTH = 32
MAX_INT4 = 2**31 - 1

Uuid = Annotated[str, StringConstraints(strict=True, pattern=UUID_PATTERN)]
Time = Annotated[str, StringConstraints(strict=True, pattern=TIME_PATTERN)]
UserId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100, pattern=r"\S")]
Area = Annotated[str, StringConstraints(strict=True, max_length=100, pattern=r"^$|\S")]  # empty is as absent
Context = dict[str, Any]
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_INT4)]
Sequence = Annotated[int, Field(strict=True, ge=1, le=MAX_INT4 - 1)]


class EventIn(TypedDict):
    """One event as sent."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it off the TypedDict

    id: NotRequired[Uuid | None]
    sessionId: NotRequired[Uuid | None]
    userId: NotRequired[UserId | None]
    context: NotRequired[Context | None]
    eventType: Name
    area: NotRequired[Area | None]
    timestamp: Time
    data: NotRequired[dict[str, Any] | None]


class EnvelopeIn(TypedDict):
    """A batch as sent, less its events."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it off the TypedDict

    sessionId: NotRequired[Uuid | None]
    userId: NotRequired[UserId | None]
    sentAt: NotRequired[Time | None]
    sequence: NotRequired[Sequence | None]
    dropped: NotRequired[Count | None]
    context: NotRequired[Context | None]


class SessionIn(TypedDict):
    """A session as sent."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic reads it off the TypedDict

    userId: NotRequired[UserId | None]
    startedAt: NotRequired[Time | None]
    endedAt: NotRequired[Time | None]
    context: NotRequired[Context | None]
    sequence: NotRequired[Sequence | None]
    dropped: NotRequired[Count | None]


EVENT = TypeAdapter(EventIn)
ENVELOPE = TypeAdapter(EnvelopeIn)
SESSION = TypeAdapter(SessionIn)
UUID = TypeAdapter(Uuid)

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
    events: list[EventResult]


class WireModel(BaseModel):
    """A model that is camelCase on the wire and snake_case here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Session(WireModel):
    """A session as answered."""

    session_id: str
    user_id: str | None
    started_at: str
    last_seen_at: str
    ended_at: str | None
    duration_seconds: float
    events_count: int
    is_active: bool
    created: bool
