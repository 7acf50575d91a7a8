"""The schema of what clients send, and what models of answers have in common."""

from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from muster.limits import MAX_INT4, TIME_PATTERN, UUID_PATTERN

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

    __pydantic_config__ = ConfigDict(extra="forbid", defer_build=True)  # type: ignore[misc]  # pydantic reads it off the TypedDict

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

    __pydantic_config__ = ConfigDict(extra="forbid", defer_build=True)  # type: ignore[misc]  # pydantic reads it off the TypedDict

    sessionId: NotRequired[Uuid | None]
    userId: NotRequired[UserId | None]
    sentAt: NotRequired[Time | None]
    sequence: NotRequired[Sequence | None]
    dropped: NotRequired[Count | None]
    context: NotRequired[Context | None]


class SessionIn(TypedDict):
    """A session as sent."""

    __pydantic_config__ = ConfigDict(extra="forbid", defer_build=True)  # type: ignore[misc]  # pydantic reads it off the TypedDict

    userId: NotRequired[UserId | None]
    startedAt: NotRequired[Time | None]
    endedAt: NotRequired[Time | None]
    context: NotRequired[Context | None]
    sequence: NotRequired[Sequence | None]
    dropped: NotRequired[Count | None]


EVENT = TypeAdapter(EventIn)
ENVELOPE = TypeAdapter(EnvelopeIn)
SESSION = TypeAdapter(SessionIn)


class WireModel(BaseModel):
    """A model that is camelCase on the wire and snake_case here."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, defer_build=True)


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
