"""While everything breaks, nothing that was acknowledged is lost, nothing is stored twice, every event has its fate.

`make soak` plays longer rounds with seeds of chance.
"""

import os

import pytest

from tests.faults.rounds import play
from tests.faults.strikes import STRIKES

SECONDS = float(os.environ.get("FAULT_SECONDS", "0"))
SEED = int(os.environ.get("FAULT_SEED", "20261124"))
# Most of what functions must have met: the faults do strike. A function may be elsewhere while one lasts.
EXPECTED = {"25006", "40P01", "53100", "55P03", "57014", "57P01"}


@pytest.mark.parametrize("mode", ["direct", "buffered"])
def test_the_books_are_balanced_after_every_fault(mode: str) -> None:
    seen = play(SEED, seconds=SECONDS, mode=mode)
    print(seen)
    assert seen.imbalances == []
    assert seen.sent == seen.acknowledged > 500
    assert set(seen.struck) == set(STRIKES)
    if seen.left_out:
        print(f"Left out, for want of the right to mount a disk: {', '.join(seen.left_out)}")
    assert len(EXPECTED & set(seen.sqlstates)) >= 3, seen


def test_a_seed_makes_the_same_faults_and_events() -> None:
    first, second = (play(7, seconds=0, only=["terminate_backends", "cut_reply", "cut_link"]) for _ in range(2))
    assert first.struck == second.struck
    assert (first.imbalances, second.imbalances) == ([], [])
