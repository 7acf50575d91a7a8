"""Judges one event of a batch: fit to be stored, or rejected with its reasons."""

import re
from datetime import datetime
from typing import Any

from pydantic_core import ValidationError

from muster.bounds import bound_faults, context_faults
from muster.errors import Detail
from muster.limits import MAX_DATA_BYTES, UUID_PATTERN
from muster.models import EVENT, EnvelopeIn, EventIn
from muster.poison import Location, find_poison, printable
from muster.rejections import MAX_DETAILS, Rejection, storable
from muster.validation import details_of, time_faults

_UUID = re.compile(UUID_PATTERN)


def judge(index: int, value: Any, as_sent: str, envelope: EnvelopeIn) -> EventIn | Rejection:
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
) -> Rejection:
    known = value if isinstance(value, dict) else {}
    event_id, session_id, user_id = known.get("id"), known.get("sessionId"), known.get("userId")
    return Rejection(
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
