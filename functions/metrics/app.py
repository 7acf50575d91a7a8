"""Serves metrics, funnels, cohorts and raw events."""

from muster.api.app import lambda_handler_for
from muster.api.routing import Route, Routes
from muster.platform.errors import NotFound

ROUTES = Routes(
    "Metrics",
    [
        Route(
            "GET",
            "/v1/metrics",
            "get_metrics",
            "Totals, time series and breakdown",
            read="muster.metrics.request:parse_metrics_request",
            query="muster.metrics.request:MetricsQuery",
            answers="muster.metrics.models:Metrics",
        ),
        Route(
            "GET",
            "/v1/metrics/events",
            "get_recent_events",
            "Raw events, newest first",
            read="muster.metrics.request:parse_events_request",
            query="muster.metrics.request:EventsQuery",
            answers="muster.metrics.models:EventPage",
        ),
        Route(
            "GET",
            "/v1/metrics/sessions",
            "get_recent_sessions",
            "Sessions by their latest event, newest first",
            read="muster.metrics.request:parse_events_request",
            query="muster.metrics.request:EventsQuery",
            answers="muster.metrics.models:SessionPage",
        ),
        Route(
            "GET",
            # API Gateway has decoded the path, so a user id may have slashes.
            "/v1/metrics/users/{userId+}",
            "get_user",
            "One user's summary and latest events",
            read="muster.http.params:text_in_path",
            answers="muster.metrics.models:UserSummary",
            errors=(NotFound,),
        ),
        Route(
            "POST",
            "/v1/metrics/funnel",
            "get_funnel",
            "Conversion through a sequence of steps",
            read="muster.metrics.funnel:parse_funnel_request",
            body="muster.metrics.funnel:FunnelIn",
            answers="muster.metrics.models:Funnel",
        ),
        Route(
            "GET",
            "/v1/metrics/retention",
            "get_retention",
            "Retention by cohort: users who come back",
            read="muster.metrics.request:parse_retention_request",
            query="muster.metrics.request:RetentionQuery",
            answers="muster.metrics.models:Retention",
        ),
        Route(
            "GET",
            "/v1/metrics/export",
            "export_events",
            "Raw events as a file, page by page",
            read="muster.metrics.request:parse_export_request",
            query="muster.metrics.request:ExportQuery",
            respond="muster.api.responses:export_response",
            content_types=("text/csv", "application/x-ndjson"),
        ),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
