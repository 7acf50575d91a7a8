"""The façade of Muster: what handlers call, and what an engineer calls from a Python shell.

Each operation takes one request model, or nothing, and hands it to its topic as `topic(connection, access, request)`:
an open connection, who asks, and what for. Some topics take the `Database` in place of the connection: ingest, which
stores or queues; erase_subject and replay_rejections, which need several transactions; issue_pilot_tokens, which must
send the same tokens again when an answer is lost; trace_event, which asks the queue between two statements; and
run_diagnostics, which opens a connection of its own.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from muster.auth.keys import PREFIX_LENGTH, Access, hash_key
from muster.auth.permissions import PERMISSIONS
from muster.platform.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from muster.db.client import Connection, Database
    from muster.diagnostics.delivery import DeliveryReport
    from muster.diagnostics.event_trace import Trace
    from muster.diagnostics.report import Diagnostics, Health
    from muster.http.body import RawBody
    from muster.ingest.results import BatchResponse, BatchResult
    from muster.metrics.export import ExportPage
    from muster.metrics.funnel import FunnelRequest
    from muster.metrics.models import EventPage, Funnel, Metrics, Retention, SessionPage, UserSummary
    from muster.metrics.request import ExportRequest, MetricsRequest, TraceRequest
    from muster.pilot.tokens import IssuedTokens, IssueIn, PilotToken, RedeemIn, Redemption, TokenPage, TokensRequest
    from muster.privacy.consent import Consent, ConsentRequest, Decision, DecisionIn
    from muster.privacy.subjects import Receipt, Subject, SubjectRequest
    from muster.quarantine.rejections import Rejections, RejectionsRequest, Replay
    from muster.quarantine.replay import ReplayIn
    from muster.sessions import KnownSession, Session, SessionUpdate

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


class AnalyticsService:
    """Acts for one project: that of `key`, or without a key the database's only one.

    Without a key the database's login must own the schema, as an engineer's in a shell does.

    Every operation raises KeyRefused where the key may not do it, and DatabaseUnavailable where the database does not
    answer. The docstring of its topic names the other errors.
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
        self._asker = Access(
            key_hash=key_hash if key_hash or key is None else hash_key(key),
            key_prefix=(key or "")[:PREFIX_LENGTH],
            request_id=request_id or str(uuid.uuid4()),
            user_agent=user_agent,
            opts_out=opts_out,
        )

    def save_events(
        self, user_id: str | None, session_id: str | UUID, events_to_save: Sequence[Mapping[str, Any]]
    ) -> BatchResult:
        """Store events of one session; each needs an event type and a timestamp with an offset.

        Names may be as on the wire or in snake_case, times texts or datetimes. The result names every rejected event.
        """
        from muster.ingest.handler import batch_text, save_batch

        text = batch_text(user_id, session_id, events_to_save)
        return save_batch(self._database, self._access("save_batch"), text).result

    def save_batch(self, body: RawBody) -> BatchResponse:
        """Store a batch as a client sent it, or queue it where ingest is buffered."""
        if self._database.settings.ingest_mode == "buffered":
            from muster.ingest.enqueue import queue_request

            return queue_request(self._database.settings, self._access("save_batch"), body)
        from muster.ingest.handler import save_request

        return save_request(self._database, self._access("save_batch"), body)

    def update_session(self, session_id: str | UUID, user_id: str | None) -> Session:
        """Create a session, or say which user it belongs to."""
        from muster.sessions import session_update

        return self.put_session(session_update(session_id, {"userId": user_id}))

    def put_session(self, request: SessionUpdate) -> Session:
        """Create or update a session."""
        from muster.sessions import put_session

        return self._for_key("put_session", put_session, request)

    def get_session(self, session_id: UUID) -> KnownSession:
        """A session and what is known of it."""
        from muster.sessions import get_session

        return self._for_key("get_session", get_session, session_id)

    def put_consent(self, request: DecisionIn) -> Decision:
        """Store what a user or a session decided about being counted."""
        from muster.privacy.consent import put_consent

        return self._for_key("put_consent", put_consent, request)

    def get_consent(self, request: ConsentRequest) -> Consent:
        """The decision that counts for a user or a session."""
        from muster.privacy.consent import get_consent

        return self._for_key("get_consent", get_consent, request)

    def get_subject(self, request: SubjectRequest) -> Subject:
        """A page of everything stored about a user."""
        from muster.privacy.subjects import get_subject

        return self._for_key("get_subject", get_subject, request)

    def erase_subject(self, user_id: str) -> Receipt:
        """Erase a user."""
        from muster.privacy.subjects import erase_subject

        return erase_subject(self._database, self._access("erase_subject"), user_id)

    def issue_pilot_tokens(self, request: IssueIn) -> IssuedTokens:
        """New pilot tokens, in clear this one time."""
        from muster.pilot.tokens import issue_pilot_tokens

        return issue_pilot_tokens(self._database, self._access("issue_pilot_tokens"), request)

    def get_pilot_tokens(self, request: TokensRequest) -> TokenPage:
        """A page of pilot tokens and their state, the latest first."""
        from muster.pilot.tokens import get_pilot_tokens

        return self._for_key("get_pilot_tokens", get_pilot_tokens, request)

    def revoke_pilot_token(self, token_id: UUID) -> PilotToken:
        """Revoke a pilot token."""
        from muster.pilot.tokens import revoke_pilot_token

        return self._for_key("revoke_pilot_token", revoke_pilot_token, token_id)

    def redeem_pilot_token(self, request: RedeemIn) -> Redemption:
        """Make a user or a session a participant of a pilot study."""
        from muster.pilot.tokens import redeem_pilot_token

        return self._for_key("redeem_pilot_token", redeem_pilot_token, request)

    def get_metrics(self, request: MetricsRequest) -> Metrics:
        """Totals, series and breakdown of a range, exact and fresh."""
        from muster.metrics.overview import get_metrics

        return self._for_project("get_metrics", get_metrics, request)

    def get_recent_events(self, request: MetricsRequest) -> EventPage:
        """A page of raw events, the latest first."""
        from muster.metrics.events import get_recent_events

        return self._for_project("get_recent_events", get_recent_events, request)

    def get_recent_sessions(self, request: MetricsRequest) -> SessionPage:
        """A page of sessions, the one with the latest event first."""
        from muster.metrics.sessions import get_recent_sessions

        return self._for_project("get_recent_sessions", get_recent_sessions, request)

    def get_user(self, user_id: str) -> UserSummary:
        """One user's summary and latest events."""
        from muster.metrics.user_profile import get_user

        return self._for_project("get_user", get_user, user_id)

    def get_funnel(self, request: FunnelRequest) -> Funnel:
        """How many users or sessions take step after step."""
        from muster.metrics.funnel import get_funnel

        return self._for_project("get_funnel", get_funnel, request)

    def get_retention(self, request: MetricsRequest) -> Retention:
        """How many users come back, by when they first came."""
        from muster.metrics.cohorts import get_retention

        return self._for_project("get_retention", get_retention, request)

    def export_events(self, request: ExportRequest) -> ExportPage:
        """A page of raw events as a file."""
        from muster.metrics.export import export_events

        return self._for_project("export_events", export_events, request)

    def run_diagnostics(self) -> Diagnostics:
        """What works and what does not, with the remedy of each fault; it raises for nothing but a refused key."""
        from muster.diagnostics.report import run_diagnostics

        return run_diagnostics(self._database, self._access("run_diagnostics"))

    def trace_event(self, request: TraceRequest) -> Trace:
        """Where an event is: the stages that it has passed, and whether a view of metrics shows it."""
        from muster.diagnostics.event_trace import trace_event

        return trace_event(self._database, self._access("trace_event"), request)

    def get_delivery_report(self, session_id: UUID) -> DeliveryReport:
        """Which batches of a session have arrived, and which have not."""
        from muster.diagnostics.delivery import get_delivery_report

        return self._for_project("get_delivery_report", get_delivery_report, session_id)

    def get_rejections(self, request: RejectionsRequest) -> Rejections:
        """A page of the quarantine, the newest first, or its counts by reason."""
        from muster.quarantine.rejections import get_rejections

        return self._for_project("get_rejections", get_rejections, request)

    def replay_rejections(self, request: ReplayIn) -> Replay:
        """Validate and store again what was rejected."""
        from muster.quarantine.replay import replay_rejections

        return replay_rejections(self._database, self._access("replay_rejections"), request)

    def check_health(self) -> Health:
        """{"status": "ok"}, or an error when the database does not answer or its schema is not current."""
        from muster.diagnostics.report import check_health

        return self._database.run(check_health)

    def test_database_connection(self) -> bool:
        """Whether the database answers; the log has the reason when it does not."""
        try:
            return self._database.run(lambda connection: connection.execute("SELECT 1").fetchone()) is not None
        except DatabaseUnavailable:
            return False

    def _for_key(
        self, operation: str, topic: Callable[[Connection, Access, RequestT], AnswerT], request: RequestT
    ) -> AnswerT:
        """Run a topic whose SQL function checks the key in the statement that does the work."""
        return self._database.run(topic, self._access(operation), request)

    def _for_project(
        self, operation: str, topic: Callable[[Connection, Access, RequestT], AnswerT], request: RequestT
    ) -> AnswerT:
        """Look the key up, then run a topic whose statements take the key's project."""
        access = self._access(operation)
        return self._database.run(lambda connection: topic(connection, access.look_up(connection), request))

    def _access(self, operation: str) -> Access:
        return self._asker._replace(allowed=PERMISSIONS[operation])
