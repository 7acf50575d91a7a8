"""Which test reaches which line of Python and which SQL function, learned by running each test once."""

import ast
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import coverage
import psycopg
import pytest

from local.paths import MIGRATIONS, PROJECT
from tests.mutants.forks import forked, is_library, our_code_again, run_pytest
from tests.mutants.mutant import Mutant
from tests.mutants.sql_mutants import function_name
from tests.support.databases import Cluster

# One file of tests may take so long.
FILE_SECONDS = 900.0
FOLDERS = ("functions", "layers", "local", "migrations", "tests")


@dataclass(frozen=True)
class Test:
    """What the first run of a test showed."""

    __test__ = False

    file: str
    id: str
    seconds: float
    lines: dict[str, list[int]]
    """The lines that it runs, by file."""
    functions: list[str]
    """The SQL functions that it calls, or another test in the same database."""


@dataclass
class Memory:
    """What the tests of each file showed, from run to run; forgotten when the code or the file changes."""

    path: Path
    digest: str
    """Of all code but the tests' own files."""
    files: dict[str, dict[str, Any]]
    """By file of tests: its "digest", the "results" by test, and the "modules" that it imports."""

    @classmethod
    def read(cls, path: Path, chosen: Sequence[str]) -> "Memory":
        """What is remembered for these files to mutate."""
        digest = _digest_of_code(chosen)
        try:
            held = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            held = {}
        return cls(path, digest, held["files"] if held.get("digest") == digest else {})

    def unknown(self, files: Sequence[Path]) -> list[Path]:
        """The files of tests that must run."""
        return [file for file in files if self.files.get(str(file), {}).get("digest") != _digest_of(file)]

    def learn(self, cluster: Cluster, file: Path, chosen: Sequence[str]) -> None:
        """Run a file's tests, and remember what they reach.

        Raises:
            RuntimeError: pytest could not run them.
        """
        found = forked(cluster, lambda send: _learn(cluster, file, chosen, send), seconds=FILE_SECONDS)
        if not found:
            raise RuntimeError(f"The tests of {file} could not be run.")
        self.files[str(file)] = {"digest": _digest_of(file), **found[0]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({"digest": self.digest, "files": self.files}), "utf-8")


def test_files(places: Sequence[str]) -> list[Path]:
    """The files of tests in these files and folders."""
    paths = [PROJECT / place for place in places]
    return [file for path in paths for file in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])]


def reaching(tests: Sequence[Test], mutant: Mutant) -> list[Test]:
    """The tests that reach a mutant."""
    if mutant.path.endswith(".sql"):
        name = function_name(mutant.original)
        return [test for test in tests if name in test.functions]
    lines = statement_lines(mutant.original, mutant.line)
    direct = [test for test in tests if not lines.isdisjoint(test.lines.get(mutant.path, ()))]
    # A constant reaches as far as its name. So does a cached function, whose lines only the first test runs.
    names = cached_names(mutant.original, mutant.line) if lines else assigned_names(mutant.original, mutant.line)
    if lines and not names:
        return direct
    measured = {path for test in tests for path in test.lines}
    uses = {path: used for path in measured if (used := using_lines(text_of(path), names))}
    if not uses:
        return direct if lines else [test for test in tests if test.lines]
    return [
        test
        for test in tests
        if test in direct or any(not uses[path].isdisjoint(test.lines.get(path, ())) for path in uses)
    ]


