"""While everything breaks, no acknowledged event is lost, none is stored twice, and every event is accounted for.

`make soak` plays longer rounds with random seeds.
"""

import itertools
import os
import random
from typing import Any

import pytest

from tests.faults.batches import BatchMaker, make_shared_sessions
from tests.faults.catalog import FAULTS, LOSE_ANSWERS
from tests.faults.database_faults import EXPECTED_SQLSTATES
from tests.faults.environment import Mode
from tests.faults.lost_answers import INGEST_PATHS
from tests.faults.record import ClientRecord
from tests.faults.rounds import plan_faults, play_round

SECONDS = float(os.environ.get("FAULT_SECONDS", "0"))
SEED = int(os.environ.get("FAULT_SEED", "20261124"))


@pytest.mark.parametrize("mode", ["direct", "buffered"])
def test_no_event_is_lost_or_stored_twice_under_any_fault(mode: Mode) -> None:
    report = play_round(SEED, seconds=SECONDS, mode=mode)
    print(report)
    for name, reason in report.left_out.items():
        print(f"Left out {name}: {reason}.")
    assert report.broken_invariants == []
    assert report.sent == report.acknowledged
    assert set(report.faults) | set(report.left_out) == set(FAULTS)
    assert set(EXPECTED_SQLSTATES.values()) <= set(report.sqlstates)
    lost = sum(report.faults[name] for name in LOSE_ANSWERS)
    assert report.lost_answers == dict.fromkeys(INGEST_PATHS, lost)


def test_a_seed_makes_the_same_faults_and_batches() -> None:
    first, second = (list(itertools.islice(plan_faults(7, list(FAULTS)), 50)) for _ in range(2))
    assert first == second
    assert set(first[: len(FAULTS)]) == set(FAULTS)
    assert _batches(7) == _batches(7) != _batches(8)


def _batches(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)  # noqa: S311 - test data
    maker = BatchMaker(rng, make_shared_sessions(rng), ClientRecord())
    batches = [maker.make() for _ in range(50)]
    for batch in batches:
        for event in batch["events"]:
            del event["timestamp"]  # the time of the call
    return batches
