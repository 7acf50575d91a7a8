"""Reads a batch: the short way where it is plain, as almost every one is, else closely."""

from typing import cast

from muster.batches import Batch
from muster.plain_batches import PlainBatch, read_plain_batch


def read_batch(text: str, user_agent: str) -> Batch:
    """Read a request's body; `user_agent` is the request's, for events that name none.

    Raises:
        InvalidJson: it is not JSON.
        InvalidBatch: it is not a batch.
    """
    return in_full(read_plain_batch(text, user_agent), text, user_agent)


def in_full(plain: PlainBatch | None, text: str, user_agent: str) -> Batch:
    """The batch that a text is, in the form of any batch; `plain` is what was read of it already."""
    if plain is None or plain.derives_ids:
        # With derived ids too: the database takes the events as they were sent, and their ids have to be put into them.
        from muster.close_batches import read_closely  # noqa: PLC0415 - few batches need it and what it imports

        return read_closely(text, user_agent)
    session_id = cast(str, plain.envelope.get("sessionId"))
    return Batch(
        envelope=plain.envelope,
        ids=list(plain.ids),
        body=text,
        candidates=list(range(len(plain.ids))),
        is_plain=True,
        contexts={session_id.lower(): {"browser": plain.browser, "context": plain.envelope.get("context") or {}}},
    )
