"""The fast path, for almost every batch: sends the events as columns of strings to one SQL function.

parse.py has the rules. Whatever the fast path accepts, the full path must accept too; a property test compares the two.
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
_TIME, _UUID = re.compile(whole(TIME_PATTERN)), re.compile(whole(UUID_PATTERN))
_UUID_LENGTH, _DASHES = 36, (8, 13, 18, 23)
_HEXADECIMAL, _DIGITS = b"0123456789abcdef", b"0123456789"
_NANOSECONDS = re.compile(r"[.][0-9]{7}")
_NO_DATA = msgspec.Raw(b"{}")
_MAX_NAME_LENGTH = 100

_PARAMETERS = 19
_STORE = f"SELECT muster.ingest_fast_path({', '.join(f'${n}' for n in range(1, _PARAMETERS + 1))})".encode()
_REDACTED_KEYS = f"{{{','.join(DEFAULT_REDACTED_KEYS)}}}"
T = TypeVar("T")


class _Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    # Types, ids, names and times are checked for all events at once, which is several times faster than one by one.
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
    """The first and the last time of a batch's events, and the values of each field joined by U+001F."""

    first: str
    last: str
    ids: str
    times: str
    event_types: str
    areas: str
    data: str


class FastBatch(NamedTuple):
    """A valid batch of one session and user, without duplicate ids, bots or values that PostgreSQL might refuse."""

    envelope: Envelope
    ids: list[str]
    columns: Columns
    browser: str | None
    context: str
    """JSON."""


def read_fast_batch(text: str, agent: Agent) -> FastBatch | None:
    """Parse the body of a request; None if the batch needs the full path for any reason.

    `agent` is the user agent of the request.
    """
    # Finding one character is ten times faster than finding two, and most batches have no escapes.
    has_escapes = "\\" in text
    if (has_escapes and "\\u0000" in text) or agent.is_bot:
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
        # A lone surrogate outside of data, which only an escape can contain.
        or (has_escapes and ("\\ud" in text or "\\uD" in text) and not _is_json(text))
    ):
        return None
    return FastBatch(
        envelope=envelope,
        ids=ids,
        columns=columns,
        browser=agent.browser,
        # Not orjson, which refuses the long integers that PostgreSQL can store.
        context=json.dumps(context) if context else "{}",
    )


def store_fast_batch(
    database: Database,
    access: Access,
    batch: FastBatch,
    *,
    batch_id: str,
    received_at: str | None,
    while_waiting: Callable[[], T],
) -> tuple[tuple[int, str] | None, T]:
    """Store a batch; returns the number of events and the project, or None if the batch needs the full path.

    In that case nothing was stored. Also returns the result of `while_waiting`, which runs while the database works.

    Raises:
        KeyRefused: the key may not write events.
        DatabaseUnavailable: the database did not confirm the batch; the same batch may be sent again.
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
    answer, made = database.execute_value(_STORE, values, while_waiting=while_waiting)
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
    given_ids = [event.id for event in events]
    if None in given_ids:
        given_ids = [_derived_id(batch, event) if event.id is None else event.id for event in events]
    ids = SEPARATOR.join(cast("list[str]", given_ids)).lower()
    times = [event.timestamp for event in events]
    event_types = [event.eventType for event in events]
    areas = [event.area or "unknown" for event in events]
    if not _are_uuids(ids, len(events)) or not all(map(_is_name, {*event_types, *areas})):
        return None
    bounds = _time_bounds(times)
    if bounds is None:
        return None
    return Columns(*bounds, ids, SEPARATOR.join(times), SEPARATOR.join(event_types), SEPARATOR.join(areas), data)


def _derived_id(batch: _Batch, event: _Event) -> str:
    content = {
        "eventType": event.eventType,
        "area": event.area,
        "timestamp": event.timestamp,
        # Decoded as on the full path, with integers of any length. _data has checked that it is JSON.
        "data": json.loads(bytes(event.data)),
    }
    return derive_event_id(batch.sessionId or "", batch.userId, content)


def _are_uuids(joined: str, number: int) -> bool:
    """Whether all ids are lower-case UUIDs. Checking all at once is ten times faster than one by one."""
    if number == 1:
        return _UUID.match(joined) is not None
    stride = _UUID_LENGTH + 1
    if len(joined) != number * stride - 1 or any(joined[place::stride].strip("-") for place in _DASHES):
        return False
    rest = joined.encode("utf-8", "replace").translate(None, _HEXADECIMAL)
    return rest == (b"----" + _SEPARATOR) * (number - 1) + b"----"


def _time_bounds(times: list[str]) -> tuple[str, str] | None:
    """The earliest and the latest time; None if one is invalid or if Python cannot compare them reliably."""
    try:
        parsed = list(map(datetime.fromisoformat, times))
    except ValueError:
        return None
    if len(times) == 1:
        return (times[0], times[0]) if _TIME.match(times[0]) else None
    if _have_same_utc_format(times):
        return min(times), max(times)
    # Python truncates the seventh digit of a fraction and PostgreSQL rounds it, so only PostgreSQL can compare them.
    if not all(map(_TIME.match, times)) or _NANOSECONDS.search(SEPARATOR.join(times)):
        return None
    return times[parsed.index(min(parsed))], times[parsed.index(max(parsed))]


def _have_same_utc_format(times: list[str]) -> bool:
    """Whether all times are in UTC and in the format of the first one, so that they sort as strings."""
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
        # orjson refuses numbers over 1e308 and lone surrogates, which the batch's decoder accepts in Raw values.
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
    return 1 <= len(name) <= _MAX_NAME_LENGTH and not name.isspace() and name.isprintable()


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
