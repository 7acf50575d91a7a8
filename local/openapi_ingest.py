"""The schemas of ingest, written by hand: its validation is no model that msgspec can describe.

They go once ingest's models are structs: its route then names them as `body` and `answers`, as the other routes do.
"""

from collections.abc import Sequence
from typing import Any

from muster.validation.limits import TIME_PATTERN, UUID_PATTERN

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
UUID: Json = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
TIME: Json = {"type": "string", "format": "date-time", "pattern": TIME_PATTERN}
COUNT: Json = {"type": "integer", "minimum": 0}
USER: Json = {"type": "string", "minLength": 1, "maxLength": 200}


def ref(name: str) -> Json:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, required: Sequence[str], description: str) -> Json:
    return {"type": "object", "description": description, "properties": properties, "required": list(required)}


def _nullable(schema: Json, description: str = "") -> Json:
    return {"anyOf": [schema, {"type": "null"}], **({"description": description} if description else {})}


SCHEMAS: Json = {
    "EventIn": _object(
        {
            "id": _nullable(UUID, "Derived from the content where it is not sent."),
            "sessionId": _nullable(UUID, "In place of the batch's."),
            "userId": _nullable(USER, "In place of the batch's."),
            "context": _nullable({"type": "object"}, "In place of the batch's."),
            "eventType": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S"},
            "area": _nullable({"type": "string", "maxLength": 100}),
            "timestamp": TIME | {"description": "When it happened; the same on every retry."},
            "data": _nullable({"type": "object"}, "At most 32 KB of JSON, 32 levels deep."),
        },
        ["eventType", "timestamp"],
        "One event as sent.",
    ),
    "BatchIn": _object(
        {
            "sessionId": UUID,
            "userId": _nullable(USER),
            "sentAt": _nullable(TIME, "The client's clock when it sent the batch."),
            "sequence": _nullable({"type": "integer", "minimum": 1}, "The batch's number in its session."),
            "dropped": _nullable(COUNT, "Events that the client had to drop so far."),
            "context": _nullable({"type": "object"}, "At most 4 KB of JSON."),
            "events": {"type": "array", "minItems": 1, "maxItems": 1000, "items": ref("EventIn")},
        },
        ["events"],
        "A batch of events. Its sessionId may be missing where every event has its own.",
    ),
    "EventResult": _object(
        {
            "index": COUNT,
            "id": _nullable(TEXT),
            "status": {"enum": ["accepted", "duplicate", "rejected", "ignored", "queued"]},
            "reason": TEXT,
            "details": {"type": "array", "items": ref("Detail")},
        },
        ["index", "id", "status"],
        "What became of one event.",
    ),
    "BatchResult": _object(
        {
            "batchId": UUID,
            "status": {"enum": ["committed", "queued"]},
            **dict.fromkeys(("received", "accepted", "duplicates", "rejected", "ignored", "redacted"), COUNT),
            "events": {"type": "array", "items": ref("EventResult")},
        },
        ["batchId", "status", "received", "accepted", "duplicates", "rejected", "ignored", "events"],
        "received = accepted + duplicates + rejected + ignored, always.",
    ),
}
BODIES = {"save_batch": "BatchIn"}
"""By operation, the schema of its body."""
ANSWERS = {
    "save_batch": {
        200: "PostgreSQL has committed what is accepted.",
        202: "It is durably queued, where the deployment buffers.",
    }
}
"""By operation and status, what an answer means."""
