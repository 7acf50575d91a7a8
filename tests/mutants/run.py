"""`make mutants`: small changes to the code, each of which a test should notice; prints those that none does."""

import argparse
import io
import json
import math
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.paths import MIGRATIONS, PROJECT, STATE
from local.postgres import start_postgres
from tests.mutants.mutant import Mutant
from tests.mutants.python_mutants import python_mutants
from tests.mutants.reach import path_of
from tests.mutants.sql_mutants import sql_mutants
from tests.mutants.trials import Outcome, Trials
from tests.support.databases import Cluster
from tests.support.folders import open_folder

PACKAGE = PROJECT / "layers" / "shared" / "muster"
FILES = (PACKAGE / "ingest", PACKAGE / "validation", MIGRATIONS / "functions" / "ingest")
TESTS = ("tests/handlers", "tests/unit")
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")


@dataclass(frozen=True)
class Equivalent:
    """A mutant that no test can tell from the original, or that none needs to."""

    file: str
    changed: tuple[str, ...]
    reason: str

    def explains(self, mutant: Mutant) -> bool:
        """Whether it is this mutant."""
        return (self.file, self.changed) == (mutant.path, mutant.changed)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when a mutant survived that the list of equivalents does not explain."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants.run", description="Change code that tests should watch."
    )
    parser.add_argument(
        "files", nargs="*", type=Path, help="files or folders; by default ingest, validation and their SQL"
    )
    parser.add_argument("--most", type=int, help="mutants, chosen by chance; by default all")
    parser.add_argument("--seed", type=int, help="of that chance")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no mutant after so many")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or folders of tests")
    parser.add_argument("--equivalents", type=Path, default=EQUIVALENTS, help="survivors that are explained")
    parser.add_argument("--state", type=Path, default=STATE, help="folder that remembers what the tests reach")
    parser.add_argument("--json", action="store_true", help="print the outcomes as one JSON object")
    options = parser.parse_args(arguments)
    started, seed = time.monotonic(), random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    files = source_files(options.files or FILES)
    equivalents = read_equivalents(options.equivalents)
    makers = [maker for file in files for maker in mutants_of(file)]
    chosen = makers
    if options.most is not None and options.most < len(makers):
        chosen = random.Random(seed).sample(makers, options.most)  # noqa: S311 - not for secrets
    outcomes: list[Outcome] = []
    with _server() as cluster:
        trials = Trials(cluster, options.state)
        _say(f"{len(chosen)} of {len(makers)} mutants of {len(files)} files, seed {seed}.")
        trials.learn(options.tests, files)
        _say(f"{len(trials.tests)} tests passed, known after {time.monotonic() - started:.0f} s.")
        for name in trials.excluded:
            _say(f"  left out, because it fails without a mutant or compares a function's text: {name}")
        for number, make in enumerate(chosen, 1):
            if time.monotonic() - started > options.minutes * 60:
                break
            outcome = trials.judge(make())
            outcomes.append(outcome)
            mutant = outcome.mutant
            _say(
                f"{number:>4} {outcome.outcome:<9} {mutant.path}:{mutant.line}  {mutant.operator}"
                f"  {outcome.seconds:.1f} s  {outcome.by[:100]}"
            )
    survived = [each for each in outcomes if each.outcome == "survived"]
    reasons = {
        id(each): equivalent.reason
        for each in survived
        for equivalent in equivalents
        if equivalent.explains(each.mutant)
    }
    unexplained = [each for each in survived if id(each) not in reasons]
    stale = [each for each in equivalents if each.file in files and not still_there(each)]
    summary = _summary(outcomes, len(reasons), len(makers), seed, time.monotonic() - started)
    if options.json:
        print(_as_json(outcomes, reasons, seed))
        _say(summary)
    else:
        for each in outcomes:
            if each.outcome == "timed out" or each in unexplained:
                print(_described(each))
        print(summary)
    for old in stale:
        _say(f"{options.equivalents.name} explains a mutant of {old.file} that is not there: {old.changed[0]}")
    return 1 if unexplained or stale else 0


def source_files(places: Sequence[Path]) -> list[str]:
    """The Python and SQL files of these files and folders, from the root of the repository.

    Raises:
        SystemExit: there is none.
    """
    found = []
    for place in places:
        path = (PROJECT / place).resolve()
        inside = sorted([*path.rglob("*.py"), *path.rglob("*.sql")]) if path.is_dir() else [path]
        found += [path_of(each) for each in inside if each.suffix in (".py", ".sql") and each.is_file()]
    if not found:
        sys.exit(f"No Python or SQL file in {', '.join(map(str, places))}.")
    return found


def mutants_of(file: str) -> list[Callable[[], Mutant]]:
    """A maker for each mutant of a file."""
    text = (PROJECT / file).read_text("utf-8")
    if file.endswith(".py"):
        return list(python_mutants(file, text))
    return [lambda made=made: made for made in sql_mutants(file, text)]  # type: ignore[misc]


def read_equivalents(path: Path) -> list[Equivalent]:
    """The explained survivors."""
    if not path.exists():
        return []
    rows = tomllib.loads(path.read_text("utf-8")).get("equivalent", [])
    return [Equivalent(row["file"], tuple(row["changed"]), row["reason"]) for row in rows]


def still_there(equivalent: Equivalent) -> bool:
    """Whether the lines that the mutant changes are still in its file."""
    lines = {line.strip() for line in (PROJECT / equivalent.file).read_text("utf-8").splitlines()}
    return all(line[2:] in lines for line in equivalent.changed if line.startswith("- "))


@contextmanager
def _server() -> Any:
    settings = {"track_functions": "all"}
    with (
        open_folder(in_memory=True) as folder,
        start_postgres(folder / "data", durable=False, settings=settings) as server,
    ):
        made = Cluster(server)
        with redirect_stdout(io.StringIO()):  # the migration logs a line
            made.prepare()
        yield made


def _described(outcome: Outcome) -> str:
    mutant = outcome.mutant
    lines = "\n".join(f"    {line}" for line in mutant.changed)
    return f"{outcome.outcome}: {mutant.path}:{mutant.line} {mutant.operator}; {outcome.by}\n{lines}"


def _summary(outcomes: Sequence[Outcome], explained: int, total: int, seed: int, seconds: float) -> str:
    counted = Counter(each.outcome for each in outcomes)
    return (
        f"{len(outcomes)} of {total} mutants in {seconds:.0f} s (seed {seed}): {counted['killed']} killed, "
        f"{counted['survived']} survived ({explained} of them explained), {counted['timed out']} timed out, "
        f"{counted['invalid']} invalid."
    )


def _as_json(outcomes: Sequence[Outcome], reasons: dict[int, str], seed: int) -> str:
    listed: list[dict[str, Any]] = [
        {
            "file": each.mutant.path,
            "line": each.mutant.line,
            "operator": each.mutant.operator,
            "outcome": each.outcome,
            "by": each.by,
            "changed": each.mutant.changed,
            "seconds": round(each.seconds, 2),
            "explained": reasons.get(id(each)),
        }
        for each in outcomes
    ]
    return json.dumps({"seed": seed, "mutants": listed}, indent=2)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
