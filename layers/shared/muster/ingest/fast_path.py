"""The fast path, which almost every batch takes: columns of texts, cut from the body and stored by one SQL function.

What it accepts, the full path must accept too: parse.py is the rule, and a property test compares the two.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import orjson

from muster.auth.keys import Access
from muster.db.client import Database
from muster.ingest.event_ids import derive_event_id
from muster.ingest.models import Count, Envelope, Sequence, Time, UserId, Uuid
from muster.ingest.redaction import DEFAULT_REDACTED_KEYS, may_need_redaction
from muster.ingest.user_agents import Agent
from muster.validation.error_details import time_faults
from muster.validation.limits import (
    MAX_DATA_BYTES,
    MAX_DEPTH,
    MAX_EVENTS,
    TIME_PATTERN,
    UUID_PATTERN,
    context_faults,
    whole,
)
from muster.validation.unstorable import depth_of

SEPARATOR = "\x1f"
_SEPARATOR = SEPARATOR.encode()
_TIME, _UUID = re.compile(TIME_PATTERN), re.compile(whole(UUID_PATTERN))
_UUID_LENGTH, _DASHES = 36, (8, 13, 18, 23)
_HEXADECIMAL, _DIGITS = b"0123456789abcdef", b"0123456789"
_NANOSECONDS = re.compile(r"[.][0-9]{7}")
_NO_DATA = msgspec.Raw(b"{}")
_LONGEST_NAME = 100

_PARAMETERS = 19
_STORE = f"SELECT muster.ingest_fast_path({', '.join(f'${n}' for n in range(1, _PARAMETERS + 1))})".encode()
_REDACTED_KEYS = f"{{{','.join(DEFAULT_REDACTED_KEYS)}}}"
T = TypeVar("T")


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    # Types, ids, names and times are checked for all events at once, which is several times as fast as one by one.
    eventType: str  # noqa: N815 - as on the wire
    timestamp: str
    id: str | None = None
    area: str | None = None
    data: msgspec.Raw = _NO_DATA


class _Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[_Event]
    sessionId: Uuid | None = None  # noqa: N815
    userId: UserId | None = None  # noqa: N815
    sentAt: Time | None = None  # noqa: N815
    sequence: Sequence | None = None
    dropped: Count | None = None
    context: dict[str, Any] | None = None


_ENVELOPE = ("sessionId", "userId", "sentAt", "sequence", "dropped", "context")
_DECODER = msgspec.json.Decoder(_Batch)


class Columns(NamedTuple):
    """The values of a batch's events, joined by U+001F, and the first and the last of the times."""

    first: str
    last: str
    ids: str
    times: str
    event_types: str
    areas: str
    data: str


class FastBatch(NamedTuple):
    """A valid batch of one session and user: no id twice, no bot, nothing that PostgreSQL may refuse."""

    envelope: Envelope
    ids: list[str]
    columns: Columns
    browser: str | None
    context: str
    """JSON."""


def read_fast_batch(text: str, agent: Agent) -> FastBatch | None:
    """The batch that a request's body is; None if it needs the full path, whatever the reason.

    `agent` is the user agent of the request.
    """
    # One character is found ten times as fast as two, and most batches escape nothing.
    escapes = "\\" in text
    if (escapes and "\\u0000" in text) or agent.is_bot:
        return None
    try:
        batch = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    envelope = cast("Envelope", {name: value for name in _ENVELOPE if (value := getattr(batch, name)) is not None})
    columns = _columns(batch)
    if columns is None:
        return None
    ids = columns.ids.split(SEPARATOR)
    context = envelope.get("context") or {}
    if (
        len(set(ids)) != len(ids)
        or (context and (context_faults(context, []) or "userAgent" in context))
        or ("sentAt" in envelope and time_faults(envelope, ["sentAt"], []))
        # Half a surrogate pair outside of data; only an escape can bring it here.
        or (escapes and ("\\ud" in text or "\\uD" in text) and not _is_json(text))
    ):
        return None
    return FastBatch(
        envelope=envelope,
        ids=ids,
        columns=columns,
        browser=agent.browser,
        # Not orjson: a context may hold integers of any length, as PostgreSQL does.
        context=json.dumps(context) if context else "{}",
    )


