"""The response models of metrics."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from muster.http.response import WireModel


class Range(WireModel):
    """The range that the response covers, in the requested time zone."""

    start: datetime
    end: datetime
    timezone: str
    granularity: str


class Totals(WireModel):
    """The totals of a range."""

    events: int = 0
    users: int = 0
    """Distinct user ids. Anonymous events do not count."""
    sessions: int = 0
    new_users: int = 0
    """Users whose first event in the project is in the range."""
    active_users_now: int = 0
    """Users with an event in the last 30 minutes."""
    average_session_seconds: float = 0
    """From a session's first matching event in the range to its last."""
    bounce_rate: float = 0
    """The share of sessions with exactly one matching event in the range, from 0 to 1."""
    events_per_session: float = 0

    def __post_init__(self) -> None:
        # PostgreSQL's JSON writes a whole number without a decimal point, which parses as an int.
        self.average_session_seconds = float(self.average_session_seconds)
        self.bounce_rate = float(self.bounce_rate)
        self.events_per_session = float(self.events_per_session)

    @classmethod
    def of(cls, row: dict[str, Any] | None) -> "Totals":
        """Make totals from the statement's JSON object; None means an empty range."""
        return cls(**(row or {}))


class Bucket(WireModel):
    """One bucket of the series."""

    bucket: datetime
    events: int
    users: int
    sessions: int


class Breakdown(WireModel):
    """One row of the breakdown."""

    value: str | None
    events: int
    users: int
    sessions: int


class Explain(WireModel):
    """Why a view shows what it shows."""

    rows_outside_range: int
    rows_outside_range_is_exact: bool
    """False if counting all rows would have taken too long: the count then covers the latest months only."""
    rejected_in_range: int
    ignored_in_range: int
    last_event_at: datetime | None
    source: Literal["rollups", "events"]
    """Where the counts come from. They come from the events if no roll-up has these filters and this breakdown."""
    hint: str


class Metrics(WireModel):
    """The response to GET /v1/metrics."""

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
    """The response to GET /v1/metrics/events."""

    events: list[StoredEvent]
    next_cursor: str | None


class SeenSession(WireModel):
    """A session with its matching events: those in the range that pass the filters."""

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
    """The number of matching events."""
    first_event_at: datetime
    """The time of the first matching event."""
    last_event_at: datetime
    """The time of the last matching event."""


class SessionPage(WireModel):
    """The response to GET /v1/metrics/sessions."""

    sessions: list[SeenSession]
    next_cursor: str | None


class FunnelStep(WireModel):
    """One step of a funnel."""

    event_type: str
    area: str | None
    count: int
    """The users or sessions that completed this step and all earlier ones within the window."""
    from_previous: float
    """The share of those that completed the previous step, from 0 to 1."""
    from_start: float
    """The share of those that completed the first step, from 0 to 1."""
    median_seconds: float | None
    """From the previous step to this one; None for the first step and if no user completed this one."""


class Funnel(WireModel):
    """The response to POST /v1/metrics/funnel."""

    range: Range
    steps: list[FunnelStep]


class Cohort(WireModel):
    """The users whose first event is in one period."""

    start: datetime
    users: int
    retained: list[int]
    """How many of them were active in this period, the next one, and so on to the end of the range."""


class Retention(WireModel):
    """The response to GET /v1/metrics/retention."""

    period: str
    timezone: str
    cohorts: list[Cohort]


class UserSummary(WireModel):
    """The response to GET /v1/metrics/users/{userId}."""

    user_id: str
    events: int
    sessions: int
    first_seen_at: datetime
    last_seen_at: datetime
    event_types: list[dict[str, Any]]
    """{"value", "events", "sessions"} for each event type, most frequent first."""
    recent: list[StoredEvent]
    """The latest 50 events, newest first."""
