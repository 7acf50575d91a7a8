"""Checks the system, traces events, reports deliveries, and shows the quarantine."""

from muster.api.app import lambda_handler_for
from muster.api.routing import Route, Routes
from muster.platform.errors import DatabaseUnavailable, NotFound

ROUTES = Routes(
    "Diagnostics",
    [
        Route(
            "GET",
            "/v1/diagnostics",
            "run_diagnostics",
            "All checks with their remedies",
            answers="muster.diagnostics.report:Diagnostics",
        ),
        Route(
            "GET",
            "/v1/diagnostics/events/{eventId}",
            "trace_event",
            "Where is my event?",
            read="muster.metrics.request:parse_trace_request",
            query="muster.metrics.request:TraceQuery",
            answers="muster.diagnostics.event_trace:Trace",
        ),
        Route(
            "GET",
            "/v1/diagnostics/sessions/{sessionId}",
            "get_delivery_report",
            "Which batches of a session have arrived",
            read="muster.http.params:uuid_in_path",
            answers="muster.diagnostics.delivery:DeliveryReport",
            errors=(NotFound,),
        ),
        Route(
            "GET",
            "/v1/diagnostics/rejections",
            "get_rejections",
            "The quarantine, newest first",
            read="muster.quarantine.rejections:parse_rejections_request",
            query="muster.quarantine.rejections:RejectionsQuery",
            answers="muster.quarantine.rejections:Rejections",
        ),
        Route(
            "POST",
            "/v1/diagnostics/rejections/replay",
            "replay_rejections",
            "Store rejected events that are valid now",
            read="muster.quarantine.replay:parse_replay",
            body="muster.quarantine.replay:ReplayIn",
            is_body_optional=True,
            answers="muster.quarantine.rejections:Replay",
        ),
        Route(
            "GET",
            "/healthz",
            "check_health",
            "Whether the database answers and the schema is current",
            answers="muster.diagnostics.report:Health",
            errors=(DatabaseUnavailable,),
        ),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
