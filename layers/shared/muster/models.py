"""The schema of what clients send."""

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
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


EVENT = TypeAdapter(EventIn)
ENVELOPE = TypeAdapter(EnvelopeIn)
