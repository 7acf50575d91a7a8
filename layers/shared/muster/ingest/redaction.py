"""Finds data that may need redaction by the default rules. The database makes the decision and redacts the values."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

DEFAULT_REDACTED_KEYS = ("email", "password", "token")
"""The keys of data that a new project does not store. The fast path checks for these in Python."""

_KEYS = frozenset(DEFAULT_REDACTED_KEYS)
_QUOTED = tuple(f'"{key}"'.encode() for key in DEFAULT_REDACTED_KEYS)
# The digits of the shortest card number, which may have spaces and dashes between them.
_RUN = b"0" * 14
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789 -" else byte for byte in range(256))
_CARD = re.compile(rb"(?<![0-9.])[2-6](?:[ -]?[0-9]){13}")


def may_need_redaction(joined: bytes, values: Sequence[Mapping[str, Any]], *, is_flat: bool) -> bool:
    """Whether one of the JSON objects may have such a key or a card number; `joined` has their texts."""
    if not _KEYS.isdisjoint(map(str.lower, set(chain.from_iterable(values)))):
        return True
    if not is_flat:
        lowered = joined.lower()
        if b"\\u" in lowered or any(key in lowered for key in _QUOTED):
            return True
    return _may_hold_card(joined)


def _may_hold_card(joined: bytes) -> bool:
    # A search for runs of digits is many times faster than the regular expression, which checks only the runs found.
    digits = joined.translate(_DIGITS)
    place = digits.find(_RUN)
    while place >= 0:
        # The next search starts 14 bytes later, and the pattern takes at most 27 bytes.
        if _CARD.search(joined, place, place + 40):
            return True
        place = digits.find(_RUN, place + len(_RUN))
    return False
