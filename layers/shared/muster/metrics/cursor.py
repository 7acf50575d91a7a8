"""The cursor of a page of events: an opaque string that the client sends back to get the next page."""

import base64
import binascii
import json
from datetime import datetime
from uuid import UUID

from muster.platform.errors import InvalidParameter

ADVICE = "Send the nextCursor of the previous page unchanged."
Cursor = tuple[datetime, UUID, UUID]
"""The last event's time, session and id."""


def to_cursor(occurred_at: datetime, session_id: UUID, event_id: UUID) -> str:
    """Make the cursor of the page that follows an event."""
    text = json.dumps([occurred_at.isoformat(), str(session_id), str(event_id)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def event_cursor_of(text: str | None) -> Cursor | None:
    """Read a cursor.

    Raises:
        InvalidParameter: the text is not a cursor of this API.
    """
    if text is None:
        return None
    try:
        occurred_at, session_id, event_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        cursor = (datetime.fromisoformat(occurred_at), UUID(session_id), UUID(event_id))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidParameter("cursor", ADVICE) from error
    if cursor[0].tzinfo is None:
        raise InvalidParameter("cursor", ADVICE)
    return cursor
