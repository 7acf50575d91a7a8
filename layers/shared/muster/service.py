"""The façade of Muster: what handlers call, and what an engineer calls from a Python shell.

Each operation takes one request model, or nothing, and passes it to its topic as `topic(connection, access, request)`:
an open connection, the caller's access, and the request. Some topics take the `Database` instead of a connection:
ingest, which stores or queues; erase_subject and replay_rejections, which need several transactions;
issue_pilot_tokens, which must retry with the same tokens when a response is lost; trace_event, which reads the queue
between two statements; and run_diagnostics, which opens its own connection.
"""

from __future__ import annotations

import uuid
from functools import partial
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
    """Acts for one project: the project of `key` or, without a key, the only one in the database.

    Without a key, the database login must own the schema, as an engineer's login in a shell does.

    Every operation raises KeyRefused if the key may not perform it, and DatabaseUnavailable if the database does not
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
        self._new_access = partial(
            Access,
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

        Names may be camelCase or snake_case; times may be strings or datetimes. The result lists every rejected event.
        """
        from muster.ingest.handler import batch_text, save_batch

        text = batch_text(user_id, session_id, events_to_save)
        return save_batch(self._database, self._access("save_batch"), text).result

    def save_batch(self, body: RawBody) -> BatchResponse:
        """Store a batch as a client sent it, or queue it if ingest is buffered."""
        if self._database.settings.ingest_mode == "buffered":
            from muster.ingest.enqueue import queue_request

            return queue_request(self._database.settings, self._access("save_batch"), body)
        from muster.ingest.handler import save_request

        return save_request(self._database, self._access("save_batch"), body)

    def update_session(self, session_id: str | UUID, user_id: str | None) -> Session:
        """Create a session, or set the user it belongs to."""
        from muster.sessions import session_update

        return self.put_session(session_update(session_id, {"userId": user_id}))

    def put_session(self, request: SessionUpdate) -> Session:
        """Create or update a session."""
        from muster.sessions import put_session

        return self._for_key("put_session", put_session, request)

    def get_session(self, session_id: UUID) -> KnownSession:
        """Get a session."""
        from muster.sessions import get_session

        return self._for_key("get_session", get_session, session_id)

    def put_consent(self, request: DecisionIn) -> Decision:
        """Record a consent decision of a user or a session."""
        from muster.privacy.consent import put_consent

        return self._for_key("put_consent", put_consent, request)

    def get_consent(self, request: ConsentRequest) -> Consent:
        """Get the consent decision in force for a user or a session."""
        from muster.privacy.consent import get_consent

        return self._for_key("get_consent", get_consent, request)

    def get_subject(self, request: SubjectRequest) -> Subject:
        """Get a page of everything stored about a user."""
        from muster.privacy.subjects import get_subject

        return self._for_key("get_subject", get_subject, request)

    def erase_subject(self, user_id: str) -> Receipt:
        """Erase everything stored about a user."""
        from muster.privacy.subjects import erase_subject

        return erase_subject(self._database, self._access("erase_subject"), user_id)

    def issue_pilot_tokens(self, request: IssueIn) -> IssuedTokens:
        """Issue pilot tokens. They are shown in clear only in this response."""
        from muster.pilot.tokens import issue_pilot_tokens

        return issue_pilot_tokens(self._database, self._access("issue_pilot_tokens"), request)

    def get_pilot_tokens(self, request: TokensRequest) -> TokenPage:
        """List pilot tokens and their state, newest first."""
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
        """Get the totals, series and breakdown of a range."""
        from muster.metrics.overview import get_metrics

        return self._for_project("get_metrics", get_metrics, request)

    def get_recent_events(self, request: MetricsRequest) -> EventPage:
        """List raw events, newest first."""
        from muster.metrics.events import get_recent_events

        return self._for_project("get_recent_events", get_recent_events, request)

    def get_recent_sessions(self, request: MetricsRequest) -> SessionPage:
        """List sessions, ordered by their latest event, newest first."""
        from muster.metrics.sessions import get_recent_sessions

        return self._for_project("get_recent_sessions", get_recent_sessions, request)

    def get_user(self, user_id: str) -> UserSummary:
        """Get one user's summary and latest events."""
        from muster.metrics.user_profile import get_user

        return self._for_project("get_user", get_user, user_id)

    def get_funnel(self, request: FunnelRequest) -> Funnel:
        """Count the users or sessions that complete each step of a funnel."""
        from muster.metrics.funnel import get_funnel

        return self._for_project("get_funnel", get_funnel, request)

    def get_retention(self, request: MetricsRequest) -> Retention:
        """Count the users who come back, by the period in which they first came."""
        from muster.metrics.cohorts import get_retention

        return self._for_project("get_retention", get_retention, request)

    def export_events(self, request: ExportRequest) -> ExportPage:
        """Export a page of raw events as CSV or NDJSON."""
        from muster.metrics.export import export_events

        return self._for_project("export_events", export_events, request)

    def run_diagnostics(self) -> Diagnostics:
        """Run every check. The only error it raises is KeyRefused."""
        from muster.diagnostics.report import run_diagnostics

        return run_diagnostics(self._database, self._access("run_diagnostics"))

    def trace_event(self, request: TraceRequest) -> Trace:
        """Find an event: the stages it has passed, and whether a metrics view shows it."""
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
        """Validate rejected events again and store those that pass."""
        from muster.quarantine.replay import replay_rejections

        return replay_rejections(self._database, self._access("replay_rejections"), request)

    def check_health(self) -> Health:
        """Return {"status": "ok"}, or raise if the database does not answer or its schema is not current."""
        from muster.diagnostics.report import check_health

        return self._database.run(check_health)

    def test_database_connection(self) -> bool:
        """Whether the database answers. If not, the log says why."""
        try:
            return self._database.run(lambda connection: connection.execute("SELECT 1").fetchone()) is not None
        except DatabaseUnavailable:
            return False

    def _for_key(
        self, operation: str, topic: Callable[[Connection, Access, RequestT], AnswerT], request: RequestT
    ) -> AnswerT:
        """Run a topic that has its SQL function check the key."""
        return self._database.run(topic, self._access(operation), request)

    def _for_project(
        self, operation: str, topic: Callable[[Connection, Access, RequestT], AnswerT], request: RequestT
    ) -> AnswerT:
        """Look the key up, then run a topic for the key's project."""
        access = self._access(operation)
        return self._database.run(lambda connection: topic(connection, access.look_up(connection), request))

    def _access(self, operation: str) -> Access:
        return self._new_access(allowed=PERMISSIONS[operation])