def store_fast_batch(
    database: Database,
    access: Access,
    batch: FastBatch,
    *,
    batch_id: str,
    received_at: str | None,
    meanwhile: Callable[[], T],
) -> tuple[tuple[int, str] | None, T]:
    """Store a batch: the number of events and the project, or None if nothing is stored since it needs the full path.

    Also returns what `meanwhile` made while the database worked.

    Raises:
        KeyRefused: the key may not write events.
        DatabaseUnavailable: nothing was stored; the same batch may be sent again.
    """
    envelope = batch.envelope
    sequence, dropped = envelope.get("sequence"), envelope.get("dropped")
    values = [
        f"\\x{(access.key_hash or b'').hex()}",
        batch_id,
        envelope.get("sessionId"),
        envelope.get("userId"),
        None if sequence is None else str(sequence),
        None if dropped is None else str(dropped),
        envelope.get("sentAt"),
        received_at,
        batch.browser,
        batch.context,
        _REDACTED_KEYS,
        str(len(batch.ids)),
        *batch.columns,
    ]
    answer, made = database.execute_value(_STORE, values, meanwhile=meanwhile)
    if answer == b"needs_full_path":
        return None, made
    kind, value, *project = answer.decode().split()
    if kind == "refused":
        access.raise_if_refused({kind: value})
    return (int(value), project[0]), made


def _columns(batch: _Batch) -> Columns | None:
    events = batch.events
    if not 1 <= len(events) <= MAX_EVENTS or batch.sessionId is None:
        return None
    data = _data(events)
    if data is None:
        return None
    given = [event.id for event in events]
    if None in given:
        given = [_derived_id(batch, event) if event.id is None else event.id for event in events]
    ids = SEPARATOR.join(cast("list[str]", given)).lower()
    times = [event.timestamp for event in events]
    event_types = [event.eventType for event in events]
    areas = [event.area or "unknown" for event in events]
    if not _are_uuids(ids, len(events)) or not all(map(_is_name, {*event_types, *areas})):
        return None
    ends = _ends(times)
    if ends is None:
        return None
    return Columns(*ends, ids, SEPARATOR.join(times), SEPARATOR.join(event_types), SEPARATOR.join(areas), data)


def _derived_id(batch: _Batch, event: _Event) -> str:
    content = {
        "eventType": event.eventType,
        "area": event.area,
        "timestamp": event.timestamp,
        # As the full path decodes it, with integers of any length. It was found to be JSON.
        "data": json.loads(bytes(event.data)),
    }
    return derive_event_id(batch.sessionId or "", batch.userId, content)


def _are_uuids(joined: str, number: int) -> bool:
    """Whether all are UUIDs in small letters: checked all at once, which is ten times as fast as one by one."""
    if number == 1:
        return _UUID.match(joined) is not None
    stride = _UUID_LENGTH + 1
    if len(joined) != number * stride - 1 or any(joined[place::stride].strip("-") for place in _DASHES):
        return False
    others = joined.encode("utf-8", "replace").translate(None, _HEXADECIMAL)
    return others == (b"----" + _SEPARATOR) * (number - 1) + b"----"


def _ends(times: list[str]) -> tuple[str, str] | None:
    """The earliest and the latest; None if not all are valid times."""
    try:
        parsed = list(map(datetime.fromisoformat, times))
    except ValueError:
        return None
    if len(times) == 1:
        return (times[0], times[0]) if _TIME.match(times[0]) else None
    if _have_one_form(times):
        return min(times), max(times)
    # PostgreSQL rounds what Python cuts off, so only it can compare such times.
    if not all(map(_TIME.match, times)) or _NANOSECONDS.search(SEPARATOR.join(times)):
        return None
    return times[parsed.index(min(parsed))], times[parsed.index(max(parsed))]


def _have_one_form(times: list[str]) -> bool:
    """Whether all are written like the first, in UTC: then their texts sort as the times do."""
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
        # It refuses numbers over 1e308 and half surrogate pairs, which the decoder of the batch accepts.
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
