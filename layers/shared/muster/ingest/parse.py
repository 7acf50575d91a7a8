"""What is not stored, as the quarantine keeps it."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import ValidationError

from muster.ingest.event_ids import derive_event_id
from muster.ingest.fast_path import PlainBatch, read_plain_batch
from muster.ingest.models import ENVELOPE, EVENT, EnvelopeIn, EventIn
from muster.ingest.user_agents import browser_family, is_bot
from muster.platform.errors import Detail, InvalidBatch
from muster.validation.error_details import details_of, place_of, time_faults
from muster.validation.json_spans import Slice, elements, members
from muster.validation.limits import MAX_DATA_BYTES, MAX_EVENTS, UUID_PATTERN, bound_faults, context_faults
from muster.validation.unstorable import Location, find_poison, printable

if TYPE_CHECKING:
    from muster.ingest.models import EnvelopeIn

MAX_PAYLOAD_CHARACTERS = 16 * 1024
MAX_DETAILS = 20


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that is not stored, as the quarantine keeps it."""

    index: int | None
    reason: str
    details: list[Detail]
    payload: str
    """As sent, cut at 16 K characters, without what PostgreSQL cannot hold."""
    payload_bytes: int
    event_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    occurred_at: str | None = None


def refused_request(code: str, details: list[Detail], text: str | None) -> RejectedEvent:
    """A whole request that was refused, as the quarantine keeps it."""
    return RejectedEvent(
        index=None,
        reason=code,
        details=details[:MAX_DETAILS],
        payload=storable(text or ""),
        payload_bytes=len((text or "").encode("utf-8", "surrogatepass")),
    )


def storable(text: str) -> str:
    """A text as PostgreSQL can hold it, cut."""
    return text[:MAX_PAYLOAD_CHARACTERS].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@dataclass(slots=True)
class Batch:
    """A batch that was read: its candidates for storing, and the rest."""

    envelope: "EnvelopeIn"
    ids: list[str | None]
    """Of every event received, by index; None where a rejected one has none that can be read."""
    body: str
    """A JSON object whose `events` are the candidates as they were sent."""
    candidates: list[int]
    """Their indices among the events received, in the order of `body`."""
    is_plain: bool
    """One session and user, no bot, no id twice: what the database can store without looking closer."""
    bots: list[int] = field(default_factory=list)
    """Positions among the candidates."""
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By session: {"browser", "context"}."""
    rejections: list[RejectedEvent] = field(default_factory=list)


_UUID = re.compile(UUID_PATTERN)


def judge(index: int, value: Any, as_sent: str, envelope: EnvelopeIn) -> EventIn | RejectedEvent:
    """The event, or its rejection; `as_sent` is the text that `value` was decoded from."""
    place: Location = ["events", index]
    faults = list(find_poison(value, place))
    event: EventIn | None = None
    if not faults:
        try:
            event = EVENT.validate_python(value)
        except ValidationError as error:
            faults = details_of(error, place)
    if event is not None:
        faults = _faults(event, envelope, place)
    if event is not None and not faults:
        return event
    oversized = any(fault["type"] == "too_large" for fault in faults)
    return _rejection(index, "event_too_large" if oversized else "invalid_event", faults, value, as_sent, envelope)


def _faults(event: EventIn, envelope: EnvelopeIn, place: Location) -> list[Detail]:
    faults: list[Detail] = []
    if not event.get("sessionId") and not envelope.get("sessionId"):
        message = "Field 'sessionId' is required where the batch has none."
        faults.append(Detail(loc=[*place, "sessionId"], type="missing", message=message))
    faults += time_faults(event, ["timestamp"], place)
    faults += bound_faults(event.get("data") or {}, MAX_DATA_BYTES, [*place, "data"])
    faults += context_faults(event.get("context"), [*place, "context"])
    return faults


def _rejection(
    index: int, reason: str, details: list[Detail], value: Any, as_sent: str, envelope: EnvelopeIn
) -> RejectedEvent:
    known = value if isinstance(value, dict) else {}
    event_id, session_id, user_id = known.get("id"), known.get("sessionId"), known.get("userId")
    return RejectedEvent(
        index=index,
        reason=reason,
        details=details[:MAX_DETAILS],
        payload=storable(as_sent),
        payload_bytes=len(as_sent.encode("utf-8", "surrogatepass")),
        event_id=event_id.lower() if isinstance(event_id, str) and _UUID.match(event_id) else None,
        session_id=printable(session_id) if isinstance(session_id, str) else envelope.get("sessionId"),
        user_id=printable(user_id) if isinstance(user_id, str) else envelope.get("userId"),
        occurred_at=_believable_time(known, details),
    )


def _believable_time(event: dict[str, Any], faults: list[Detail]) -> str | None:
    text = event.get("timestamp")
    if any("timestamp" in fault["loc"] for fault in faults) or not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Other forms than our own, such as 20260517T10+01, are read by Python and perhaps not by PostgreSQL.
    return when.isoformat() if when.tzinfo is not None and when.year > 1 else None


def read_closely(text: str, user_agent: str) -> Batch:
    """Read a request's body event by event, whatever it holds; raises as read_batch does."""
    fields = members(text)
    if fields is None:
        raise InvalidBatch('The body is JSON but no object; send {"sessionId": …, "events": […]}.')
    envelope = _envelope({name: value for name, (value, _) in fields.items() if name != "events"})
    slices = _event_slices(fields)
    if not envelope.get("sessionId") and not any(_has_session(value) for value, _ in slices):
        raise _invalid_batch([Detail(loc=["sessionId"], type="missing", message="Field 'sessionId' is required.")])
    batch = Batch(envelope=envelope, ids=[], body="", candidates=[], is_plain=False)
    shared = dict(envelope.get("context") or {})
    shared_agent = shared.pop("userAgent", None)
    if session_id := envelope.get("sessionId"):
        _describe_session(batch, session_id, shared_agent or user_agent, shared)
    kept: list[str] = []
    for index, (value, as_sent) in enumerate(slices):
        verdict = judge(index, value, as_sent, envelope)
        if isinstance(verdict, RejectedEvent):
            batch.rejections.append(verdict)
            batch.ids.append(verdict.event_id)
            continue
        event, context = verdict, dict(verdict.get("context") or {})
        session = cast(str, event.get("sessionId") or envelope.get("sessionId"))
        # An empty agent says that none is known; only where nothing is said is it the request's own.
        agent = context.pop("userAgent", shared_agent)
        if is_bot(user_agent if agent is None else agent, of_request=agent is None):
            batch.bots.append(len(kept))
        if event.get("sessionId") or event.get("context"):
            about = user_agent if agent is None else agent
            _describe_session(batch, session, about, {**shared, **context})
        event_id = event.get("id")
        if event_id:
            kept.append(as_sent)
        else:
            event_id = derive_event_id(session, event.get("userId") or envelope.get("userId"), value)
            kept.append(f'{as_sent[:-1]},"id":"{event_id}"}}')
        batch.ids.append(event_id.lower())
        batch.candidates.append(index)
    batch.body = f'{{"events":[{",".join(kept)}]}}'
    return batch


