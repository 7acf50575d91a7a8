"""Says what works and what does not, where an event is, and what was rejected."""

from muster.diagnostics import Diagnostics
from muster.http import body, create_app, lambda_handler_for, public_service, query_of, service
from muster.ledger import SessionLedger
from muster.metrics_requests import parse_trace_request
from muster.parameters import uuid_of
from muster.quarantine_models import RejectionGroups, RejectionPage, Replay
from muster.quarantine_requests import parse_rejections_request
from muster.traces import Trace

app = create_app()


@app.get("/v1/diagnostics")
def run_diagnostics() -> Diagnostics:
    """Every check with its remedy."""
    return service(app).run_diagnostics()


@app.get("/v1/diagnostics/events/<event_id>")
def trace_event(event_id: str) -> Trace:
    """Where is my event?"""
    return service(app).trace_event(uuid_of("eventId", event_id), parse_trace_request(query_of(app)))


@app.get("/v1/diagnostics/sessions/<session_id>")
def get_session_ledger(session_id: str) -> SessionLedger:
    """Which batches of a session have arrived."""
    return service(app).get_session_ledger(uuid_of("sessionId", session_id))


@app.get("/v1/diagnostics/rejections")
def get_rejections() -> RejectionPage | RejectionGroups:
    """The quarantine."""
    return service(app).get_rejections(parse_rejections_request(query_of(app)))


@app.post("/v1/diagnostics/rejections/replay")
def replay_rejections() -> Replay:
    """What was rejected, once more under today's rules."""
    return service(app).replay_rejections(body(app))


@app.get("/healthz")
def check_health() -> dict[str, str]:
    """Whether the database answers and the schema is current."""
    return public_service().check_health()


lambda_handler = lambda_handler_for(app)
