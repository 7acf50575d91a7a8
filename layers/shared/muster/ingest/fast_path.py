"""Reads the plain batch, as almost every one is: columns of texts, cut from the body and never serialised again."""

import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import orjson
from msgspec import Meta

from muster.auth.keys import Access
from muster.db.client import Database
from muster.ingest.event_ids import derive_event_id
from muster.ingest.log import Clock, begin_line, write_line
from muster.ingest.redaction import may_need_redaction
from muster.ingest.results import BatchResult, EventResult, Saved, told
from muster.ingest.user_agents import browser_family, is_bot
from muster.platform.logging import MetricsLine
from muster.validation.error_details import time_faults
from muster.validation.limits import (
    MAX_DATA_BYTES,
    MAX_DEPTH,
    MAX_EVENTS,
    MAX_INT4,
    TIME_PATTERN,
    UUID_PATTERN,
    context_faults,
    whole,
)
from muster.validation.unstorable import depth_of

if TYPE_CHECKING:
    from muster.ingest.models import EnvelopeIn

SEPARATOR = "\x1f"
_SEPARATOR = SEPARATOR.encode()
_TIME, _UUID = re.compile(TIME_PATTERN), re.compile(whole(UUID_PATTERN))
_UUID_LENGTH, _DASHES = 36, (8, 13, 18, 23)
_HEXADECIMAL, _DIGITS = b"0123456789abcdef", b"0123456789"
_NANOSECONDS = re.compile(r"[.][0-9]{7}")
_NO_DATA = msgspec.Raw(b"{}")
_LONGEST_NAME = 100


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    eventType: str  # noqa: N815 - as on the wire
    timestamp: str
    id: str | None = None
    area: str | None = None
    data: msgspec.Raw = _NO_DATA


class _Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[_Event]
    sessionId: Annotated[str, Meta(pattern=whole(UUID_PATTERN))] | None = None  # noqa: N815 - as on the wire
    userId: Annotated[str, Meta(min_length=1, max_length=200)] | None = None  # noqa: N815 - as on the wire
    sentAt: Annotated[str, Meta(pattern=whole(TIME_PATTERN))] | None = None  # noqa: N815 - as on the wire
    sequence: Annotated[int, Meta(ge=1, le=MAX_INT4 - 1)] | None = None
    dropped: Annotated[int, Meta(ge=0, le=MAX_INT4)] | None = None
    context: dict[str, Any] | None = None


_ENVELOPE = ("sessionId", "userId", "sentAt", "sequence", "dropped", "context")
_DECODER = msgspec.json.Decoder(_Batch)


@dataclass(slots=True)
class PlainBatch:
    """A batch of one session and user, no id twice, no bot, and nothing that PostgreSQL may refuse or must judge."""

    envelope: "EnvelopeIn"
    ids: list[str]
    columns: dict[str, str]
    """ids, event_types, areas, times and data: the events' values, joined by U+001F; first and last of the times."""
    browser: str | None
    context: str
    """JSON."""
    derives_ids: bool
    """Whether some came without an id."""


def read_plain_batch(text: str, user_agent: str) -> PlainBatch | None:
    """The batch, when it is plain; None when it must be read closely, whatever the reason.

    What this lets pass reading closely must let pass too: models.py is the schema, this is the short way through it.
    """
    # One character is found ten times as fast as two are, and most batches escape nothing.
    escapes = "\\" in text
    if (escapes and "\\u0000" in text) or is_bot(user_agent, of_request=True):
        return None
    try:
        batch = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    given = {name: value for name in _ENVELOPE if (value := getattr(batch, name)) is not None}
    envelope = cast("EnvelopeIn", given)
    columns = _columns(batch)
    ids = columns["ids"].split(SEPARATOR) if columns else []
    context = envelope.get("context") or {}
    if (
        columns is None
        or len(set(ids)) != len(ids)
        or (context and (context_faults(context, []) or "userAgent" in context))
        or ("sentAt" in envelope and time_faults(envelope, ["sentAt"], []))
        # Half a surrogate pair outside of data; only an escape can bring it here.
        or (escapes and ("\\ud" in text or "\\uD" in text) and not _is_json(text))
    ):
        return None
    return PlainBatch(
        envelope=envelope,
        ids=ids,
        columns=columns,
        browser=browser_family(user_agent),
        # Not orjson: a context may hold whole numbers of any length, as PostgreSQL does.
        context=json.dumps(context) if context else "{}",
        derives_ids=None in [event.id for event in batch.events],
    )


def _columns(batch: _Batch) -> dict[str, str] | None:
    events = batch.events
    if not 1 <= len(events) <= MAX_EVENTS or batch.sessionId is None:
        return None
    data = _data(events)
    if data is None:
        return None
    given = [event.id for event in events]
    if None in given:
        given = [_derived_id(batch, event) if event.id is None else event.id for event in events]
    joined_ids = SEPARATOR.join(cast("list[str]", given)).lower()
    times = [event.timestamp for event in events]
    event_types = [event.eventType for event in events]
    areas = [event.area or "unknown" for event in events]
    if not _are_uuids(joined_ids, len(events)) or not all(map(_is_name, {*event_types, *areas})):
        return None
    ends = _ends(times)
    if ends is None:
        return None
    return {
        "ids": joined_ids,
        "times": SEPARATOR.join(times),
        "first": ends[0],
        "last": ends[1],
        "event_types": SEPARATOR.join(event_types),
        "areas": SEPARATOR.join(areas),
        "data": data,
    }


