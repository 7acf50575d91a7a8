"""Stores batches of events."""

from http import HTTPStatus

from muster.http import lambda_handler_for, service
from muster.requests import Request
from muster.responses import Response, json_response
from muster.routing import Routes

routes = Routes()


@routes.post("/v1/events")
def save_events(request: Request) -> Response:
    """A batch of events: 200 when it is committed, 202 when it is durably queued."""
    result = service(request).save_request(request.body)
    return json_response(result, HTTPStatus.OK if result["status"] == "committed" else HTTPStatus.ACCEPTED)


lambda_handler = lambda_handler_for(routes)
