"""Reads a batch: which of its events can be stored, as they were sent, and which are rejected and why."""

from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from pydantic import ValidationError

from muster.agents import browser_family, is_bot
from muster.errors import Detail, InvalidBatch
from muster.event_ids import derive_event_id
from muster.json_slices import Slice, elements, members
from muster.judgement import Rejection, context_faults, judge
from muster.models import BATCH, ENVELOPE, MAX_DATA_BYTES, MAX_DEPTH, MAX_EVENTS, EnvelopeIn, EventIn
from muster.poison import depth_of, find_poison
from muster.validation import details_of, is_time, place_of, time_faults


@dataclass(slots=True)
class Batch:
    """A batch that was read: its candidates for storing, and the rest."""

    envelope: EnvelopeIn
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
    rejections: list[Rejection] = field(default_factory=list)


def read_batch(text: str, user_agent: str) -> Batch:
    """Read a request's body; `user_agent` is the request's, for events that name none.

    Raises:
        InvalidJson: it is not JSON.
        InvalidBatch: it is not a batch.
    """
    return _read_plain(text, user_agent) or _read_closely(text, user_agent)


def _read_plain(text: str, user_agent: str) -> Batch | None:
    # orjson refuses NaN, numbers over 1e308 and half surrogate pairs; NUL is all that is left to look for.
    if "\\u0000" in text:
        return None
    try:
        batch = BATCH.validate_python(orjson.loads(text))
    except (orjson.JSONDecodeError, ValidationError):
        return None
    events = batch["events"]
    context = batch.get("context") or {}
    ids = [(event.get("id") or "").lower() for event in events]
    if (
        not (session_id := batch.get("sessionId"))
        or len(set(ids)) < len(ids)
        or "" in ids
        or is_bot(user_agent, of_request=True)
        or (context and (context_faults(context, []) or "userAgent" in context))
        or not all(_is_plain(event, check_size=len(text) > MAX_DATA_BYTES) for event in events)
        or time_faults(batch, ["sentAt"], [])
    ):
        return None
    return Batch(
        envelope=batch,
        ids=list(ids),
        body=text,
        candidates=list(range(len(ids))),
        is_plain=True,
        contexts={session_id.lower(): {"browser": browser_family(user_agent), "context": context}},
    )


def _is_plain(event: EventIn, *, check_size: bool) -> bool:
    if event.get("sessionId") or event.get("userId") or event.get("context") or not is_time(event["timestamp"]):
        return False
    data = event.get("data")
    if not data:
        return True
    # orjson's text of a value is the shortest; what it calls small may be a large one to those who count otherwise.
    if check_size and len(orjson.dumps(data)) > MAX_DATA_BYTES // 8:
        return False
    return not any(isinstance(value, dict | list) for value in data.values()) or depth_of(data) <= MAX_DEPTH


def _read_closely(text: str, user_agent: str) -> Batch:
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
        if isinstance(verdict, Rejection):
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
        envelope = ENVELOPE.validate_python(values)
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
