"""Issues, lists, revokes and redeems pilot tokens."""

from http import HTTPStatus

from muster.api.app import lambda_handler_for
from muster.api.routing import Route, Routes
from muster.platform.errors import SessionBelongsToAnotherUser, TokenGone, TokenNotFound, TooManyAttempts

ROUTES = Routes(
    "Pilot",
    [
        Route(
            "POST",
            "/v1/pilot-tokens",
            "issue_pilot_tokens",
            "Issue tokens; only this response shows them",
            read="muster.pilot.tokens:parse_issue",
            body="muster.pilot.tokens:IssueIn",
            answers="muster.pilot.tokens:IssuedTokens",
            status=HTTPStatus.CREATED,
        ),
        Route(
            "GET",
            "/v1/pilot-tokens",
            "get_pilot_tokens",
            "The tokens with their state",
            read="muster.pilot.tokens:parse_tokens_request",
            query="muster.pilot.tokens:TokensRequest",
            answers="muster.pilot.tokens:TokenPage",
        ),
        Route(
            "DELETE",
            "/v1/pilot-tokens/{id}",
            "revoke_pilot_token",
            "Revoke a token",
            read="muster.http.params:uuid_in_path",
            answers="muster.pilot.tokens:PilotToken",
            errors=(TokenNotFound,),
        ),
        Route(
            "POST",
            "/v1/pilot-tokens/redeem",
            "redeem_pilot_token",
            "Redeem a token for a user or a session",
            read="muster.pilot.tokens:parse_redemption",
            body="muster.pilot.tokens:RedeemIn",
            answers="muster.pilot.tokens:Redemption",
            errors=(TokenNotFound, SessionBelongsToAnotherUser, TokenGone, TooManyAttempts),
            keys_only=True,
        ),
    ],
)

lambda_handler = lambda_handler_for(ROUTES)
