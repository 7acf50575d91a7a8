"""Says what works and what does not, where an event is, and what was rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster import topics
from muster.api.app import lambda_handler_for, public_service, service
from muster.api.routing import Routes
from muster.http.query_params import uuid_of

if TYPE_CHECKING:
    from muster.diagnostics.delivery import DeliveryReport
    from muster.diagnostics.event_trace import Trace
    from muster.diagnostics.report import Diagnostics, Health
    from muster.http.request import Request
    from muster.quarantine.rejections import RejectionGroups, RejectionPage, Replay

routes = Routes()


@routes.get("/v1/diagnostics")
def run_diagnostics(request: Request) -> Diagnostics:
    """Every check with its remedy."""
    return service(request).run_diagnostics()


@routes.get("/v1/diagnostics/events/{eventId}")
def trace_event(request: Request) -> Trace:
    """Where is my event?"""
    return service(request).trace_event(topics.metrics_requests.parse_trace_request(request))


@routes.get("/v1/diagnostics/sessions/{sessionId}")
def get_delivery_report(request: Request) -> DeliveryReport:
    """Which batches of a session have arrived."""
    return service(request).get_delivery_report(uuid_of("sessionId", request.path_parameters["sessionId"]))


@routes.get("/v1/diagnostics/rejections")
def get_rejections(request: Request) -> RejectionPage | RejectionGroups:
    """The quarantine."""
    return service(request).get_rejections(topics.quarantine_requests.parse_rejections_request(request))


@routes.post("/v1/diagnostics/rejections/replay")
def replay_rejections(request: Request) -> Replay:
    """What was rejected, once more under today's rules."""
    return service(request).replay_rejections(topics.replay.parse_replay(request))


@routes.get("/healthz")
def check_health(_: Request) -> Health:
    """Whether the database answers and the schema is current."""
    return public_service().check_health()


lambda_handler = lambda_handler_for(routes)
