"""Reads what is to be replayed, naming what cannot be used."""

from typing import Annotated

import msgspec
from msgspec import Meta

from muster.errors import InvalidBatch
from muster.json_forms import decode_form
from muster.limits import UUID_PATTERN, whole
from muster.validation import place_of

MAX_REPLAYED = 1_000


class ReplayIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Which pending rejections to replay, as sent; all of them by default, the oldest first."""

    ids: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(max_length=MAX_REPLAYED)] | None = None
    reason: str | None = None
    session_id: str | None = None
    event_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None
    batch_id: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None
    history: bool = False
    cursor: str | None = None


def parse_replay(text: str) -> ReplayIn:
    """What to replay, from a request's body; none is as good as {}.

    Raises:
        InvalidBatch: the body is no description of a replay.
    """
    wanted = decode_form(text or "{}", ReplayIn)
    if isinstance(wanted, ReplayIn):
        return wanted
    raise InvalidBatch(f"The replay is refused at '{place_of([wanted])}': {wanted['message']}", details=[wanted])
