"""Shows and erases everything stored about a user."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from muster.auth.keys import Access
from muster.db.client import Connection, Database, call
from muster.db.queries import query
from muster.http.params import MAX_LIMIT, PageCursor, PageLimit, QueryModel, read_query, text_in_path
from muster.http.request import Request
from muster.http.response import WireModel
from muster.metrics.cursor import Cursor, event_cursor_of, to_cursor
from muster.platform.errors import DatabaseUnavailable, InvalidParameter
from muster.platform.logging import log

# Lambda limits a response to 6 MB.
MAX_BYTES = 4 * 1024 * 1024
SESSIONS_AT_ONCE = 100
# The function times out after ten seconds.
WAIT_SECONDS, ERASE_SECONDS = 3.0, 4.0
LONGEST_USER_ID = 200


class Subject(WireModel, omit_defaults=True):
    """A page of everything stored about a user. Only the first page holds more than events."""

    user_id: str
    events: list[Any]
    """The user's events, oldest first, with the anonymous events of sessions that have no other user."""
    sessions: list[Any] | None = None
    consents: list[Any] | None = None
    rejections: list[Any] | None = None
    redemptions: list[Any] | None = None
    next_cursor: str | None = None


class Receipt(WireModel):
    """How many rows an erasure deleted."""

    receipt_id: str
    events: int
    sessions: int
    consents: int
    rejections: int
    redemptions: int
    completed_at: datetime


class SubjectQuery(QueryModel, frozen=True):
    """The parameters of GET /v1/subjects/{userId}."""

    limit: PageLimit = MAX_LIMIT
    cursor: PageCursor = None


@dataclass(frozen=True, slots=True)
class SubjectRequest:
    """Which user's data to show, and which page of it."""

    user_id: str
    limit: int = MAX_LIMIT
    after: Cursor | None = None


def parse_subject_request(request: Request) -> SubjectRequest:
    """Read a request for a page of a user's data; the user's id is in the path.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    query = read_query(request.query, SubjectQuery)
    return SubjectRequest(text_in_path(request), query.limit, event_cursor_of(query.cursor))


def get_subject(connection: Connection, access: Access, request: SubjectRequest) -> Subject:
    """Get a page of everything stored about a user; empty for an unknown user.

    Raises:
        InvalidParameter: the user id is invalid.
        KeyRefused: the key is not an admin key.
        DatabaseUnavailable: the database did not answer.
    """
    parameters = {
        "key_hash": access.key_hash,
        "user_id": _checked(request.user_id),
        "after": None if request.after is None else msgspec.json.encode(request.after).decode(),
        "limit": request.limit + 1,
    }
    answer = call(connection, "get_subject", parameters)
    access.raise_if_refused(answer)
    found: list[dict[str, Any]] = answer.pop("events")
    events, size = list[dict[str, Any]](), 0
    for event in found[: request.limit]:
        size += len(msgspec.json.encode(event))
        if size > MAX_BYTES and events:
            break
        events.append(event)
    cursor = _after(events[-1]) if len(events) < len(found) else None
    log("INFO", "subject_shown", request_id=access.request_id, events=len(events), complete=cursor is None)
    return Subject(user_id=request.user_id, events=events, next_cursor=cursor, **answer)


def erase_subject(database: Database, access: Access, user_id: str) -> Receipt:
    """Erase a user's events, sessions, consent decisions, rejections and redemptions. Resent events are then ignored.

    A second call erases what has been stored since. If a call runs out of time, the next one continues.

    Raises:
        InvalidParameter: the user id is invalid.
        KeyRefused: the key is not an admin key.
        DatabaseUnavailable: the erasure is not complete; send the same request again.
    """
    user = {"key_hash": access.key_hash, "user_id": _checked(user_id)}
    erasure = database.run(call, "begin_erasure", user)
    access.raise_if_refused(erasure)
    receipt_id = erasure["receipt_id"]
    database.run(_wait_for_earlier_batches)
    deadline = time.monotonic() + ERASE_SECONDS
    while True:
        answer = database.run(call, "run_erasure", {**user, "receipt_id": receipt_id, "most": SESSIONS_AT_ONCE})
        access.raise_if_refused(answer)
        if answer.pop("done"):
            break
        if time.monotonic() > deadline:
            raise _not_done("This user has more data than one request can erase. Send the same request again.")
    receipt = Receipt.read(answer)
    counts = {name: getattr(receipt, name) for name in ("events", "sessions", "consents", "rejections", "redemptions")}
    log("INFO", "subject_erased", request_id=access.request_id, receipt_id=receipt_id, **counts)
    return receipt


def _wait_for_earlier_batches(connection: Connection) -> None:
    """Wait for the transactions that began before the erasure: they may still store events of the user."""
    row = connection.execute(query("privacy/get_next_transaction")).fetchone()
    horizon = row[0] if row else None
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        row = connection.execute(query("privacy/is_past_transaction"), {"horizon": horizon}).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > deadline:
            raise _not_done("An earlier transaction is still open; nothing is erased yet. Send the same request again.")
        time.sleep(0.01)


def _after(event: Mapping[str, Any]) -> str:
    return to_cursor(datetime.fromisoformat(event["timestamp"]), UUID(event["sessionId"]), UUID(event["id"]))


def _not_done(message: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(message, retry_after_seconds=1)


def _checked(user_id: str) -> str:
    if not 1 <= len(user_id) <= LONGEST_USER_ID or "\0" in user_id:
        raise InvalidParameter("userId", f"Send 1 to {LONGEST_USER_ID} characters without U+0000.")
    return user_id
