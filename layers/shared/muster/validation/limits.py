"""The limits on what a client may send: the forms of ids and times, sizes, and depths."""

import json
from typing import Any

from muster.platform.errors import Detail
from muster.validation.unstorable import Location, depth_of

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
# The forms that Python and PostgreSQL both accept and read alike. PostgreSQL has no offsets of 16 hours or more.
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
    """The pattern for Python's `re`, where $ would also match before a final line break."""
    return pattern.replace("$", r"\Z")


def context_faults(context: dict[str, Any] | None, place: Location) -> list[Detail]:
    """The faults of a context: over 4 KB, nested too deeply, or a user agent that is not a string."""
    if not context:
        return []
    faults = bound_faults(context, MAX_CONTEXT_BYTES, place)
    agent = context.get("userAgent")
    if agent is not None and not isinstance(agent, str):
        faults.append(Detail(loc=[*place, "userAgent"], type="string_type", message="Send the user agent as a string."))
    return faults


def bound_faults(value: dict[str, Any], limit: int, place: Location) -> list[Detail]:
    """The fault of an object that has over `limit` bytes of JSON or is nested too deeply."""
    # The depth comes first, because an object that is nested too deeply cannot be serialised.
    if (depth := depth_of(value)) > MAX_DEPTH:
        message = f"This object is nested {depth} levels deep; the limit is {MAX_DEPTH}."
        return [Detail(loc=place, type="too_deep", message=message)]
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > limit:
        message = f"This object has {size} bytes of JSON; the limit is {limit}."
        return [Detail(loc=place, type="too_large", message=message)]
    return []
