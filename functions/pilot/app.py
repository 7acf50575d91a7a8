"""Issues, lists, revokes and redeems the tokens of pilot studies."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from muster import topics
from muster.http import lambda_handler_for, service
from muster.parameters import uuid_of
from muster.responses import json_response
from muster.routing import Routes

if TYPE_CHECKING:
    from muster.pilot import PilotToken, Redemption, TokenPage
    from muster.requests import Request
    from muster.responses import Response

routes = Routes()


@routes.post("/v1/pilot-tokens")
def issue_pilot_tokens(request: Request) -> Response:
    """New tokens, in clear this one time."""
    return json_response(service(request).issue_pilot_tokens(request.body), HTTPStatus.CREATED)


@routes.get("/v1/pilot-tokens")
def get_pilot_tokens(request: Request) -> TokenPage:
    """The tokens and what has become of them."""
    return service(request).get_pilot_tokens(topics.pilot_requests.parse_tokens_request(request.query))


@routes.delete("/v1/pilot-tokens/{id}")
def revoke_pilot_token(request: Request) -> PilotToken:
    """Nobody redeems it any more."""
    return service(request).revoke_pilot_token(uuid_of("id", request.path_parameters["id"]))


@routes.post("/v1/pilot-tokens/redeem")
def redeem_pilot_token(request: Request) -> Redemption:
    """Makes a user or a session a participant."""
    return service(request).redeem_pilot_token(request.body)


lambda_handler = lambda_handler_for(routes)
