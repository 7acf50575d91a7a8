"""How large and how deep a value may be."""

import json
from typing import Any

from muster.errors import Detail
from muster.limits import MAX_CONTEXT_BYTES, MAX_DEPTH
from muster.poison import Location, depth_of


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
