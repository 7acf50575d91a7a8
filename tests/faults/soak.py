"""`make soak`: many long rounds of faults. It prints the seed of each, with which a round can be played again."""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import get_args

from tests.faults.catalog import FAULTS
from tests.faults.environment import Mode
from tests.faults.report import Report, listed
from tests.faults.rounds import play_round

MODES: tuple[Mode, ...] = get_args(Mode)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 1 if a round broke an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Post while everything breaks.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long faults occur in each round, at least")
    parser.add_argument("--seed", type=int, help="seed of the first round; each further round adds 1")
    parser.add_argument("--mode", choices=MODES, help="one mode alone; by default the modes alternate")
    parser.add_argument("--only", choices=sorted(FAULTS), action="append", default=[], help="this fault alone")
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    reports: list[Report] = []
    for number in range(options.rounds):
        mode = options.mode or MODES[number % 2]
        started = time.monotonic()
        reports.append(play_round(seed + number, seconds=options.seconds, mode=mode, only=options.only))
        took = time.monotonic() - started
        print(f"round {number + 1} of {options.rounds}, {took:.0f} s: {reports[-1]}", file=sys.stderr, flush=True)
        for sentence in reports[-1].broken_invariants:
            print(f"  {sentence}", file=sys.stderr, flush=True)
    print(json.dumps([asdict(each) for each in reports], indent=2) if options.json else _summary(reports))
    return 1 if any(each.broken_invariants for each in reports) else 0


def _summary(reports: Sequence[Report]) -> str:
    faults, sqlstates, answers, lost = (
        sum((getattr(each, name) for each in reports), Counter[str]())
        for name in ("faults", "sqlstates", "answers", "lost_answers")
    )
    failed = [f"--seed {each.seed} --mode {each.mode}" for each in reports if each.broken_invariants]
    lines = [
        f"{len(reports)} rounds: {sum(each.sent for each in reports)} events sent, "
        f"{sum(each.acknowledged for each in reports)} acknowledged, "
        f"{sum(each.rejected for each in reports)} rejected.",
        f"Answers: {listed(answers)}.",
        f"Answers lost after their commit: {listed(lost)}.",
        f"{faults.total()} faults: {listed(faults)}.",
        f"SQLSTATEs that functions logged: {listed(sqlstates)}.",
    ]
    if failed:
        lines.append(f"BROKEN invariants. Play these rounds again with --rounds 1: {'; '.join(failed)}.")
    else:
        lines.append("Zero lost, zero duplicated, zero unaccounted.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
