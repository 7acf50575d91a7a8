"""Lists and trims the quarantine: the events and requests that were rejected, each with its reason."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta
from psycopg.rows import class_row

from muster.auth.keys import Access
from muster.db.client import Connection, call_value
from muster.db.queries import query
from muster.http.params import DEFAULT_LIMIT, PageCursor, PageLimit, QueryModel, read_query
from muster.http.request import Request
from muster.http.response import WireModel
from muster.metrics.cursor import ADVICE
from muster.metrics.time_ranges import instant
from muster.platform.errors import InvalidParameter


class Rejection(WireModel):
    """An event, or a whole request, that was not stored."""

    id: int
    reason: str
    details: list[dict[str, Any]]
    payload: str | None
    """As received, cut at 16 Ki characters; None if consent forbids storing it, or after a replay."""
    payload_bytes: int | None
    event_id: str | None
    session_id: str | None
    user_id: str | None
    batch_id: UUID | None
    request_id: str | None
    index: int | None
    """The event's place in the batch; None for a whole request."""
    occurred_at: datetime | None
    received_at: datetime
    last_received_at: datetime
    attempts: int
    """How often it was received."""
    events: int
    """How many rejected events the row stands for: more than 1 if a flood of them was counted together."""
    replayed_at: datetime | None


class RejectionPage(WireModel):
    """The response to GET /v1/diagnostics/rejections."""

    rejections: list[Rejection]
    next_cursor: str | None


class RejectionGroup(WireModel):
    """The rejections with one reason."""

    reason: str
    events: int
    attempts: int
    first_received_at: datetime
    last_received_at: datetime


class RejectionGroups(WireModel):
    """The response to GET /v1/diagnostics/rejections?group=reason."""

    groups: list[RejectionGroup]


Rejections = RejectionPage | RejectionGroups


class Replay(WireModel):
    """The response to POST /v1/diagnostics/rejections/replay."""

    replayed: int
    still_rejected: int
    not_kept: int
    """How many of them cannot be replayed: their payload was cut, or not stored because consent was missing."""
    next_cursor: str | None
    """Where the next call continues; None if nothing is left."""


State = Literal["pending", "replayed", "all"]


class RejectionsQuery(QueryModel, frozen=True):
    """The parameters of GET /v1/diagnostics/rejections; all filters must match."""

    reason: Annotated[str | None, Meta(description="Only rejections with this reason.")] = None
    session_id: Annotated[str | None, Meta(description="Only rejections of this session.")] = None
    user_id: Annotated[str | None, Meta(description="Only rejections of this user.")] = None
    event_id: Annotated[str | None, Meta(description="Only rejections of this event.")] = None
    batch_id: Annotated[UUID | None, Meta(description="Only rejections of this batch.")] = None
    request_id: Annotated[str | None, Meta(description="Only rejections of this request.")] = None
    start: Annotated[
        datetime | date | None,
        Meta(description="Only rejections received at or after this time: a time with an offset, or a UTC day."),
    ] = None
    end: Annotated[
        datetime | date | None,
        Meta(description="Only rejections received before this time: a time with an offset, or a UTC day."),
    ] = None
    state: Annotated[State, Meta(description="pending: not replayed yet; replayed; or all.")] = "pending"
    group: Annotated[Literal["reason"] | None, Meta(description="Return counts by reason instead of rows.")] = None
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


@dataclass(frozen=True, slots=True)
class RejectionsRequest:
    """Which rejections to list; all filters must match."""

    reason: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    event_id: str | None = None
    batch_id: UUID | None = None
    request_id: str | None = None
    start: datetime | None = None
    """Received at or after start,"""
    end: datetime | None = None
    """and before end."""
    state: State = "pending"
    is_grouped: bool = False
    limit: int = DEFAULT_LIMIT
    cursor: int | None = None
    """The id of the last rejection of the previous page."""


def parse_rejections_request(request: Request) -> RejectionsRequest:
    """Read a request for rejections.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    query = read_query(request.query, RejectionsQuery)
    start, end = (None if when is None else instant(when, UTC) for when in (query.start, query.end))
    if start and end and start >= end:
        raise InvalidParameter("start", "The start must be before the end.")
    return RejectionsRequest(
        reason=query.reason,
        session_id=query.session_id,
        user_id=query.user_id,
        event_id=query.event_id.lower() if query.event_id else None,
        batch_id=query.batch_id,
        request_id=query.request_id,
        start=start,
        end=end,
        state=query.state,
        is_grouped=query.group is not None,
        limit=query.limit,
        cursor=rejection_cursor_of(query.cursor),
    )


def rejection_cursor_of(text: str | None) -> int | None:
    """Read a cursor: the id of a rejection.

    Raises:
        InvalidParameter: the text is not a cursor of this API.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(2**63)) - 1:
        raise InvalidParameter("cursor", ADVICE)
    return int(text)


MAX_DAYS, MAX_ROWS, MAX_BYTES = 90, 100_000, 256 * 1024 * 1024
TRIM_STEP = 20_000


def get_rejections(connection: Connection, access: Access, request: RejectionsRequest) -> Rejections:
    """List a page of rejections, newest first, or count them by reason."""
    parameters = {**asdict(request), "project_id": access.project_id}
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
    """Delete the oldest rejections beyond the quarantine's limits; returns how many were deleted."""
    limits = {"days": MAX_DAYS, "most": MAX_ROWS, "bytes": MAX_BYTES, "step": TRIM_STEP}
    return int(call_value(connection, "trim_rejections", limits))
