"""Answers metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster import topics
from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes
from muster.http.response import Response

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.metrics.models import EventPage, Funnel, Metrics, Retention, SessionPage, UserSummary

routes = Routes()


@routes.get("/v1/metrics")
def get_metrics(request: Request) -> Metrics:
    """Totals, series and breakdown of a range."""
    return service(request).get_metrics(topics.metrics_requests.parse_metrics_request(request))


@routes.get("/v1/metrics/events")
def get_recent_events(request: Request) -> EventPage:
    """Raw events, newest first."""
    return service(request).get_recent_events(topics.metrics_requests.parse_events_request(request))


@routes.get("/v1/metrics/sessions")
def get_recent_sessions(request: Request) -> SessionPage:
    """Sessions by their latest event, newest first."""
    return service(request).get_recent_sessions(topics.metrics_requests.parse_events_request(request))


# The gateway has decoded the path: whatever a user id is made of, it is the rest of it.
@routes.get("/v1/metrics/users/{userId+}")
def get_user(request: Request) -> UserSummary:
    """One user's summary and latest events."""
    return service(request).get_user(request.path_parameters["userId"])


@routes.post("/v1/metrics/funnel")
def get_funnel(request: Request) -> Funnel:
    """How many take step after step."""
    return service(request).get_funnel(topics.funnel_requests.parse_funnel_request(request))


@routes.get("/v1/metrics/retention")
def get_retention(request: Request) -> Retention:
    """How many come back, by when they first came."""
    return service(request).get_retention(topics.metrics_requests.parse_retention_request(request))


@routes.get("/v1/metrics/export")
def export_events(request: Request) -> Response:
    """Raw events as a file, a page at a time: the header x-next-cursor leads to the next one."""
    page = service(request).export_events(topics.metrics_requests.parse_export_request(request))
    headers = {"x-next-cursor": page.next_cursor} if page.next_cursor else {}
    return Response(page.text, content_type=page.content_type, headers=headers)


lambda_handler = lambda_handler_for(routes)
