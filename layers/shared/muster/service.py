"""The façade of Muster: what handlers call, and what an engineer calls from a Python shell."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from muster import buffered, diagnostics, events, metrics, sessions
from muster.bodies import RawBody
from muster.database import Connection, Database
from muster.diagnostics import Diagnostics
from muster.errors import DatabaseUnavailable
from muster.events import Sender
from muster.keys import PREFIX_LENGTH, READERS, Access, authenticate, hash_key, only_project
from muster.metrics_models import EventPage, Metrics
from muster.metrics_requests import MetricsRequest
from muster.models import BatchResult, Session

T = TypeVar("T")
P = ParamSpec("P")
_WIRE_NAMES = {"event_type": "eventType", "session_id": "sessionId", "user_id": "userId"}


class AnalyticsService:
    """Acts for one project: that of `key`, or without a key the database's only one.

    Without a key the database's login must own the schema, as an engineer's in a shell does.
    """

    def __init__(
        self, database: Database, *, key: str | None = None, request_id: str | None = None, user_agent: str = ""
    ) -> None:
        self._database = database
        self._sender = Sender(
            key_hash=None if key is None else hash_key(key),
            request_id=request_id or str(uuid.uuid4()),
            user_agent=user_agent,
            key_prefix=(key or "")[:PREFIX_LENGTH],
        )

    def save_events(
        self, user_id: str | None, session_id: str | UUID, events_to_save: Sequence[Mapping[str, Any]]
    ) -> BatchResult:
        """Store events of one session; each needs an event type and a timestamp with an offset.

        Names may be as on the wire or in snake_case, times texts or datetimes. What is rejected is in the result.
        """
        listed = [{_WIRE_NAMES.get(name, name): value for name, value in event.items()} for event in events_to_save]
        batch = {"sessionId": session_id, "userId": user_id, "events": listed}
        return events.save_batch(self._database, self._sender, json.dumps(batch, default=_to_wire))

    def save_request(self, body: RawBody) -> BatchResult:
        """Store a batch as a client sent it, or queue it where ingest is buffered."""
        if self._database.settings.ingest_mode == "buffered":
            return buffered.queue_request(self._database.settings, self._sender, body)
        return events.save_request(self._database, self._sender, body)

    def update_session(self, session_id: str | UUID, user_id: str | None) -> Session:
        """Create the session, or say whose it is."""
        return sessions.put_session(self._database, self._sender, str(session_id), json.dumps({"userId": user_id}))

    def put_session(self, session_id: str, body: RawBody) -> Session:
        """Create or update a session as a client describes it."""
        return sessions.put_request(self._database, self._sender, session_id, body)

    def get_session(self, session_id: str) -> Session:
        """A session and what is known of it."""
        return sessions.get_session(self._database, self._sender, session_id)

    def get_metrics(self, request: MetricsRequest) -> Metrics:
        """Totals, series and breakdown of a range, exact and fresh."""
        return self._read(metrics.get_metrics, request)

    def get_recent_events(self, request: MetricsRequest) -> EventPage:
        """Raw events, newest first, a page at a time."""
        return self._read(metrics.get_recent_events, request)

    def run_diagnostics(self) -> Diagnostics:
        """What works and what does not, with the remedy of each fault; never raises but for a refused key."""
        return diagnostics.run_diagnostics(self._database.settings, self._access)

    def check_health(self) -> dict[str, str]:
        """{"status": "ok"}, or an error when the database does not answer or its schema is not current."""
        diagnostics.check_health(self._database)
        return {"status": "ok"}

    def test_database_connection(self) -> bool:
        """Whether the database answers; the log has the reason when it does not."""
        try:
            return self._database.run(lambda connection: connection.execute("SELECT 1").fetchone()) is not None
        except DatabaseUnavailable:
            return False

    def _read(self, work: Callable[Concatenate[Connection, UUID, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def read(connection: Connection) -> T:
            return work(connection, self._access(connection).project_id, *args, **kwargs)

        return self._database.run(read)

    def _access(self, connection: Connection) -> Access:
        if self._sender.key_hash is None:
            return only_project(connection)
        return authenticate(connection, self._sender.key_hash, READERS)


def _to_wire(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"An event holds a {type(value).__name__}; JSON has no such type.")
