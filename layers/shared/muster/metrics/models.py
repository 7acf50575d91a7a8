"""The shapes of metrics on the wire."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from muster.http.response import WireModel


class Range(WireModel):
    """The range that was answered for, in the time zone that was asked for."""

    start: datetime
    end: datetime
    timezone: str
    granularity: str


class Totals(WireModel):
    """What a range holds."""

    events: int = 0
    users: int = 0
    """Distinct user ids; events without one are of nobody."""
    sessions: int = 0
    new_users: int = 0
    """Users whose first event in the project is in the range."""
    active_users_now: int = 0
    """Users with an event in the last 30 minutes."""
    average_session_seconds: float = 0
    """From a session's first matching event in the range to its last."""
    bounce_rate: float = 0
    """The share of sessions with a single matching event in the range, from 0 to 1."""
    events_per_session: float = 0

    def __post_init__(self) -> None:
        # The database's JSON writes a whole number without a point.
        self.average_session_seconds = float(self.average_session_seconds)
        self.bounce_rate = float(self.bounce_rate)
        self.events_per_session = float(self.events_per_session)

    @classmethod
    def of(cls, row: dict[str, Any] | None) -> "Totals":
        """From the statement's object; None is an empty range."""
        return cls(**(row or {}))


class Bucket(WireModel):
    """One bucket of the series."""

    bucket: datetime
    events: int
    users: int
    sessions: int


class Breakdown(WireModel):
    """One value of what the events are broken down by."""

    value: str | None
    events: int
    users: int
    sessions: int


class Explain(WireModel):
    """Why a view shows what it shows."""

    rows_outside_range: int
    rows_outside_range_is_exact: bool
    """False where counting them all would have taken long: so many there are at least, of the latest months."""
    rejected_in_range: int
    ignored_in_range: int
    last_event_at: datetime | None
    source: Literal["rollups", "events"]
    """What was counted: events, at the cost of what the range holds, where filters and breakdown have no rollup."""
    hint: str


class Metrics(WireModel):
    """The answer of GET /v1/metrics."""

    range: Range
    as_of: datetime
    totals: Totals
    previous: Totals
    series: list[Bucket]
    breakdown: list[Breakdown]
    explain: Explain


class StoredEvent(WireModel):
    """An event as stored."""

    id: UUID
    session_id: UUID
    user_id: str | None
    event_type: str
    area: str
    timestamp: datetime
    received_at: datetime
    data: dict[str, Any]


class EventPage(WireModel):
    """The answer of GET /v1/metrics/events."""

    events: list[StoredEvent]
    next_cursor: str | None


class SeenSession(WireModel):
    """A session, and what of it is in a range and passes its filters."""

    session_id: UUID
    user_id: str | None
    participant_type: str | None
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    duration_seconds: float
    events_count: int
    is_active: bool
    events_in_range: int
    """How many of its events are in the range and pass the filters."""
    first_event_at: datetime
    """Of those."""
    last_event_at: datetime


class SessionPage(WireModel):
    """The answer of GET /v1/metrics/sessions."""

    sessions: list[SeenSession]
    next_cursor: str | None


class FunnelStep(WireModel):
    """One step of a funnel."""

    event_type: str
    area: str | None
    count: int
    """Users, or sessions, that took it and all before it within the window."""
    from_previous: float
    """The share of those who took the step before, from 0 to 1."""
    from_start: float
    median_seconds: float | None
    """From the step before to this one; None for the first, and where nobody came so far."""


class Funnel(WireModel):
    """The answer of POST /v1/metrics/funnel."""

    range: Range
    steps: list[FunnelStep]


class Cohort(WireModel):
    """Those who came for the first time in one period."""

    start: datetime
    users: int
    retained: list[int]
    """How many of them were active in this period, in the next, and so on to the range's end."""


class Retention(WireModel):
    """The answer of GET /v1/metrics/retention."""

    period: str
    timezone: str
    cohorts: list[Cohort]


class UserSummary(WireModel):
    """The answer of GET /v1/metrics/users/{userId}."""

    user_id: str
    events: int
    sessions: int
    first_seen_at: datetime
    last_seen_at: datetime
    event_types: list[dict[str, Any]]
    """{"value", "events", "sessions"} of each type, the most frequent first."""
    recent: list[StoredEvent]
    """The latest 50 events, the latest first."""
