"""The quarantine: what was rejected and why."""

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


Rejections = RejectionPage | RejectionGroups


class Replay(WireModel):
    """The answer of POST /v1/diagnostics/rejections/replay."""

    replayed: int
    still_rejected: int
    not_kept: int
    """Of those still rejected, how many cannot be tried: their payload was cut, or not stored for want of consent."""
    next_cursor: str | None
    """Where to go on when there was too much for one call."""


State = Literal["pending", "replayed", "all"]


class RejectionsQuery(QueryModel, frozen=True):
    """The parameters of GET /v1/diagnostics/rejections; all filters must match."""

    reason: Annotated[str | None, Meta(description="Only what was rejected for this reason.")] = None
    session_id: Annotated[str | None, Meta(description="Only of this session.")] = None
    user_id: Annotated[str | None, Meta(description="Only of this user.")] = None
    event_id: Annotated[str | None, Meta(description="Only of this event.")] = None
    batch_id: Annotated[UUID | None, Meta(description="Only of this batch.")] = None
    request_id: Annotated[str | None, Meta(description="Only of this request.")] = None
    start: Annotated[
        datetime | date | None, Meta(description="Received at this time or later: a time with an offset, or a UTC day.")
    ] = None
    end: Annotated[
        datetime | date | None, Meta(description="Received before this time with an offset, or UTC day.")
    ] = None
    state: Annotated[State, Meta(description="Only those not yet replayed, only those replayed, or all.")] = "pending"
    group: Annotated[Literal["reason"] | None, Meta(description="Counts by reason in place of rows.")] = None
    limit: PageLimit = DEFAULT_LIMIT
    cursor: PageCursor = None


@dataclass(frozen=True, slots=True)
class RejectionsRequest:
    """Which rejections are asked for; all filters must match."""

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


def parse_rejections_request(request: Request) -> RejectionsRequest:
    """A request for rejections.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    query = read_query(request.query, RejectionsQuery)
    start, end = _instant(query.start), _instant(query.end)
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
    """The id that a cursor is.

    Raises:
        InvalidParameter: it is not a cursor that this API answers.
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


def get_rejections(connection: Connection, access: Access, request: RejectionsRequest) -> Rejections:
    """A page of rejections, the newest first, or all of them by reason."""
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
    """Take the oldest away that are over the quarantine's bounds; how many."""
    bounds = {"days": MAX_DAYS, "most": MAX_ROWS, "bytes": MAX_BYTES, "step": TRIM_STEP}
    return int(call_value(connection, "trim_rejections", bounds))