def _derived_id(batch: _Batch, event: _Event) -> str:
    content = {
        "eventType": event.eventType,
        "area": event.area,
        "timestamp": event.timestamp,
        # As reading closely decodes it, whole numbers of any length; it was found to be JSON.
        "data": json.loads(bytes(event.data)),
    }
    return derive_event_id(batch.sessionId or "", batch.userId, content)


def _are_uuids(joined: str, number: int) -> bool:
    """Whether all are, in small letters: looked at all at once, which is ten times as fast as one by one."""
    if number == 1:
        return _UUID.match(joined) is not None
    stride = _UUID_LENGTH + 1
    if len(joined) != number * stride - 1 or any(joined[place::stride].strip("-") for place in _DASHES):
        return False
    others = joined.encode("utf-8", "replace").translate(None, _HEXADECIMAL)
    return others == (b"----" + _SEPARATOR) * (number - 1) + b"----"


def _ends(times: list[str]) -> tuple[str, str] | None:
    """The earliest and the latest; None when not all are times that we take."""
    try:
        parsed = list(map(datetime.fromisoformat, times))
    except ValueError:
        return None
    if len(times) == 1:
        return (times[0], times[0]) if _TIME.match(times[0]) else None
    if _are_alike(times):
        return min(times), max(times)
    # PostgreSQL rounds what Python cuts off: which of two is later it alone can tell.
    if not all(map(_TIME.match, times)) or _NANOSECONDS.search(SEPARATOR.join(times)):
        return None
    return times[parsed.index(min(parsed))], times[parsed.index(max(parsed))]


def _are_alike(times: list[str]) -> bool:
    """Whether all are written as the first is, in UTC: then they are in the order of their texts."""
    first, joined = times[0], "".join(times)
    suffix = first[-1:] if first[-1:] == "Z" else first[-6:]
    return (
        suffix in ("Z", "+00:00")
        and _TIME.match(first) is not None
        and set(map(len, times)) == {len(first)}
        and joined.count(suffix) == len(times)
        and joined.isascii()
        and joined.encode().translate(None, _DIGITS) == first.encode().translate(None, _DIGITS) * len(times)
        and "T24" not in joined
        and " 24" not in joined
    )


def _data(events: list[_Event]) -> str | None:
    texts = [event.data for event in events]
    joined = b",".join(texts)
    try:
        # It refuses numbers over 1e308 and half surrogate pairs, which the decoder of the batch lets pass.
        values = orjson.loads(b"[" + joined + b"]")
    except orjson.JSONDecodeError:
        return None
    if set(map(type, values)) != {dict} or max(map(len, texts)) > MAX_DATA_BYTES // 8:
        return None
    is_flat = joined.count(b"{") == len(texts) and b"[" not in joined
    if not is_flat and any(depth_of(value) > MAX_DEPTH for value in values):
        return None
    if may_need_redaction(joined, values, is_flat=is_flat):
        return None
    return _SEPARATOR.join(texts).decode()


def _is_name(name: str) -> bool:
    return 1 <= len(name) <= _LONGEST_NAME and not name.isspace() and name.isprintable()


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


_STORE_ONE = b"SELECT muster.record_plain_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
_STORE_MANY = (
    b"SELECT muster.record_plain_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
)
_OF_ONE = ("ids", "event_types", "areas", "first", "data")
_OF_MANY = ("first", "last", "ids", "event_types", "areas", "times", "data")


def save_plain(database: Database, access: Access, batch: PlainBatch, key_hash: bytes) -> Saved | None:
    """Store a plain batch; None when nothing of it is stored, for the database says that it needs a closer look."""
    batch_id = str(uuid.uuid4())
    clock = Clock(database)

    def prepare() -> tuple[Saved, MetricsLine]:
        saved = told(_all_accepted(batch_id, batch.ids))
        settings, request_id = database.settings, access.request_id
        return saved, begin_line(settings, saved.result, batch.envelope, request_id=request_id, path="plain")

    statement, values = _statement(batch, batch_id, key_hash)
    text, (saved, line) = database.execute_one(statement, values, meanwhile=prepare)
    if text == b"closer":
        return None
    kind, value, *project = text.decode().split()
    if kind == "refused":
        access.raise_if_refused({kind: value})
    answer = {"accepted": int(value), "project": project[0], "prefix": access.key_prefix}
    write_line(line, saved.result, answer, clock.read(), batch.envelope)
    return saved


def _all_accepted(batch_id: str, ids: list[str]) -> BatchResult:
    events: list[EventResult] = [
        {"index": index, "id": event_id, "status": "accepted"} for index, event_id in enumerate(ids)
    ]
    return {
        "batchId": batch_id,
        "status": "committed",
        "received": len(events),
        "accepted": len(events),
        "duplicates": 0,
        "rejected": 0,
        "ignored": 0,
        "redacted": 0,
        "events": events,
    }


def _statement(batch: PlainBatch, batch_id: str, key_hash: bytes) -> tuple[bytes, list[str | None]]:
    """The call of muster.record_plain_event or muster.record_plain_batch, and its parameters."""
    envelope, columns = batch.envelope, batch.columns
    sequence, dropped = envelope.get("sequence"), envelope.get("dropped")
    values = [
        f"\\x{key_hash.hex()}",
        batch_id,
        envelope.get("sessionId"),
        envelope.get("userId"),
        None if sequence is None else str(sequence),
        None if dropped is None else str(dropped),
        envelope.get("sentAt"),
        batch.browser,
        batch.context,
    ]
    if len(batch.ids) == 1:
        return _STORE_ONE, [*values, *map(columns.__getitem__, _OF_ONE)]
    return _STORE_MANY, [*values, *map(columns.__getitem__, _OF_MANY), str(len(batch.ids))]
