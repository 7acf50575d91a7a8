"""`make soak`: many long rounds of faults, each with a seed of chance that is printed and can be played again."""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from tests.faults.rounds import Report, play
from tests.faults.strikes import STRIKES

MODES = ("direct", "buffered")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when the books of any round are not balanced."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Post while everything breaks.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="of faults, in each round")
    parser.add_argument("--seed", type=int, help="of the first round; the others follow from it")
    parser.add_argument("--mode", choices=MODES, help="one mode alone; by default they take turns")
    parser.add_argument("--only", choices=sorted(STRIKES), action="append", default=[], help="this fault alone")
    parser.add_argument("--json", action="store_true", help="print the reports as one JSON object")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    reports: list[Report] = []
    for number in range(options.rounds):
        mode = options.mode or MODES[number % 2]
        started = time.monotonic()
        reports.append(play(seed + number, seconds=options.seconds, mode=mode, only=options.only))
        took = time.monotonic() - started
        print(f"round {number + 1} of {options.rounds}, {took:.0f} s: {reports[-1]}", file=sys.stderr, flush=True)
        for sentence in reports[-1].imbalances:
            print(f"  {sentence}", file=sys.stderr, flush=True)
    print(_as_json(reports) if options.json else _summary(reports))
    return 1 if any(each.imbalances for each in reports) else 0


def _summary(reports: Sequence[Report]) -> str:
    struck: Counter[str] = sum((each.struck for each in reports), Counter())
    met: Counter[str] = sum((each.sqlstates for each in reports), Counter())
    answers: Counter[str] = sum((each.statuses for each in reports), Counter())
    wrong = [each.seed for each in reports if each.imbalances]
    lines = [
        f"{len(reports)} rounds: {sum(each.sent for each in reports)} events sent, "
        f"{sum(each.acknowledged for each in reports)} acknowledged, {sum(each.rejected for each in reports)} "
        f"rejected; {sum(each.lost_answers for each in reports)} answers lost after their commit.",
        f"Answers: {_listed(answers)}.",
        f"{struck.total()} faults: {_listed(struck)}.",
        f"SQLSTATEs met by functions: {_listed(met)}.",
    ]
    if wrong:
        lines.append(f"NOT balanced: seeds {', '.join(map(str, wrong))}; play one with --rounds 1 --seed N --mode M.")
    else:
        lines.append("Zero lost, zero duplicated, zero unaccounted.")
    return "\n".join(lines)


def _as_json(reports: Sequence[Report]) -> str:
    return json.dumps([asdict(each) for each in reports], indent=2, default=sorted)


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counted.items()))


if __name__ == "__main__":
    sys.exit(main())
