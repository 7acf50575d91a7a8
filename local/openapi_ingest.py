"""The schemas of ingest. They are written by hand, because no msgspec model describes its validation."""

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
            "id": _nullable(UUID, "Derived from the content if missing."),
            "sessionId": _nullable(UUID, "Overrides the value of the batch."),
            "userId": _nullable(USER, "Overrides the value of the batch."),
            "context": _nullable({"type": "object"}, "Overrides the value of the batch."),
            "eventType": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"\S"},
            "area": _nullable({"type": "string", "maxLength": 100}),
            "timestamp": TIME | {"description": "When the event happened. Send the same value on every retry."},
            "data": _nullable({"type": "object"}, "At most 32 KB of JSON, 32 levels deep."),
        },
        ["eventType", "timestamp"],
        "One event.",
    ),
    "BatchIn": _object(
        {
            "sessionId": UUID,
            "userId": _nullable(USER),
            "sentAt": _nullable(TIME, "The client's clock when it sent the batch."),
            "sequence": _nullable({"type": "integer", "minimum": 1}, "The batch's number in its session."),
            "dropped": _nullable(COUNT, "Events that the client has dropped so far."),
            "context": _nullable({"type": "object"}, "At most 4 KB of JSON."),
            "events": {"type": "array", "minItems": 1, "maxItems": 1000, "items": ref("EventIn")},
        },
        ["events"],
        "A batch of events. Its sessionId may be missing if every event has its own.",
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
        "The result of one event.",
    ),
    "BatchResult": _object(
        {
            "batchId": UUID,
            "status": {"enum": ["committed", "queued"]},
            **dict.fromkeys(("received", "accepted", "duplicates", "rejected", "ignored", "redacted"), COUNT),
            "events": {"type": "array", "items": ref("EventResult")},
        },
        ["batchId", "status", "received", "accepted", "duplicates", "rejected", "ignored", "events"],
        "Always: received = accepted + duplicates + rejected + ignored.",
    ),
}
BODIES = {"save_batch": "BatchIn"}
"""The schema of the body, by operation."""
RESPONSES = {
    "save_batch": {
        200: "PostgreSQL has committed the accepted events.",
        202: "The batch is durably queued. Only deployments with IngestMode=buffered send this.",
    }
}
"""The meaning of a response, by operation and status."""
