"""Parses and validates a batch for the full path, event by event."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from muster.ingest.event_ids import derive_event_id
from muster.ingest.models import Envelope, EnvelopeFields, Event, EventFields
from muster.ingest.user_agents import Agent, visitor_agent
from muster.platform.errors import Detail, InvalidBatch
from muster.validation.error_details import MAX_DETAILS, find_faults, place_of, time_faults
from muster.validation.json_spans import Span, elements, members
from muster.validation.limits import MAX_DATA_BYTES, MAX_EVENTS, UUID_PATTERN, bound_faults, context_faults, whole
from muster.validation.unstorable import Location, find_unstorable, printable

MAX_PAYLOAD_CHARACTERS = 16 * 1024
_UUID = re.compile(whole(UUID_PATTERN))


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A rejected event or request, for the quarantine."""

    index: int | None
    """The event's index in the batch; None for a whole request."""
    reason: str
    details: list[Detail]
    payload: str
    """The text as sent, cut at 16 K characters, with characters replaced that PostgreSQL cannot store."""
    payload_bytes: int
    event_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    occurred_at: str | None = None


@dataclass(slots=True)
class Batch:
    """A parsed batch: the valid events and the rejected ones."""

    envelope: Envelope
    first_index: int
    """The index of the first event; more than 0 for a later part of a batch that was split."""
    ids: list[str | None] = field(default_factory=list)
    """The ids of all events, in order; None for a rejected event without a valid id."""
    valid: list[int] = field(default_factory=list)
    """The indexes of the valid events."""
    texts: list[str] = field(default_factory=list)
    """The valid events as sent, each with an id."""
    bots: list[int] = field(default_factory=list)
    """The positions in `texts` of events that a bot sent."""
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Session id → {"browser", "context"}."""
    named_users: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    """Session id → the time of the first event that names a user, and the user."""
    rejections: list[RejectedEvent] = field(default_factory=list)


def parse_batch(text: str, agent: Agent, *, first_index: int = 0) -> Batch:
    """Parse the body of a request; `agent` is the request's user agent, for events without their own.

    Raises:
        InvalidJson: the text is not JSON.
        InvalidBatch: the JSON is not a batch.
    """
    fields = members(text)
    if fields is None:
        raise InvalidBatch('The body is JSON but not an object. Send {"sessionId": …, "events": […]}.')
    envelope = _envelope({name: value for name, (value, _) in fields.items() if name != "events"})
    spans = _event_spans(fields)
    if not envelope.get("sessionId") and not any(_has_session(value) for value, _ in spans):
        raise _invalid_batch([Detail(loc=["sessionId"], type="missing", message="Field 'sessionId' is required.")])
    batch = Batch(envelope, first_index)
    shared = dict(envelope.get("context") or {})
    named_agent = shared.pop("userAgent", None)
    if session_id := envelope.get("sessionId"):
        _add_session(batch, session_id, visitor_agent(named_agent) if named_agent else agent, shared)
    for index, (value, as_sent) in enumerate(spans, start=first_index):
        faults = _event_faults(value, envelope, ["events", index])
        if faults:
            rejection = _rejection(index, faults, value, as_sent, envelope)
            batch.rejections.append(rejection)
            batch.ids.append(rejection.event_id)
            continue
        _add_event(batch, index, cast("Event", value), as_sent, agent)
    return batch


def reject_request(code: str, details: list[Detail], text: str | None) -> RejectedEvent:
    """A refused request, for the quarantine."""
    return RejectedEvent(
        index=None,
        reason=code,
        details=details[:MAX_DETAILS],
        payload=_storable(text or ""),
        payload_bytes=len((text or "").encode("utf-8", "surrogatepass")),
    )


def _add_event(batch: Batch, index: int, event: Event, as_sent: str, agent: Agent) -> None:
    envelope = batch.envelope
    shared = dict(envelope.get("context") or {})
    shared_agent = shared.pop("userAgent", None)
    context = dict(event.get("context") or {})
    session_id = cast(str, event.get("sessionId") or envelope.get("sessionId"))
    user_id = event.get("userId") or envelope.get("userId")
    # An empty userAgent means that none is known. The request's own agent counts only if userAgent is absent.
    named_agent = context.pop("userAgent", shared_agent)
    event_agent = agent if named_agent is None else visitor_agent(named_agent)
    if event_agent.is_bot:
        batch.bots.append(len(batch.texts))
    if event.get("sessionId") or event.get("context"):
        _add_session(batch, session_id, event_agent, {**shared, **context})
    if user_id:
        _note_user(batch, session_id, user_id, event["timestamp"])
    event_id = event.get("id")
    if not event_id:
        event_id = derive_event_id(session_id, user_id, dict(event))
        as_sent = f'{as_sent[:-1]},"id":"{event_id}"}}'
    batch.ids.append(event_id.lower())
    batch.valid.append(index)
    batch.texts.append(as_sent)


def _add_session(batch: Batch, session_id: str, agent: Agent, context: dict[str, Any]) -> None:
    session = batch.contexts.setdefault(session_id.lower(), {"browser": None, "context": {}})
    session["browser"] = agent.browser or session["browser"]
    session["context"].update(context)


def _note_user(batch: Batch, session_id: str, user_id: str, timestamp: str) -> None:
    at = datetime.fromisoformat(timestamp)
    known = batch.named_users.get(session_id.lower())
    if known is None or at < known[0]:
        batch.named_users[session_id.lower()] = (at, user_id)


def _has_session(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("sessionId"))


def _event_spans(fields: dict[str, Span]) -> list[Span]:
    if "events" not in fields:
        raise _invalid_batch([Detail(loc=["events"], type="missing", message="Field 'events' is required.")])
    spans = elements(fields["events"][1], most=MAX_EVENTS)
    if spans is None:
        raise _invalid_batch([Detail(loc=["events"], type="list_type", message="Send a list of events.")])
    if not 1 <= len(spans) <= MAX_EVENTS:
        message = f"Send 1 to {MAX_EVENTS} events; this batch has {'more' if spans else 'none'}."
        raise _invalid_batch([Detail(loc=["events"], type="too_long" if spans else "too_short", message=message)])
    return spans


def _envelope(values: dict[str, Any]) -> Envelope:
    faults = list(find_unstorable(values, [])) or find_faults(values, EnvelopeFields, [])
    faults = faults or [*context_faults(values.get("context"), ["context"]), *time_faults(values, ["sentAt"], [])]
    if faults:
        raise _invalid_batch(faults)
    return cast("Envelope", values)


def _invalid_batch(details: list[Detail]) -> InvalidBatch:
    return InvalidBatch(
        f"The whole batch is refused because of '{place_of(details)}': {details[0]['message']}", details=details
    )


def _event_faults(value: Any, envelope: Envelope, place: Location) -> list[Detail]:
    faults = list(find_unstorable(value, place)) or find_faults(value, EventFields, place)
    if faults:
        return faults
    if not value.get("sessionId") and not envelope.get("sessionId"):
        message = "Field 'sessionId' is required in each event if the batch has none."
        faults.append(Detail(loc=[*place, "sessionId"], type="missing", message=message))
    faults += time_faults(value, ["timestamp"], place)
    faults += bound_faults(value.get("data") or {}, MAX_DATA_BYTES, [*place, "data"])
    faults += context_faults(value.get("context"), [*place, "context"])
    return faults


def _rejection(index: int, details: list[Detail], value: Any, as_sent: str, envelope: Envelope) -> RejectedEvent:
    known = value if isinstance(value, dict) else {}
    event_id, session_id, user_id = known.get("id"), known.get("sessionId"), known.get("userId")
    is_oversized = any(detail["type"] == "too_large" for detail in details)
    return RejectedEvent(
        index=index,
        reason="event_too_large" if is_oversized else "invalid_event",
        details=details[:MAX_DETAILS],
        payload=_storable(as_sent),
        payload_bytes=len(as_sent.encode("utf-8", "surrogatepass")),
        event_id=event_id.lower() if isinstance(event_id, str) and _UUID.match(event_id) else None,
        session_id=printable(session_id) if isinstance(session_id, str) else envelope.get("sessionId"),
        user_id=printable(user_id) if isinstance(user_id, str) else envelope.get("userId"),
        occurred_at=_plausible_time(known, details),
    )


def _plausible_time(event: dict[str, Any], faults: list[Detail]) -> str | None:
    text = event.get("timestamp")
    if any("timestamp" in fault["loc"] for fault in faults) or not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    # isoformat() because Python also accepts formats such as 20260517T10+01, which PostgreSQL may refuse.
    return when.isoformat() if when.tzinfo is not None and when.year > 1 else None


def _storable(text: str) -> str:
    """The text cut to 16 K characters, with NUL and lone surrogates replaced."""
    return text[:MAX_PAYLOAD_CHARACTERS].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
