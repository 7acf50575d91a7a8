"""What a client may send: the forms of ids and times, and how much of what."""

import json
from typing import Any

from muster.platform.errors import Detail
from muster.validation.unstorable import Location, depth_of

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# What both Python and PostgreSQL read, and read alike: PostgreSQL has no offset of 16 hours or more.
TIME_PATTERN = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
    "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)$"
)
MAX_EVENTS = 1_000
MAX_DATA_BYTES = 32 * 1024
MAX_CONTEXT_BYTES = 4 * 1024
MAX_DEPTH = 32
MAX_INT4 = 2**31 - 1


def whole(pattern: str) -> str:
    """The pattern for who searches with Python's re, whose $ is also before a line's end."""
    return pattern.replace("$", r"\Z")


def context_faults(context: dict[str, Any] | None, place: Location) -> list[Detail]:
    """What forbids a context: over 4 KB, nested too deep, or a user agent that is no text."""
    if not context:
        return []
    faults = bound_faults(context, MAX_CONTEXT_BYTES, place)
    agent = context.get("userAgent")
    if agent is not None and not isinstance(agent, str):
        faults.append(Detail(loc=[*place, "userAgent"], type="string_type", message="Send the user agent as a text."))
    return faults


def bound_faults(value: dict[str, Any], limit: int, place: Location) -> list[Detail]:
    """What forbids an object: over `limit` bytes of JSON, or nested too deep."""
    # First the depth: what is nested too deep cannot be serialised to be measured.
    if (depth := depth_of(value)) > MAX_DEPTH:
        message = f"It is nested {depth} deep; the limit is {MAX_DEPTH}."
        return [Detail(loc=place, type="too_deep", message=message)]
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > limit:
        message = f"It has {size} bytes of JSON; the limit is {limit}."
        return [Detail(loc=place, type="too_large", message=message)]
    return []