def _describe_session(batch: Batch, session_id: str, user_agent: str, context: dict[str, Any]) -> None:
    about = batch.contexts.setdefault(session_id.lower(), {"browser": None, "context": {}})
    about["browser"] = browser_family(user_agent) or about["browser"]
    about["context"].update(context)


def _has_session(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("sessionId"))


def _event_slices(fields: dict[str, Slice]) -> list[Slice]:
    if "events" not in fields:
        raise _invalid_batch([Detail(loc=["events"], type="missing", message="Field 'events' is required.")])
    slices = elements(fields["events"][1], most=MAX_EVENTS)
    if slices is None:
        raise _invalid_batch([Detail(loc=["events"], type="list_type", message="Send a list of events.")])
    if not 1 <= len(slices) <= MAX_EVENTS:
        message = f"Send 1 to {MAX_EVENTS} events; this batch has {'more' if slices else 'none'}."
        raise _invalid_batch([Detail(loc=["events"], type="too_short" if not slices else "too_long", message=message)])
    return slices


def _envelope(values: dict[str, Any]) -> EnvelopeIn:
    faults = list(find_poison(values, []))
    if faults:
        raise _invalid_batch(faults)
    try:
        envelope: EnvelopeIn = ENVELOPE.validate_python(values)
    except ValidationError as error:
        raise _invalid_batch(details_of(error, [])) from error
    faults = context_faults(envelope.get("context"), ["context"])
    faults += time_faults(envelope, ["sentAt"], [])
    if faults:
        raise _invalid_batch(faults)
    return envelope


def _invalid_batch(details: list[Detail]) -> InvalidBatch:
    return InvalidBatch(
        f"The batch is refused as a whole at '{place_of(details)}': {details[0]['message']}", details=details
    )


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
        from muster.ingest.parse import read_closely  # noqa: PLC0415 - few batches need it and what it imports

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
