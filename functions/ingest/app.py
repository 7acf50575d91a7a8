"""Stores batches of events."""

from http import HTTPStatus

from muster import origins
from muster.http import lambda_handler_for, service
from muster.requests import Request
from muster.responses import Response
from muster.routing import Routes

routes = Routes()


@routes.post("/v1/events")
def save_events(request: Request) -> Response:
    """A batch of events: 200 when it is committed, 202 when it is durably queued."""
    saved = service(request).save_request(request.body)
    return Response(saved.text, HTTPStatus.OK if saved.result["status"] == "committed" else HTTPStatus.ACCEPTED)


@routes.options("/{proxy+}")
def answer_preflight(request: Request) -> Response:
    """What browsers ask of any route before they send."""
    return origins.answer_preflight(request)


lambda_handler = lambda_handler_for(routes)
