"""Derives the id of an event without one from its content, so that a retry has the same id."""

import hashlib
import json
import uuid
from typing import Any

# Do not change this or the format below: an event that is retried after the change would be stored twice.
_NAMESPACE = uuid.UUID("6d757374-6572-8000-8000-6576656e7473")


def derive_event_id(session_id: str, user_id: str | None, event: dict[str, Any]) -> str:
    """A version 8 UUID from the session, user, type, area, timestamp as sent, and data with sorted keys."""
    content = [
        session_id.lower(),
        user_id,
        event["eventType"],
        event.get("area") or "unknown",
        event["timestamp"],
        event.get("data") or {},
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = bytearray(hashlib.sha256(_NAMESPACE.bytes + text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
