"""The quarantine: what was rejected and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, cast
from uuid import UUID

from psycopg.rows import class_row

from muster.db.client import Connection, call_value
from muster.db.queries import query
from muster.http.query_params import DEFAULT_LIMIT, check_names, choice, limit_of, one, time_of, uuid_of
from muster.http.response import WireModel
from muster.metrics.time_ranges import day_start
from muster.platform.errors import InvalidParameter


class Rejection(WireModel):
    """An event, or a whole request, that was not stored."""

    id: int
    reason: str
    details: list[dict[str, Any]]
    payload: str | None
    """As received, cut at 16 Ki characters; none where consent forbids it, or after a replay."""
    payload_bytes: int | None
    event_id: str | None
    session_id: str | None
    user_id: str | None
    batch_id: UUID | None
    request_id: str | None
    index: int | None
    """Its place in the batch; none for a whole request."""
    occurred_at: datetime | None
    received_at: datetime
    last_received_at: datetime
    attempts: int
    """How often it came."""
    events: int
    """More than 1 where a flood was counted together."""
    replayed_at: datetime | None


class RejectionPage(WireModel):
    """The answer of GET /v1/diagnostics/rejections."""

    rejections: list[Rejection]
    next_cursor: str | None


class RejectionGroup(WireModel):
    """What was rejected for one reason."""

    reason: str
    events: int
    attempts: int
    first_received_at: datetime
    last_received_at: datetime


class RejectionGroups(WireModel):
    """The answer of GET /v1/diagnostics/rejections?group=reason."""

    groups: list[RejectionGroup]


class Replay(WireModel):
    """The answer of POST /v1/diagnostics/rejections/replay."""

    replayed: int
    still_rejected: int
    not_kept: int
    """Of those still rejected, what cannot be tried: its payload was cut, or is not kept for want of consent."""
    next_cursor: str | None
    """Where to go on when there was too much for one call."""


State = Literal["pending", "replayed", "all"]
STATES: Sequence[State] = ("pending", "replayed", "all")
_FILTERS = ("reason", "sessionId", "userId", "eventId", "batchId", "requestId")
_KNOWN = (*_FILTERS, "start", "end", "state", "group", "limit", "cursor")


@dataclass(frozen=True, slots=True)
class RejectionsRequest:
    """Which rejections are asked for; filters hold together."""

    reason: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    event_id: str | None = None
    batch_id: UUID | None = None
    request_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    """They were received from start to before end."""
    state: State = "pending"
    is_grouped: bool = False
    limit: int = DEFAULT_LIMIT
    cursor: int | None = None
    """The id of the last rejection of the page before."""


def parse_rejections_request(query: Mapping[str, Sequence[str]]) -> RejectionsRequest:
    """A request for rejections.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, _KNOWN)
    reason, session_id, user_id, event_id, batch_id, request_id = (one(query, name) for name in _FILTERS)
    choice(query, "group", ("reason",))
    start, end = (_instant(time_of(query, name)) for name in ("start", "end"))
    if start and end and start >= end:
        raise InvalidParameter("start", "The start must be before the end.")
    return RejectionsRequest(
        reason=reason,
        session_id=session_id,
        user_id=user_id,
        event_id=event_id.lower() if event_id else None,
        batch_id=None if batch_id is None else uuid_of("batchId", batch_id),
        request_id=request_id,
        start=start,
        end=end,
        state=cast(State, choice(query, "state", STATES) or "pending"),
        is_grouped=one(query, "group") is not None,
        limit=limit_of(one(query, "limit")),
        cursor=rejection_cursor_of(one(query, "cursor")),
    )


def rejection_cursor_of(text: str | None) -> int | None:
    """The id that a cursor is.

    Raises:
        InvalidParameter: it is none of ours.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(2**63)) - 1:
        raise InvalidParameter("cursor", "Send the nextCursor of the page before, as it was.")
    return int(text)


def _instant(when: datetime | date | None) -> datetime | None:
    if when is None or isinstance(when, datetime):
        return when
    return day_start(when, UTC)


MAX_DAYS, MAX_ROWS, MAX_BYTES = 90, 100_000, 256 * 1024 * 1024
TRIM_STEP = 20_000


def get_rejections(
    connection: Connection, project_id: UUID, request: RejectionsRequest
) -> RejectionPage | RejectionGroups:
    """A page of rejections, the newest first, or all of them by reason."""
    parameters = {**asdict(request), "project_id": project_id}
    if request.is_grouped:
        with connection.cursor(row_factory=class_row(RejectionGroup)) as cursor:
            return RejectionGroups(
                groups=cursor.execute(query("quarantine/get_rejection_groups"), parameters).fetchall()
            )
    with connection.cursor(row_factory=class_row(Rejection)) as cursor:
        found = cursor.execute(
            query("quarantine/get_rejections"), {**parameters, "limit": request.limit + 1}
        ).fetchall()
    page = found[: request.limit]
    return RejectionPage(rejections=page, next_cursor=str(page[-1].id) if len(found) > request.limit else None)


def trim_rejections(connection: Connection) -> int:
    """Take the oldest away that are over the quarantine's bounds; how many."""
    bounds = {"days": MAX_DAYS, "most": MAX_ROWS, "bytes": MAX_BYTES, "step": TRIM_STEP}
    return int(call_value(connection, "trim_rejections", bounds))
