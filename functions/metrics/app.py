"""Answers metrics."""

from muster.http import create_app, lambda_handler_for, query_of, service
from muster.metrics_models import EventPage, Metrics
from muster.metrics_requests import parse_events_request, parse_metrics_request

app = create_app()


@app.get("/v1/metrics")
def get_metrics() -> Metrics:
    """Totals, series and breakdown of a range."""
    return service(app).get_metrics(parse_metrics_request(query_of(app)))


@app.get("/v1/metrics/events")
def get_recent_events() -> EventPage:
    """Raw events, newest first."""
    return service(app).get_recent_events(parse_events_request(query_of(app)))


lambda_handler = lambda_handler_for(app)
