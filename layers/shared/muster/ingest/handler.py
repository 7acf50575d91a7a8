"""Handles a batch: stores it on the fast path or else on the full path, makes the response, and writes the log line."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from muster.auth.keys import Access
from muster.db.client import Database
from muster.http.body import RawBody, read_text
from muster.ingest.event_ids import new_batch_id
from muster.ingest.fast_path import read_fast_batch, store_fast_batch
from muster.ingest.log import DatabaseTimer, begin_ingest_line, log_rejections, write_ingest_line
from muster.ingest.models import Envelope
from muster.ingest.results import BatchResponse, EventResult, make_response
from muster.ingest.user_agents import Agent, request_agent
from muster.platform.errors import AnswerLost, RequestRefused
from muster.platform.logging import MetricsLine

BeginLine = Callable[[BatchResponse, Envelope, str], MetricsLine]
"""Begins a log line from the response, the envelope and the path, which is fast or full."""

UNKNOWN = (
    "The connection to the database broke, so it is unknown whether these events were stored. Send the same batch "
    "again: events that were stored are answered as duplicates."
)
_WIRE_NAMES = {"event_type": "eventType", "session_id": "sessionId", "user_id": "userId"}


class StoredBatch(NamedTuple):
    """A stored batch and its unfinished log line."""

    response: BatchResponse
    envelope: Envelope
    invalid: frozenset[int]
    """The indexes of the events that validation rejected."""
    accepted: int
    """The database's count of stored events."""
    project: str
    prefix: str | None
    line: MetricsLine


def save_request(database: Database, access: Access, body: RawBody) -> BatchResponse:
    """Store a batch from a request's body; raises as save_batch does."""
    try:
        text = read_text(body)
    except RequestRefused as refusal:
        from muster.ingest.full_path import count_refused_request  # noqa: PLC0415 - few requests need it

        count_refused_request(database, access, refusal, None)
        raise
    return save_batch(database, access, text)


def save_batch(database: Database, access: Access, text: str) -> BatchResponse:
    """Store a batch from its JSON text. When this returns, the accepted events are committed.

    Raises:
        RequestRefused: nothing was stored; the refusal is counted in the quarantine.
        KeyRefused: the key may not write events.
        DatabaseUnavailable: the database did not confirm the batch; the same batch may be sent again.
    """

    def begin(response: BatchResponse, envelope: Envelope, path: str) -> MetricsLine:
        return begin_ingest_line(database.settings, response, envelope, request_id=access.request_id, path=path)

    timer = DatabaseTimer(database)
    try:
        stored = store_batch(
            database, access, text, request_agent(access.user_agent), batch_id=new_batch_id(), begin_line=begin
        )
    except AnswerLost as error:
        raise AnswerLost(UNKNOWN, sqlstate=error.sqlstate) from error
    result = stored.response.result
    if result["rejected"]:
        log_rejections(result, request_id=access.request_id)
    write_ingest_line(
        stored.line,
        stored.envelope,
        timer,
        unaccounted=abs(result["accepted"] - stored.accepted),
        project=stored.project,
        key_prefix=stored.prefix,
    )
    return stored.response


def store_batch(
    database: Database,
    access: Access,
    text: str,
    agent: Agent,
    *,
    batch_id: str,
    received_at: str | None = None,
    first_index: int = 0,
    begin_line: BeginLine,
) -> StoredBatch:
    """Store a batch on the fast path, or else on the full path; raises as save_batch does.

    `received_at` and `first_index` are set if the batch, or a part of it, comes from the queue.
    """
    fast = read_fast_batch(text, agent)
    if fast is not None and access.key_hash is not None and not access.opts_out:

        def prepare() -> tuple[BatchResponse, MetricsLine]:
            response = _all_accepted(batch_id, fast.ids)
            return response, begin_line(response, fast.envelope, "fast")

        stored, (response, line) = store_fast_batch(
            database, access, fast, batch_id=batch_id, received_at=received_at, while_waiting=prepare
        )
        if stored is not None:
            accepted, project = stored
            return StoredBatch(response, fast.envelope, frozenset(), accepted, project, access.key_prefix, line)
    # Imported late, because few batches need the full path.
    from muster.ingest.full_path import count_refused_request, full_response, store_full_batch  # noqa: PLC0415
    from muster.ingest.parse import parse_batch  # noqa: PLC0415

    try:
        batch = parse_batch(text, agent, first_index=first_index)
    except RequestRefused as refusal:
        count_refused_request(database, access, refusal, text)
        raise
    answer = store_full_batch(database, access, batch, batch_id=batch_id, received_at=received_at)
    response = full_response(batch, batch_id, answer)
    return StoredBatch(
        response,
        batch.envelope,
        frozenset(rejection.index for rejection in batch.rejections if rejection.index is not None),
        answer["accepted"],
        answer["project"],
        answer.get("prefix"),
        begin_line(response, batch.envelope, "full"),
    )


def batch_text(user_id: str | None, session_id: str | UUID, events: Sequence[Mapping[str, Any]]) -> str:
    """The JSON text of a batch. Event fields may be in camelCase or snake_case, and times strings or datetimes."""
    named = [{_WIRE_NAMES.get(name, name): value for name, value in event.items()} for event in events]
    return json.dumps({"sessionId": session_id, "userId": user_id, "events": named}, default=_to_wire)


def _all_accepted(batch_id: str, ids: list[str]) -> BatchResponse:
    events: list[EventResult] = [
        {"index": index, "id": event_id, "status": "accepted"} for index, event_id in enumerate(ids)
    ]
    return make_response(batch_id, events, redacted=0)


def _to_wire(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"An event has a value of type {type(value).__name__}, which JSON does not have.")
