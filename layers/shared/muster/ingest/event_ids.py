"""The id of an event that came without one: derived from its content, so that a retry derives the same."""

import hashlib
import json
import uuid
from typing import Any

# Of Muster's own; changing it, or the form below, would make every retry across the change a second event.
_NAMESPACE = uuid.UUID("6d757374-6572-8000-8000-6576656e7473")


def derive_event_id(session_id: str, user_id: str | None, event: dict[str, Any]) -> str:
    """A UUID (version 8) of session, user, type, area, timestamp as sent, and data with its keys sorted."""
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
