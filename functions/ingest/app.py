"""Stores batches of events."""

from http import HTTPStatus

from muster.api import cors
from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes
from muster.http.request import Request
from muster.http.response import Response

routes = Routes()


@routes.post("/v1/events")
def save_batch(request: Request) -> Response:
    """A batch of events: 200 when it is committed, 202 when it is durably queued."""
    saved = service(request).save_batch(request.body)
    return Response(saved.text, HTTPStatus.OK if saved.result["status"] == "committed" else HTTPStatus.ACCEPTED)


@routes.options("/{proxy+}")
def answer_preflight(request: Request) -> Response:
    """What browsers ask of any route before they send."""
    return cors.answer_preflight(request)


lambda_handler = lambda_handler_for(routes)
