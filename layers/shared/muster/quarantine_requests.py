"""Reads what is asked of the quarantine, naming what cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, cast
from uuid import UUID

from muster.errors import InvalidParameter
from muster.parameters import DEFAULT_LIMIT, check_names, choice, limit_of, one, time_of, uuid_of
from muster.time_ranges import day_start

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
        cursor=cursor_of(one(query, "cursor")),
    )


def cursor_of(text: str | None) -> int | None:
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
