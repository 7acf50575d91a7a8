"""Stores batches of events."""

from aws_lambda_powertools.event_handler import Response

from muster.http import batch_response, body, create_app, lambda_handler_for, service

app = create_app()


@app.post("/v1/events")
def save_events() -> Response[str]:
    """A batch of events: 200 when it is committed, 202 when it is durably queued."""
    return batch_response(service(app).save_request(body(app)))


lambda_handler = lambda_handler_for(app)
