"""Reads a batch event by event: which can be stored, as they were sent, and which are rejected and why."""

from typing import Any, cast

from pydantic_core import ValidationError

from muster.agents import browser_family, is_bot
from muster.batches import Batch
from muster.bounds import context_faults
from muster.errors import Detail, InvalidBatch
from muster.event_ids import derive_event_id
from muster.json_slices import Slice, elements, members
from muster.judgement import judge
from muster.limits import MAX_EVENTS
from muster.models import ENVELOPE, EnvelopeIn
from muster.poison import find_poison
from muster.rejections import Rejection
from muster.validation import details_of, place_of, time_faults


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
