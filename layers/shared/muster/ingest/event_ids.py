"""Makes the ids of batches, and derives the id of an event without one, so that a retry has the same id."""

import hashlib
import json
import os
import uuid
from typing import Any

# Do not change this or the format below: an event that is retried after the change would be stored twice.
_NAMESPACE = uuid.UUID("6d757374-6572-8000-8000-6576656e7473")


def new_batch_id() -> str:
    """A random UUID, version 4. Every batch needs one, and str(uuid.uuid4()) takes longer."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


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