class _Learner:
    """A pytest plugin that remembers what each test takes and calls."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self.results: dict[str, dict[str, Any]] = {}
        self.current = ""

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self.current = item.nodeid
        result: dict[str, Any] = {"file": str(item.path), "seconds": 0.0, "failed": False, "skipped": False}
        self.results[item.nodeid] = result | {"lines": {}, "functions": []}
        self.measured.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        result = self.results[report.nodeid]
        result["seconds"] += report.duration
        result["failed"] |= report.failed
        result["skipped"] |= report.skipped

    def called(self, functions: Sequence[str], *, since: str) -> None:
        """The functions called in a database that the tests from `since` to the current one may have used."""
        names = list(self.results)
        for name in names[names.index(since) :]:
            self.results[name]["functions"].extend(functions)


def _learn(cluster: Cluster, file: Path, chosen: Sequence[str], send: Callable[[object], None]) -> None:
    os.environ["COVERAGE_CORE"] = "ctrace"
    measured = coverage.Coverage(data_file=None, config_file=False, include=_measured_folders(chosen))
    learner = _Learner(measured)
    with our_code_again(cluster, None) as databases:
        _watch_functions(databases.Cluster, learner)
        measured.start()
        run_pytest([str(file)], learner)
        measured.stop()
    data = measured.get_data()
    for source in data.measured_files():
        for line, names in data.contexts_by_lineno(source).items():
            for name in names:
                if name in learner.results:
                    learner.results[name]["lines"].setdefault(path_of(Path(source)), []).append(line)
    modules = [name for name, module in list(sys.modules.items()) if is_library(module)]
    send({"results": learner.results, "modules": modules})


def _watch_functions(cluster: Any, learner: _Learner) -> None:
    """Have the functions read that were called in a database before it is dropped."""
    unwatched = cluster.database

    @contextmanager
    def database(self: Any, **options: Any) -> Iterator[str]:
        # The tests of a module may share a database.
        first = learner.current
        with unwatched(self, **options) as url:
            yield url
            with psycopg.connect(url, autocommit=True) as connection:
                # A session adds to the statistics when it ends.
                others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                end = time.monotonic() + 1.0
                while connection.execute(others).fetchone() is not None and time.monotonic() < end:
                    time.sleep(0.01)
                called = connection.execute("SELECT schemaname || '.' || funcname FROM pg_stat_user_functions")
                learner.called([name for (name,) in called], since=first)

    cluster.database = database


def sql_files(chosen: Sequence[str]) -> list[str]:
    """Every function's file, chosen or not, so that one run of the tests serves many choices."""
    every = {path.relative_to(PROJECT).as_posix() for path in (MIGRATIONS / "functions").rglob("*.sql")}
    return sorted(every | {path for path in chosen if path.endswith(".sql")})


def _measured_folders(chosen: Sequence[str]) -> list[str]:
    package = PROJECT / "layers" / "shared" / "muster"
    others = {(PROJECT / path).parent for path in chosen if path.endswith(".py")}
    return [f"{package}/*", *sorted(f"{folder}/*" for folder in others if package not in [folder, *folder.parents])]


def _digest_of_code(chosen: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([sql_files(chosen), _measured_folders(chosen)]).encode())
    for folder in FOLDERS:
        for path in sorted((PROJECT / folder).rglob("*")):
            of_tests = path.name.startswith("test_") or path.parent == Path(__file__).parent
            if path.suffix in (".py", ".sql") and not of_tests:
                digest.update(path_of(path).encode() + path.read_bytes())
    return digest.hexdigest()


def _digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def path_of(file: Path) -> str:
    """A file's path from the root of the repository, or its whole path if it is outside."""
    return (file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file).as_posix()


@cache
def text_of(path: str) -> str:
    """A file's text."""
    return (PROJECT / path).read_text("utf-8")


def statement_lines(text: str, line: int) -> set[int]:
    """The lines of the statement that a line is in, of a compound one its head; none outside of functions."""
    return _statements(text).get(line, set())


@lru_cache(maxsize=64)
def _statements(text: str) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.stmt) and node is not function:
                    body = getattr(node, "body", None)
                    end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
                    lines = set(range(node.lineno, max(end, node.lineno) + 1))
                    found |= dict.fromkeys(lines, lines)
    return found


def cached_names(text: str, line: int) -> set[str]:
    """The name of the function that a line is in, if the function's results are cached."""
    return {
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or node.lineno)
        if any("cache" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def assigned_names(text: str, line: int) -> set[str]:
    """The names that the statement of a module that a line is in gives to a value, a class or a function."""
    for node in ast.parse(text).body:
        decorators = getattr(node, "decorator_list", [])
        if min(each.lineno for each in (node, *decorators)) <= line <= (node.end_lineno or node.lineno):
            stored = {
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            }
            return {node.name} if isinstance(node, ast.ClassDef | ast.FunctionDef) else stored
    return set()


def using_lines(text: str, names: set[str]) -> set[int]:
    """The lines of the statements in functions that use one of these names."""
    if not names:
        return set()
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    return {
        each
        for number, content in enumerate(text.splitlines(), 1)
        if named.search(content)
        for each in statement_lines(text, number)
    }
