"""The façade of Muster: what handlers call, and what an engineer calls from a Python shell."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from muster.auth.keys import PREFIX_LENGTH, Access, hash_key
from muster.auth.permissions import PERMISSIONS
from muster.platform.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from muster.db.client import Connection, Database
    from muster.diagnostics.delivery import DeliveryReport
    from muster.diagnostics.event_trace import Trace
    from muster.diagnostics.report import Diagnostics
    from muster.http.body import RawBody
    from muster.ingest.results import BatchResult, Saved
    from muster.metrics.export import ExportPage
    from muster.metrics.funnel import FunnelRequest
    from muster.metrics.models import EventPage, Funnel, Metrics, Retention, SessionPage, UserSummary
    from muster.metrics.request import ExportRequest, MetricsRequest, TraceRequest
    from muster.pilot.tokens import IssuedTokens, PilotToken, Redemption, TokenPage, TokensRequest
    from muster.privacy.consent import Consent, ConsentRequest, Decision
    from muster.privacy.subjects import Receipt, Subject, SubjectRequest
    from muster.quarantine.rejections import RejectionGroups, RejectionPage, RejectionsRequest, Replay
    from muster.sessions import KnownSession, Session

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
        self._asker = Access(
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
        from muster.ingest.handler import batch_text, save_batch

        return save_batch(
            self._database, self._access("save_events"), batch_text(user_id, session_id, events_to_save)
        ).result

    def save_request(self, body: RawBody) -> Saved:
        """Store a batch as a client sent it, or queue it where ingest is buffered."""
        if self._database.settings.ingest_mode == "buffered":
            from muster.ingest.buffered import queue_request

            return queue_request(self._database.settings, self._access("save_events"), body)
        from muster.ingest.handler import save_request

        return save_request(self._database, self._access("save_events"), body)

    def update_session(self, session_id: str | UUID, user_id: str | None) -> Session:
        """Create the session, or say whose it is."""
        from muster.sessions import put_session

        return put_session(
            self._database, self._access("put_session"), str(session_id), json.dumps({"userId": user_id})
        )

    def put_session(self, session_id: str, body: RawBody) -> Session:
        """Create or update a session as a client describes it."""
        from muster.sessions import put_request

        return put_request(self._database, self._access("put_session"), session_id, body)

    def get_session(self, session_id: str) -> KnownSession:
        """A session and what is known of it."""
        from muster.sessions import get_session

        return get_session(self._database, self._access("get_session"), session_id)

    def put_consent(self, body: RawBody) -> Decision:
        """Keep what a user or a session decided about being counted."""
        from muster.privacy.consent import put_request

        return put_request(self._database, self._access("put_consent"), body)

    def get_consent(self, request: ConsentRequest) -> Consent:
        """The decision that counts for a user or a session."""
        from muster.privacy.consent import get_consent

        return get_consent(self._database, self._access("get_consent"), request)

    def get_subject(self, request: SubjectRequest) -> Subject:
        """A page of everything stored about a user; needs an admin key."""
        from muster.privacy.subjects import get_subject

        return get_subject(self._database, self._access("get_subject"), request)

    def erase_subject(self, user_id: str) -> Receipt:
        """Erase a user; needs an admin key."""
        from muster.privacy.subjects import erase_subject

        return erase_subject(self._database, self._access("erase_subject"), user_id)

    def get_metrics(self, request: MetricsRequest) -> Metrics:
        """Totals, series and breakdown of a range, exact and fresh."""
        from muster.metrics.overview import get_metrics

        return self._read(get_metrics, request)

    def get_recent_events(self, request: MetricsRequest) -> EventPage:
        """Raw events, newest first."""
        from muster.metrics.events import get_recent_events

        return self._read(get_recent_events, request)

    def get_recent_sessions(self, request: MetricsRequest) -> SessionPage:
        """Sessions by their latest event, newest first."""
        from muster.metrics.sessions import get_recent_sessions

        return self._read(get_recent_sessions, request)

    def get_user(self, user_id: str) -> UserSummary:
        """One user's summary and latest events."""
        from muster.metrics.user_profile import get_user

        return self._read(get_user, user_id)

    def get_funnel(self, request: FunnelRequest) -> Funnel:
        """How many take step after step."""
        from muster.metrics.funnel import get_funnel

        return self._read(get_funnel, request)

    def get_retention(self, request: MetricsRequest) -> Retention:
        """How many come back, by when they first came."""
        from muster.metrics.cohorts import get_retention

        return self._read(get_retention, request)

    def export_events(self, request: ExportRequest) -> ExportPage:
        """A page of raw events as a file."""
        from muster.metrics.export import export_events

        return self._read(export_events, request)

    def trace_event(self, request: TraceRequest) -> Trace:
        """Where an event is: the stages that it has passed, and whether a view of metrics shows it."""
        from muster.diagnostics.event_trace import trace_event

        return self._read(trace_event, self._database.settings, request)

    def get_delivery_report(self, session_id: UUID) -> DeliveryReport:
        """Which batches of a session have arrived, and which have not."""
        from muster.diagnostics.delivery import get_delivery_report

        return self._read(get_delivery_report, session_id)

    def get_rejections(self, request: RejectionsRequest) -> RejectionPage | RejectionGroups:
        """The quarantine, the newest first, or by reason."""
        from muster.quarantine.rejections import get_rejections

        return self._read(get_rejections, request)

    def replay_rejections(self, body: RawBody) -> Replay:
        """Validate and store again what was rejected; needs an admin key."""
        from muster.quarantine.replay import replay_request

        return replay_request(self._database, self._access("replay_rejections"), body)

    def issue_pilot_tokens(self, body: RawBody) -> IssuedTokens:
        """New pilot tokens, in clear this one time; needs an admin key."""
        from muster.pilot.tokens import issue_tokens

        return issue_tokens(self._database, self._access("issue_pilot_tokens"), body)

    def get_pilot_tokens(self, request: TokensRequest) -> TokenPage:
        """Pilot tokens and their state, the latest first; needs an admin key."""
        from muster.pilot.tokens import get_tokens

        return get_tokens(self._database, self._access("get_pilot_tokens"), request)

    def revoke_pilot_token(self, token_id: UUID) -> PilotToken:
        """A pilot token that nobody redeems any more; needs an admin key."""
        from muster.pilot.tokens import revoke_token

        return revoke_token(self._database, self._access("revoke_pilot_token"), token_id)

    def redeem_pilot_token(self, body: RawBody) -> Redemption:
        """Make a user or a session a participant of a pilot study."""
        from muster.pilot.tokens import redeem_token

        return redeem_token(self._database, self._access("redeem_pilot_token"), body)

    def run_diagnostics(self) -> Diagnostics:
        """What works and what does not, with the remedy of each fault; never raises but for a refused key."""
        from muster.diagnostics.report import run_diagnostics

        return run_diagnostics(self._database.settings, self._access("run_diagnostics"))

    def check_health(self) -> dict[str, str]:
        """{"status": "ok"}, or an error when the database does not answer or its schema is not current."""
        from muster.diagnostics.report import check_health

        check_health(self._database)
        return {"status": "ok"}

    def test_database_connection(self) -> bool:
        """Whether the database answers; the log has the reason when it does not."""
        try:
            return self._database.run(lambda connection: connection.execute("SELECT 1").fetchone()) is not None
        except DatabaseUnavailable:
            return False

    def _read(self, work: Callable[Concatenate[Connection, UUID, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        access = self._access(work.__name__)

        def read(connection: Connection) -> T:
            return work(connection, access.look_up(connection).project_id, *args, **kwargs)

        return self._database.run(read)

    def _access(self, operation: str) -> Access:
        return replace(self._asker, allowed=PERMISSIONS[operation])
