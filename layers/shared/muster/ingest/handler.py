"""Stores batches of events and says what became of each: one round trip, one transaction."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from muster.auth.keys import Access
from muster.db.client import Database
from muster.http.body import RawBody, read_text
from muster.ingest.fast_path import read_plain_batch, save_plain
from muster.ingest.results import Saved, told
from muster.ingest.store import note_refused, save_carefully
from muster.platform.errors import RequestRefused

_WIRE_NAMES = {"event_type": "eventType", "session_id": "sessionId", "user_id": "userId"}


def save_request(database: Database, access: Access, body: RawBody) -> Saved:
    """Store a batch from a request's body; raises as save_batch does."""
    try:
        text = read_text(body)
    except RequestRefused as refusal:
        note_refused(database, access, refusal, None)
        raise
    return save_batch(database, access, text)


def save_batch(database: Database, access: Access, text: str) -> Saved:
    """Store a batch from its JSON text; when this returns, what it calls accepted is committed.

    Raises:
        RequestRefused: nothing of it was stored; the refusal is counted in the quarantine.
        KeyRefused: the key may not write events.
        DatabaseUnavailable: nothing was stored; the same batch may be sent again.
    """
    plain = read_plain_batch(text, access.user_agent)
    if plain is not None and access.key_hash is not None and not access.opts_out:
        saved = save_plain(database, access, plain, access.key_hash)
        if saved is not None:
            return saved
    return told(save_carefully(database, access, text, plain))


def batch_text(user_id: str | None, session_id: str | UUID, listed: Sequence[Mapping[str, Any]]) -> str:
    """The JSON text of a batch; names may be as on the wire or in snake_case, times texts or datetimes."""
    named = [{_WIRE_NAMES.get(name, name): value for name, value in event.items()} for event in listed]
    return json.dumps({"sessionId": session_id, "userId": user_id, "events": named}, default=_to_wire)


def _to_wire(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"An event holds a {type(value).__name__}; JSON has no such type.")
