"""Runs on each mutant the tests that reach it.

A SQL mutant is created in the template database, of which each test gets a copy.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from muster.db.migrate import OWNER
from tests.mutants.forks import forked, import_libraries, our_code_again, run_pytest
from tests.mutants.mutant import Mutant
from tests.mutants.reach import Memory, Test, reaching, sql_files, test_files, text_of
from tests.mutants.sql_mutants import with_comment
from tests.support.databases import TEMPLATE, Cluster

# A busy machine, and a mutant that takes another path, are slower than the first run of the tests.
SLOWER = 4.0
GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str
    """`killed`, `survived`, `timed out`, or `invalid`: no Python or no SQL."""
    by: str
    """The test that failed, or why no test could."""
    tests: int
    seconds: float


@dataclass
class Trials:
    """Tries mutants on one server."""

    cluster: Cluster
    state: Path
    """The folder that remembers from run to run what the tests reach."""
    tests: list[Test] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    """Tests that fail without a mutant, or compare a SQL function's text: they say nothing about a mutant."""
    _killers: Counter[str] = field(default_factory=Counter)

    def learn(self, places: Sequence[str], chosen: Sequence[str]) -> None:
        """Run the tests once, if it is not remembered what they reach.

        Raises:
            RuntimeError: the tests could not be run.
        """
        files = test_files(places)
        memory = Memory.read(self.state / "mutants.json", chosen)
        if unknown := memory.unknown(files):
            originals = [text_of(path) for path in sql_files(chosen)]
            for text in originals:
                self._create(with_comment(text))
            for file in unknown:
                memory.learn(self.cluster, file, chosen)
                import_libraries(memory.files[str(file)]["modules"])
            for text in originals:
                self._create(text)
        for file in files:
            import_libraries(memory.files[str(file)]["modules"])
            for name, each in memory.files[str(file)]["results"].items():
                if each["failed"]:
                    self.excluded.append(name)
                elif not each["skipped"]:
                    self.tests.append(Test(each["file"], name, each["seconds"], each["lines"], each["functions"]))
        control = sorted(self.tests, key=lambda test: test.seconds)[:1]
        if forked(self.cluster, lambda send: _try(self.cluster, None, control, send), seconds=600) != [""]:
            raise RuntimeError(f"No test passes without a mutant, not even {control}.")

    def judge(self, mutant: Mutant) -> Outcome:
        """Run the tests that reach a mutant until one fails."""
        started = time.monotonic()
        tests = sorted(reaching(self.tests, mutant), key=lambda test: (-self._killers[test.id], test.seconds))
        if not tests:
            return Outcome(mutant, "survived", "no test reaches it", 0, 0.0)
        limit = GRACE_SECONDS + SLOWER * sum(test.seconds for test in tests)
        if mutant.path.endswith(".sql"):
            try:
                self._create(mutant.text)
            except psycopg.Error as error:
                return Outcome(mutant, "invalid", error.diag.message_primary or "", 0, time.monotonic() - started)
            try:
                found = forked(self.cluster, lambda send: _try(self.cluster, None, tests, send), seconds=limit)
            finally:
                self._create(mutant.original)
        else:
            try:
                compile(mutant.text, mutant.path, "exec")
            except (SyntaxError, ValueError) as error:
                return Outcome(mutant, "invalid", str(error), 0, time.monotonic() - started)
            found = forked(self.cluster, lambda send: _try(self.cluster, mutant, tests, send), seconds=limit)
        took = time.monotonic() - started
        if found is None:
            return Outcome(mutant, "timed out", f"after {limit:.0f} s", len(tests), took)
        killer = found[0] if found else "the test process, which died"
        if killer:
            self._killers[killer] += 1
            return Outcome(mutant, "killed", killer, len(tests), took)
        return Outcome(mutant, "survived", f"{len(tests)} tests passed", len(tests), took)

    def _create(self, text: str) -> None:
        with psycopg.connect(self.cluster.url_of(TEMPLATE)) as connection:
            connection.execute(f"SET LOCAL ROLE {OWNER}")
            connection.execute(text.encode())


class _First:
    """A pytest plugin that runs chosen tests in the given order and remembers the first that fails."""

    def __init__(self, tests: Sequence[Test]) -> None:
        self.order = {test.id: n for n, test in enumerate(tests)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (each for each in items if each.nodeid in self.order), key=lambda each: self.order[each.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _try(cluster: Cluster, mutant: Mutant | None, tests: Sequence[Test], send: Callable[[object], None]) -> None:
    first = _First(tests)
    try:
        with our_code_again(cluster, mutant):
            code = run_pytest(sorted({test.file for test in tests}), first, "-x")
    except BaseException as error:
        send(first.failed or repr(error))
    else:
        send(first.failed or ("" if code == pytest.ExitCode.OK else f"pytest, with exit code {int(code)}"))
