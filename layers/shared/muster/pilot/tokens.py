"""Issues, lists, revokes and redeems the tokens of pilot studies."""

import secrets
import uuid
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from muster.auth.keys import PREFIX_LENGTH, Access, hash_key
from muster.db.client import Connection, Database, call
from muster.http.body import read_text
from muster.http.params import DEFAULT_LIMIT, PageLimit, QueryModel, read_query
from muster.http.request import Request
from muster.http.response import WireModel
from muster.platform.errors import (
    InvalidParameter,
    MissingKey,
    TokenExpired,
    TokenNotFound,
    TokenRevoked,
    TokenUsedUp,
    TooManyAttempts,
)
from muster.platform.logging import log
from muster.validation.error_details import decode_model, is_time, place_of
from muster.validation.limits import MAX_INT4, TIME_PATTERN, UUID_PATTERN, whole
from muster.validation.unstorable import find_unstorable

MAX_ISSUED = 1_000

BodyT = TypeVar("BodyT", bound=msgspec.Struct)


class IssueIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which tokens to issue, as sent."""

    participant_type: Annotated[str, Meta(max_length=100, pattern=r"\S")]
    count: Annotated[int, Meta(ge=1, le=MAX_ISSUED)] = 1
    expires_at: Annotated[str, Meta(pattern=whole(TIME_PATTERN))] | None = None
    max_uses: Annotated[int, Meta(ge=1, le=MAX_INT4)] | None = None
    note: Annotated[str, Meta(max_length=500)] | None = None


class RedeemIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A token as sent, and the user or session that redeems it."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]
    user_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    session_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None


class TokensRequest(QueryModel, frozen=True):
    """The parameters of GET /v1/pilot-tokens."""

    limit: PageLimit = DEFAULT_LIMIT
    cursor: Annotated[
        UUID | None, Meta(description="The nextCursor of the previous page: the id of its last token.")
    ] = None


def parse_issue(request: Request) -> IssueIn:
    """Read which tokens to issue from the body.

    Raises:
        InvalidParameter: the message names the first invalid field.
    """
    sent = _read_body(request, IssueIn)
    if sent.expires_at is not None and not is_time(sent.expires_at):
        raise InvalidParameter("expiresAt", "There is no such time.")
    return sent


def parse_redemption(request: Request) -> RedeemIn:
    """Read a token and the user or session that redeems it from the body.

    Raises:
        InvalidParameter: the message names the first invalid field.
    """
    sent = _read_body(request, RedeemIn)
    if sent.user_id is None and sent.session_id is None:
        raise InvalidParameter("userId", "Send the userId, the sessionId or both that redeem the token.")
    return sent


def parse_tokens_request(request: Request) -> TokensRequest:
    """Read a request for a page of tokens.

    Raises:
        InvalidParameter: the message names the first invalid parameter.
    """
    return read_query(request.query, TokensRequest)


def _read_body(request: Request, model: type[BodyT]) -> BodyT:
    sent = decode_model(read_text(request.body), model)
    if not isinstance(sent, msgspec.Struct):
        raise InvalidParameter(place_of([sent]), sent["message"])
    for fault in find_unstorable(msgspec.to_builtins(sent), []):
        raise InvalidParameter(place_of([fault]), fault["message"])
    return sent


TOKEN = "mp_"  # noqa: S105 - the prefix of every token, so that a misplaced one is recognized
_NOT_REDEEMABLE = {"token_expired": TokenExpired, "token_revoked": TokenRevoked, "token_used_up": TokenUsedUp}


class IssuedToken(WireModel):
    """A token in clear. It is shown only once: the database stores its SHA-256 and its prefix."""

    id: UUID
    token: str
    prefix: str
    participant_type: str
    expires_at: datetime | None
    max_uses: int


class IssuedTokens(WireModel):
    """The response to POST /v1/pilot-tokens."""

    tokens: list[IssuedToken]


class PilotToken(WireModel):
    """A token as listed."""

    id: str
    prefix: str
    participant_type: str
    state: str
    """active, expired, revoked or used_up."""
    uses: int
    max_uses: int
    note: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class TokenPage(WireModel):
    """The response to GET /v1/pilot-tokens."""

    tokens: list[PilotToken]
    next_cursor: str | None


class Redemption(WireModel):
    """The response to POST /v1/pilot-tokens/redeem."""

    participant_type: str
    redeemed_at: datetime


def issue_pilot_tokens(database: Database, access: Access, request: IssueIn) -> IssuedTokens:
    """Issue tokens. If the database's response is lost, the retry sends the same tokens.

    Raises:
        InvalidParameter: the expiry time is in the past.
        KeyRefused: the key is not an admin key.
        DatabaseUnavailable: no token was issued.
    """
    issued = [(uuid.uuid4(), TOKEN + secrets.token_urlsafe(32)) for _ in range(request.count)]
    parameters = {
        "ids": [token_id for token_id, _ in issued],
        "hashes": [hash_key(token) for _, token in issued],
        "prefixes": [token[:PREFIX_LENGTH] for _, token in issued],
        "participant_type": request.participant_type,
        "max_uses": request.max_uses or 1,
        "expires_at": request.expires_at,
        "note": request.note,
    }
    answer = database.run(_call, access, "issue_pilot_tokens", parameters)
    log("INFO", "pilot_tokens_issued", request_id=access.request_id, count=answer["issued"])
    shared = {"participant_type": request.participant_type, "max_uses": parameters["max_uses"], **answer}
    return IssuedTokens(
        tokens=[
            IssuedToken.read({"id": token_id, "token": token, "prefix": token[:PREFIX_LENGTH], **shared})
            for token_id, token in issued
        ]
    )


def get_pilot_tokens(connection: Connection, access: Access, request: TokensRequest) -> TokenPage:
    """List the project's tokens, newest first.

    Raises:
        InvalidParameter: the cursor is invalid.
        KeyRefused: the key is not an admin key.
    """
    parameters = {"cursor": request.cursor, "limit": request.limit + 1}
    found = _call(connection, access, "get_pilot_tokens", parameters)["tokens"]
    page = [PilotToken.read(token) for token in found[: request.limit]]
    return TokenPage(tokens=page, next_cursor=page[-1].id if len(found) > request.limit else None)


def revoke_pilot_token(connection: Connection, access: Access, token_id: UUID) -> PilotToken:
    """Revoke a token. Revoking it again changes nothing.

    Raises:
        TokenNotFound: the project has no such token.
        KeyRefused: the key is not an admin key.
    """
    token = PilotToken.read(_call(connection, access, "revoke_pilot_token", {"id": token_id}))
    log("INFO", "pilot_token_revoked", request_id=access.request_id, token_id=token_id)
    return token


def redeem_pilot_token(connection: Connection, access: Access, request: RedeemIn) -> Redemption:
    """Make a user or a session a participant. A second redemption by the same user or session changes nothing.

    Raises:
        TokenNotFound, TokenGone: nothing was redeemed.
        TooManyAttempts: the token is unknown, and the project's limit of unknown tokens per minute is reached.
        KeyRefused: the key may not write.
    """
    parameters = {"token_hash": hash_key(request.token), "user_id": request.user_id, "session_id": request.session_id}
    redemption = Redemption.read(_call(connection, access, "redeem_pilot_token", parameters))
    log("INFO", "pilot_token_redeemed", request_id=access.request_id)
    return redemption


def _call(connection: Connection, access: Access, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if access.key_hash is None:
        raise MissingKey
    answer = call(connection, name, {**parameters, "key_hash": access.key_hash})
    match answer.get("refused"):
        case "token_not_found":
            raise TokenNotFound
        case "token_expired" | "token_revoked" | "token_used_up" as state:
            raise _NOT_REDEEMABLE[state]
        case "too_many_attempts":
            raise TooManyAttempts(retry_after_seconds=answer["retry_after_seconds"])
        case "expired_already":
            raise InvalidParameter("expiresAt", "Send a time in the future.")
        case "unknown_cursor":
            raise InvalidParameter("cursor", "Send the nextCursor of the previous page unchanged.")
    access.raise_if_refused(answer)
    return answer
