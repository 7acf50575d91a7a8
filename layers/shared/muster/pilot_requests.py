"""Reads what is asked of pilot tokens, naming what cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from muster.errors import InvalidParameter
from muster.json_forms import decode_form
from muster.limits import MAX_INT4, TIME_PATTERN, UUID_PATTERN, whole
from muster.parameters import DEFAULT_LIMIT, check_names, limit_of, one, uuid_of
from muster.poison import find_poison
from muster.validation import is_time, place_of

MAX_ISSUED = 1_000

Form = TypeVar("Form", bound=msgspec.Struct)


class IssueIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which tokens to issue, as sent."""

    participant_type: Annotated[str, Meta(max_length=100, pattern=r"\S")]
    count: Annotated[int, Meta(ge=1, le=MAX_ISSUED)] = 1
    expires_at: Annotated[str, Meta(pattern=whole(TIME_PATTERN))] | None = None
    max_uses: Annotated[int, Meta(ge=1, le=MAX_INT4)] | None = None
    note: Annotated[str, Meta(max_length=500)] | None = None


class RedeemIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A token as sent, and whose it shall be."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]
    user_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    session_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None


@dataclass(frozen=True, slots=True)
class TokensRequest:
    """Which page of tokens is asked for."""

    limit: int = DEFAULT_LIMIT
    cursor: UUID | None = None
    """The id of the last token of the page before."""


def parse_issue(text: str) -> IssueIn:
    """Which tokens to issue, from a request's body.

    Raises:
        InvalidParameter: naming the first field that cannot be used.
    """
    wanted = _form(text, IssueIn)
    if wanted.expires_at is not None and not is_time(wanted.expires_at):
        raise InvalidParameter("expiresAt", "There is no such time.")
    return wanted


def parse_redemption(text: str) -> RedeemIn:
    """A token and whose it shall be, from a request's body.

    Raises:
        InvalidParameter: naming the first field that cannot be used.
    """
    sent = _form(text, RedeemIn)
    if sent.user_id is None and sent.session_id is None:
        raise InvalidParameter("userId", "Send userId, sessionId or both: a token is redeemed for somebody.")
    return sent


def parse_tokens_request(query: Mapping[str, Sequence[str]]) -> TokensRequest:
    """A request for a page of tokens.

    Raises:
        InvalidParameter: naming the first parameter that cannot be used.
    """
    check_names(query, ("limit", "cursor"))
    cursor = one(query, "cursor")
    return TokensRequest(limit_of(one(query, "limit")), None if cursor is None else uuid_of("cursor", cursor))


def _form(text: str, form: type[Form]) -> Form:
    sent = decode_form(text, form)
    if not isinstance(sent, msgspec.Struct):
        raise InvalidParameter(place_of([sent]), sent["message"])
    for fault in find_poison(msgspec.to_builtins(sent), []):
        raise InvalidParameter(place_of([fault]), fault["message"])
    return sent
