"""Tells data that may hold what no project keeps by default; the database judges it, and takes out what is not kept."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

_NAMES = frozenset(("email", "password", "token"))
_QUOTED = tuple(f'"{name}"'.encode() for name in _NAMES)
# As many digits as the shortest card number has, and what may stand between them.
_RUN = b"0" * 14
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789 -" else byte for byte in range(256))
_CARD = re.compile(rb"(?<![0-9.])[2-6](?:[ -]?[0-9]){13}")


def may_need_redaction(joined: bytes, values: Sequence[Mapping[str, Any]], *, is_flat: bool) -> bool:
    """Whether a JSON object of `values`, whose texts `joined` holds, may name such a key or hold a card's number."""
    if not _NAMES.isdisjoint(map(str.lower, set(chain.from_iterable(values)))):
        return True
    if not is_flat:
        lowered = joined.lower()
        if b"\\u" in lowered or any(name in lowered for name in _QUOTED):
            return True
    return _may_hold_card(joined)


def _may_hold_card(joined: bytes) -> bool:
    # One look at all of it, which is many times as fast as an expression, and then at the few places that it finds.
    digits = joined.translate(_DIGITS)
    place = digits.find(_RUN)
    while place >= 0:
        if _CARD.search(joined, max(place - 1, 0), place + 40):
            return True
        place = digits.find(_RUN, place + len(_RUN))
    return False
