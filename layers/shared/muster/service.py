"""The façade of Muster: what handlers call, and what an engineer calls from a Python shell."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from muster import topics
from muster.errors import DatabaseUnavailable
from muster.key_use import note_use
from muster.keys import PREFIX_LENGTH, Access, Sender, authenticate, hash_key, only_project
from muster.rights import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from muster.bodies import RawBody
    from muster.consent import Consent, ConsentRequest, Decision
    from muster.database import Connection, Database
    from muster.diagnostics import Diagnostics
    from muster.export import ExportPage, Format
    from muster.funnel_requests import FunnelRequest
    from muster.ledger import SessionLedger
    from muster.metrics_models import EventPage, Funnel, Metrics, Retention, SessionPage, UserSummary
    from muster.metrics_requests import MetricsRequest, TraceRequest
    from muster.pilot import IssuedTokens, PilotToken, Redemption, TokenPage
    from muster.pilot_requests import TokensRequest
    from muster.quarantine_models import RejectionGroups, RejectionPage, Replay
    from muster.quarantine_requests import RejectionsRequest
    from muster.results import BatchResult, Saved
    from muster.sessions import KnownSession, Session
    from muster.subjects import Receipt, Subject, SubjectRequest
    from muster.traces import Trace

T = TypeVar("T")
P = ParamSpec("P")


class AnalyticsService:
    """Acts for one project: that of `key`, or without a key the database's only one.

    Without a key the database's login must own the schema, as an engineer's in a shell does.
    """

    def __init__(
        self,
        database: Database,
        *,
        key: str | None = None,
        key_hash: bytes | None = None,
        request_id: str | None = None,
        user_agent: str = "",
        opts_out: bool = False,
    ) -> None:
        self._database = database
        self._sender = Sender(
            key_hash=key_hash if key_hash or key is None else hash_key(key),
            request_id=request_id or str(uuid.uuid4()),
            user_agent=user_agent,
            key_prefix=(key or "")[:PREFIX_LENGTH],
            opts_out=opts_out,
        )

    def save_events(
        self, user_id: str | None, session_id: str | UUID, events_to_save: Sequence[Mapping[str, Any]]
    ) -> BatchResult:
        """Store events of one session; each needs an event type and a timestamp with an offset.

        Names may be as on the wire or in snake_case, times texts or datetimes. What is rejected is in the result.
        """
        return topics.events.save_batch(
            self._database, self._sender, topics.events.batch_text(user_id, session_id, events_to_save)
        ).result

    def save_request(self, body: RawBody) -> Saved:
        """Store a batch as a client sent it, or queue it where ingest is buffered."""
        if self._database.settings.ingest_mode == "buffered":
            return topics.buffered.queue_request(self._database.settings, self._sender, body)
        return topics.events.save_request(self._database, self._sender, body)

    def update_session(self, session_id: str | UUID, user_id: str | None) -> Session:
        """Create the session, or say whose it is."""
        return topics.sessions.put_session(
            self._database, self._sender, str(session_id), json.dumps({"userId": user_id})
        )

    def put_session(self, session_id: str, body: RawBody) -> Session:
        """Create or update a session as a client describes it."""
        return topics.sessions.put_request(self._database, self._sender, session_id, body)

    def get_session(self, session_id: str) -> KnownSession:
        """A session and what is known of it."""
        return topics.sessions.get_session(self._database, self._sender, session_id)

    def put_consent(self, body: RawBody) -> Decision:
        """Keep what a user or a session decided about being counted."""
        return topics.consent.put_request(self._database, self._sender, body)

    def get_consent(self, request: ConsentRequest) -> Consent:
        """The decision that counts for a user or a session."""
        return topics.consent.get_consent(self._database, self._sender, request)

    def get_subject(self, user_id: str, request: SubjectRequest) -> Subject:
        """A page of everything stored about a user; needs an admin key."""
        return topics.subjects.get_subject(self._database, self._sender, user_id, request)

    def erase_subject(self, user_id: str) -> Receipt:
        """Erase a user; needs an admin key."""
        return topics.subjects.erase_subject(self._database, self._sender, user_id)

    def get_metrics(self, request: MetricsRequest) -> Metrics:
        """Totals, series and breakdown of a range, exact and fresh."""
        return self._read(topics.metrics.get_metrics, request)

    def get_recent_events(self, request: MetricsRequest) -> EventPage:
        """Raw events, newest first."""
        return self._read(topics.recent_events.get_recent_events, request)

    def get_recent_sessions(self, request: MetricsRequest) -> SessionPage:
        """Sessions by their latest event, newest first."""
        return self._read(topics.recent_sessions.get_recent_sessions, request)

    def get_user(self, user_id: str) -> UserSummary:
        """One user's summary and latest events."""
        return self._read(topics.users.get_user, user_id)

    def get_funnel(self, request: FunnelRequest) -> Funnel:
        """How many take step after step."""
        return self._read(topics.funnel.get_funnel, request)

    def get_retention(self, request: MetricsRequest) -> Retention:
        """How many come back, by when they first came."""
        return self._read(topics.retention.get_retention, request)

    def export_events(self, request: MetricsRequest, form: Format) -> ExportPage:
        """A page of raw events as a file."""
        return self._read(topics.export.export_events, request, form)

    def trace_event(self, event_id: UUID, request: TraceRequest) -> Trace:
        """Where an event is: the stages that it has passed, and whether a view of metrics shows it."""
        return self._read(topics.traces.trace_event, self._database.settings, event_id, request)

    def get_session_ledger(self, session_id: UUID) -> SessionLedger:
        """Which batches of a session have arrived, and which have not."""
        return self._read(topics.ledger.get_session_ledger, session_id)

    def get_rejections(self, request: RejectionsRequest) -> RejectionPage | RejectionGroups:
        """The quarantine, the newest first, or by reason."""
        return self._read(topics.quarantine.get_rejections, request)

    def replay_rejections(self, body: RawBody) -> Replay:
        """Validate and store again what was rejected; needs an admin key."""
        return topics.replay.replay_request(self._database, self._sender, body)

    def issue_pilot_tokens(self, body: RawBody) -> IssuedTokens:
        """New pilot tokens, in clear this one time; needs an admin key."""
        return topics.pilot.issue_tokens(self._database, self._sender, body)

    def get_pilot_tokens(self, request: TokensRequest) -> TokenPage:
        """Pilot tokens and their state, the latest first; needs an admin key."""
        return topics.pilot.get_tokens(self._database, self._sender, request)

    def revoke_pilot_token(self, token_id: UUID) -> PilotToken:
        """A pilot token that nobody redeems any more; needs an admin key."""
        return topics.pilot.revoke_token(self._database, self._sender, token_id)

    def redeem_pilot_token(self, body: RawBody) -> Redemption:
        """Make a user or a session a participant of a pilot study."""
        return topics.pilot.redeem_token(self._database, self._sender, body)

    def run_diagnostics(self) -> Diagnostics:
        """What works and what does not, with the remedy of each fault; never raises but for a refused key."""
        return topics.diagnostics.run_diagnostics(self._database.settings, self._access_for("run_diagnostics"))

    def check_health(self) -> dict[str, str]:
        """{"status": "ok"}, or an error when the database does not answer or its schema is not current."""
        topics.diagnostics.check_health(self._database)
        return {"status": "ok"}

    def test_database_connection(self) -> bool:
        """Whether the database answers; the log has the reason when it does not."""
        try:
            return self._database.run(lambda connection: connection.execute("SELECT 1").fetchone()) is not None
        except DatabaseUnavailable:
            return False

    def _read(self, work: Callable[Concatenate[Connection, UUID, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        access = self._access_for(work.__name__)

        def read(connection: Connection) -> T:
            return work(connection, access(connection).project_id, *args, **kwargs)

        return self._database.run(read)

    def _access_for(self, verb: str) -> Callable[[Connection], Access]:
        allowed, key_hash = RIGHTS[verb], self._sender.key_hash
        if key_hash is None:
            return only_project

        def access(connection: Connection) -> Access:
            found = authenticate(connection, key_hash, allowed)
            note_use(connection, key_hash)
            return found

        return access
