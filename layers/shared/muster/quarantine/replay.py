"""Replays rejections: validates them under today's rules and stores those that pass."""

import time
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import msgspec
import orjson
from msgspec import Meta
from psycopg.rows import class_row

from muster.auth.keys import Access
from muster.db.client import Connection, Database, call
from muster.db.queries import query
from muster.http.body import read_text
from muster.http.request import Request
from muster.ingest.event_ids import new_batch_id
from muster.ingest.full_path import make_payload
from muster.ingest.parse import Batch, parse_batch
from muster.ingest.user_agents import request_agent
from muster.platform.errors import InvalidBatch, MissingKey, RequestRefused
from muster.platform.logging import log
from muster.quarantine.rejections import Replay, rejection_cursor_of
from muster.validation.error_details import decode_model, place_of
from muster.validation.limits import UUID_PATTERN, whole

MAX_REPLAYED = 1_000


class ReplayIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which pending rejections to replay, as sent. All of them by default, oldest first."""

    ids: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(max_length=MAX_REPLAYED)] | None = None
    reason: str | None = None
    session_id: str | None = None
    event_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None
    batch_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None
    history: bool = False
    cursor: str | None = None


def parse_replay(request: Request) -> ReplayIn:
    """Read which rejections to replay from the body. Without a body, all of them.

    Raises:
        InvalidBatch: the message names the first invalid field.
    """
    text = read_text(request.body) if request.body.content else ""
    wanted = decode_model(text or "{}", ReplayIn)
    if isinstance(wanted, ReplayIn):
        return wanted
    raise InvalidBatch(f"Invalid replay field '{place_of([wanted])}': {wanted['message']}", details=[wanted])


ROWS_AT_ONCE = 200
# The function times out after ten seconds.
REPLAY_SECONDS = 6.0


def replay_rejections(database: Database, access: Access, request: ReplayIn) -> Replay:
    """Validate rejected events again and store those that pass, with the time at which they were first received.

    Raises:
        KeyRefused: the key is not an admin key.
        InvalidParameter: the cursor is invalid.
        DatabaseUnavailable: the events replayed so far are stored; the same call continues.
    """
    if access.key_hash is None:
        raise MissingKey
    access = database.run(access.look_up)
    deadline = time.monotonic() + REPLAY_SECONDS
    outcomes = {"stored": 0, "rejected": 0, "not_kept": 0, "gone": 0}
    last: int | None = rejection_cursor_of(request.cursor) or 0
    while last is not None and time.monotonic() < deadline:
        rows = database.run(_pending, access.project_id, request, last)
        for row in rows:
            outcomes[_replay(database, access, row, history=request.history)] += 1
            last = row.id
            if time.monotonic() > deadline:
                break
        else:
            last = last if len(rows) == ROWS_AT_ONCE else None
    log("INFO", "rejections_replayed", **outcomes)
    return Replay(
        replayed=outcomes["stored"],
        still_rejected=outcomes["rejected"] + outcomes["not_kept"],
        not_kept=outcomes["not_kept"],
        next_cursor=None if last is None else str(last),
    )


@dataclass(frozen=True, slots=True)
class _Pending:
    id: int
    payload: str | None
    payload_bytes: int | None
    session_id: str | None
    user_id: str | None
    batch_id: UUID | None
    index: int | None


def _pending(connection: Connection, project_id: UUID, wanted: ReplayIn, after: int) -> list[_Pending]:
    parameters = {
        "project_id": project_id,
        "ids": wanted.ids,
        "reason": wanted.reason,
        "session_id": wanted.session_id,
        "event_id": (wanted.event_id or "").lower() or None,
        "batch_id": wanted.batch_id,
        "cursor": after,
        "limit": ROWS_AT_ONCE,
    }
    with connection.cursor(row_factory=class_row(_Pending)) as cursor:
        return cursor.execute(query("quarantine/get_rejections_to_replay"), parameters).fetchall()


def _replay(database: Database, access: Access, row: _Pending, *, history: bool) -> str:
    if row.payload is None or len(row.payload.encode()) != row.payload_bytes:
        return "not_kept"
    batch = _read(row, row.payload)
    if batch is None or not batch.valid:
        return "rejected"
    batch_id = str(row.batch_id or new_batch_id())
    payload = make_payload(access._replace(opts_out=False), batch, batch_id=batch_id, history=history)
    answer = database.run(call, "replay_rejection", {**payload, "key_hash": access.key_hash, "id": row.id})
    access.raise_if_refused(answer)
    return str(answer["outcome"])


def _read(row: _Pending, payload: str) -> Batch | None:
    """Parse a payload: a whole batch, or one event that becomes a batch. None if the batch is still refused."""
    text = payload
    if row.index is not None:
        session, user = (orjson.dumps(value).decode() for value in (row.session_id, row.user_id))
        text = f'{{"sessionId":{session},"userId":{user},"events":[{payload}]}}'
    try:
        # The user agent was not stored. It cannot be a bot's: a bot's event is ignored, never rejected.
        return parse_batch(text, request_agent(""))
    except RequestRefused:
        return None
