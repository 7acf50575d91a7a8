"""Stores batches of events."""

from muster.http import body, create_app, lambda_handler_for, service
from muster.models import BatchResult

app = create_app()


@app.post("/v1/events")
def save_events() -> BatchResult:
    """A batch of events; what is answered as accepted is committed."""
    return service(app).save_request(body(app))


lambda_handler = lambda_handler_for(app)
