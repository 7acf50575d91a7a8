"""Answers metrics."""

from aws_lambda_powertools.event_handler import Response

from muster.bodies import read_text
from muster.funnel_requests import parse_funnel_request
from muster.http import body, create_app, lambda_handler_for, query_of, service
from muster.metrics_models import EventPage, Funnel, Metrics, Retention, UserSummary
from muster.metrics_requests import (
    parse_events_request,
    parse_export_request,
    parse_metrics_request,
    parse_retention_request,
)

app = create_app()


@app.get("/v1/metrics")
def get_metrics() -> Metrics:
    """Totals, series and breakdown of a range."""
    return service(app).get_metrics(parse_metrics_request(query_of(app)))


@app.get("/v1/metrics/events")
def get_recent_events() -> EventPage:
    """Raw events, newest first."""
    return service(app).get_recent_events(parse_events_request(query_of(app)))


# The gateway has decoded the path: whatever a user id is made of, it is the rest of it.
@app.get("/v1/metrics/users/.+")
def get_user() -> UserSummary:
    """One user's summary and latest events."""
    return service(app).get_user(app.current_event.path.removeprefix("/v1/metrics/users/"))


@app.post("/v1/metrics/funnel")
def get_funnel() -> Funnel:
    """How many take step after step."""
    return service(app).get_funnel(parse_funnel_request(read_text(body(app))))


@app.get("/v1/metrics/retention")
def get_retention() -> Retention:
    """How many come back, by when they first came."""
    return service(app).get_retention(parse_retention_request(query_of(app)))


@app.get("/v1/metrics/export")
def export_events() -> Response[str]:
    """Raw events as a file, a page at a time: the header x-next-cursor leads to the next one."""
    page = service(app).export_events(*parse_export_request(query_of(app)))
    headers: dict[str, str | list[str]] = {"x-next-cursor": page.next_cursor} if page.next_cursor else {}
    return Response(status_code=200, content_type=page.content_type, body=page.text, headers=headers)


lambda_handler = lambda_handler_for(app)
