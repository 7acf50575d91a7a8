"""The schema of what clients send.

It is written for pydantic's core: pydantic itself would only make it from annotations, and is most of what a cold start
costs whose first request has to be read closely.
"""

from typing import Any, NotRequired, TypedDict

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as schema

from muster.validation.limits import MAX_INT4, TIME_PATTERN, UUID_PATTERN

Context = dict[str, Any]


class EventIn(TypedDict):
    """One event as sent."""

    id: NotRequired[str | None]
    sessionId: NotRequired[str | None]
    userId: NotRequired[str | None]
    context: NotRequired[Context | None]
    eventType: str
    area: NotRequired[str | None]
    timestamp: str
    data: NotRequired[dict[str, Any] | None]


class EnvelopeIn(TypedDict):
    """A batch as sent, less its events."""

    sessionId: NotRequired[str | None]
    userId: NotRequired[str | None]
    sentAt: NotRequired[str | None]
    sequence: NotRequired[int | None]
    dropped: NotRequired[int | None]
    context: NotRequired[Context | None]


def _optional(kind: schema.CoreSchema) -> schema.TypedDictField:
    return schema.typed_dict_field(schema.nullable_schema(kind), required=False)


_UUID = schema.str_schema(strict=True, pattern=UUID_PATTERN)
_TIME = schema.str_schema(strict=True, pattern=TIME_PATTERN)
_USER_ID = schema.str_schema(strict=True, min_length=1, max_length=200)
_NAME = schema.str_schema(strict=True, min_length=1, max_length=100, pattern=r"\S")
_AREA = schema.str_schema(strict=True, max_length=100, pattern=r"^$|\S")  # empty is as absent
_OBJECT = schema.dict_schema(schema.str_schema(), schema.any_schema())
_SEQUENCE = schema.int_schema(strict=True, ge=1, le=MAX_INT4 - 1)
_COUNT = schema.int_schema(strict=True, ge=0, le=MAX_INT4)

EVENT = SchemaValidator(
    schema.typed_dict_schema(
        {
            "id": _optional(_UUID),
            "sessionId": _optional(_UUID),
            "userId": _optional(_USER_ID),
            "context": _optional(_OBJECT),
            "eventType": schema.typed_dict_field(_NAME),
            "area": _optional(_AREA),
            "timestamp": schema.typed_dict_field(_TIME),
            "data": _optional(_OBJECT),
        },
        extra_behavior="forbid",
    )
)
ENVELOPE = SchemaValidator(
    schema.typed_dict_schema(
        {
            "sessionId": _optional(_UUID),
            "userId": _optional(_USER_ID),
            "sentAt": _optional(_TIME),
            "sequence": _optional(_SEQUENCE),
            "dropped": _optional(_COUNT),
            "context": _optional(_OBJECT),
        },
        extra_behavior="forbid",
    )
)
