"""Issues, lists, revokes and redeems the tokens of pilot studies."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from muster import topics
from muster.api.app import lambda_handler_for, service
from muster.api.routing import Routes
from muster.http.query_params import uuid_of
from muster.http.response import json_response

if TYPE_CHECKING:
    from muster.http.request import Request
    from muster.http.response import Response
    from muster.pilot.tokens import PilotToken, Redemption, TokenPage

routes = Routes()


@routes.post("/v1/pilot-tokens")
def issue_pilot_tokens(request: Request) -> Response:
    """New tokens, in clear this one time."""
    issued = service(request).issue_pilot_tokens(topics.pilot_requests.parse_issue(request))
    return json_response(issued, HTTPStatus.CREATED)


@routes.get("/v1/pilot-tokens")
def get_pilot_tokens(request: Request) -> TokenPage:
    """The tokens and what has become of them."""
    return service(request).get_pilot_tokens(topics.pilot_requests.parse_tokens_request(request))


@routes.delete("/v1/pilot-tokens/{id}")
def revoke_pilot_token(request: Request) -> PilotToken:
    """Nobody redeems it any more."""
    return service(request).revoke_pilot_token(uuid_of("id", request.path_parameters["id"]))


@routes.post("/v1/pilot-tokens/redeem")
def redeem_pilot_token(request: Request) -> Redemption:
    """Makes a user or a session a participant."""
    return service(request).redeem_pilot_token(topics.pilot_requests.parse_redemption(request))


lambda_handler = lambda_handler_for(routes)
