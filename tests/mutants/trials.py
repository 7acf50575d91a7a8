"""Runs tests on mutants, each in a fork of this process that has PostgreSQL and the libraries ready.

A Python mutant is imported instead of its module. A SQL mutant is created in the template database that the tests copy.
Nothing in the working tree changes.
"""

import ast
import gc
import hashlib
import importlib.abc
import importlib.util
import json
import os
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import coverage
import psycopg
import pytest

from local.paths import MIGRATIONS
from local.paths import PROJECT as ROOT
from muster.db.migrate import OWNER
from tests.mutants.mutant import Mutant
from tests.mutants.sql_mutants import function_name, with_comment
from tests.support.databases import TEMPLATE, Cluster

OURS = ("muster", "functions", "local", "tests", "benchmarks", "conftest")
# A busy machine, and a mutant that takes another path, are slower than the first run of the tests.
SLOWER = 4.0
GRACE_SECONDS = 20.0


Learned = tuple[dict[str, Any], list[str]]
"""What each test showed, by its id, and the modules that were imported."""


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
    """The SQL functions that it calls."""


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

    def learn(self, places: Sequence[str], files: Sequence[str]) -> None:
        """Run the tests once, on the files as they are, and remember what each one reaches.

        Raises:
            RuntimeError: pytest could not run the tests.
        """
        known = _Remembered(self.state / "mutants.json", _digest(places, files))
        results, modules = known.read() or self._learned(places, files)
        if not results:
            raise RuntimeError(f"No test of {', '.join(places)} could be run.")
        known.write((results, modules))
        self.excluded = sorted(name for name, result in results.items() if result["failed"])
        self.tests = [
            Test(each["file"], name, each["seconds"], each["lines"], each["functions"])
            for name, each in results.items()
            if not each["failed"] and not each["skipped"]
        ]
        _import_libraries(modules)
        fastest = sorted(self.tests, key=lambda test: test.seconds)[:1]
        if (control := self._forked(lambda send: _try(self.cluster, None, fastest, send), seconds=600)) != [""]:
            raise RuntimeError(f"{fastest[0].id} fails without a mutant: {control}")

    def _learned(self, places: Sequence[str], files: Sequence[str]) -> Learned:
        originals = [_text(path) for path in _sql_files(files)]
        for text in originals:
            self._create(with_comment(text))
        try:
            found = self._forked(lambda send: _learn(self.cluster, places, files, send), seconds=3600)
        finally:
            for text in originals:
                self._create(text)
        return (found[0][0], found[0][1]) if found else ({}, [])

    def tests_of(self, mutant: Mutant) -> list[Test]:
        """The tests that reach a mutant: first those that killed others, then the fastest."""
        if mutant.path.endswith(".sql"):
            name = function_name(mutant.original)
            reaching = [test for test in self.tests if name in test.functions]
        else:
            reaching = self._reaching(mutant)
        return sorted(reaching, key=lambda test: (-self._killers[test.id], test.seconds))

    def _reaching(self, mutant: Mutant) -> list[Test]:
        if lines := statement_lines(mutant.original, mutant.line):
            return [test for test in self.tests if not lines.isdisjoint(test.lines.get(mutant.path, ()))]
        # A constant reaches as far as its name.
        names = assigned_names(mutant.original, mutant.line)
        uses = {path: lines for path in self._measured() if (lines := using_lines(_text(path), names))}
        return [
            test
            for test in self.tests
            if (
                test.lines
                if not uses
                else any(not lines.isdisjoint(test.lines.get(path, ())) for path, lines in uses.items())
            )
        ]

    def _measured(self) -> set[str]:
        return {path for test in self.tests for path in test.lines}

    def judge(self, mutant: Mutant) -> Outcome:
        """Run the tests that reach a mutant until one fails."""
        started = time.monotonic()
        tests = self.tests_of(mutant)
        if not tests:
            return Outcome(mutant, "survived", "no test reaches it", 0, 0.0)
        limit = GRACE_SECONDS + SLOWER * sum(test.seconds for test in tests)
        if mutant.path.endswith(".sql"):
            try:
                self._create(mutant.text)
            except psycopg.Error as error:
                return Outcome(mutant, "invalid", error.diag.message_primary or "", 0, time.monotonic() - started)
            try:
                found = self._forked(lambda send: _try(self.cluster, None, tests, send), seconds=limit)
            finally:
                self._create(mutant.original)
        else:
            try:
                compile(mutant.text, mutant.path, "exec")
            except (SyntaxError, ValueError) as error:
                return Outcome(mutant, "invalid", str(error), 0, time.monotonic() - started)
            found = self._forked(lambda send: _try(self.cluster, mutant, tests, send), seconds=limit)
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

    def _forked(self, work: Any, *, seconds: float) -> list[Any] | None:
        """What the work sends from a fork of this process; None if it takes too long."""
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.setpgid(0, 0)
            try:
                with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                    work(lambda value: _write(writing, value))
            finally:
                os._exit(0)
        os.close(writing)
        try:
            return _received(reading, seconds)
        finally:
            os.close(reading)
            _end(child)
            self._drop_databases_of(child)

    def _drop_databases_of(self, process: int) -> None:
        with self.cluster.maintenance() as connection:
            pattern = f"test\\_{process}\\_%"
            for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (pattern,)):
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _write(pipe: int, value: object) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def _received(pipe: int, seconds: float) -> list[Any] | None:
    data, end = b"", time.monotonic() + seconds
    while True:
        if not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        chunk = os.read(pipe, 1 << 16)
        data += chunk
        # Programs that a test started may hold the pipe open: a whole line is the end too.
        if not chunk or data.endswith(b"\n"):
            return [json.loads(line) for line in data.splitlines()]


def _end(child: int) -> None:
    """End the test process and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


@dataclass
class Mutated(importlib.abc.MetaPathFinder):
    """Finds a module's mutant instead of the module."""

    mutant: Mutant

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The mutant, if it is asked for."""
        file = ROOT / self.mutant.path
        folders = [Path(each).resolve() for each in (sys.path if path is None else path)]
        if fullname.rpartition(".")[2] != file.stem or file.parent not in folders:
            return None
        loader = _Loader(fullname, str(file))
        loader.text = self.mutant.text
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


class _Loader(SourceFileLoader):
    text = ""

    def get_code(self, fullname: str) -> Any:
        """The compiled mutant; not the module's own cached code."""
        return compile(self.text, self.path, "exec", dont_inherit=True)


@contextmanager
def _our_code_new(cluster: Cluster, mutant: Mutant | None) -> Iterator[Any]:
    """Have all of our own code imported again, with the mutant, and the server that is there used for it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, Mutated(mutant))
    databases = importlib.import_module("tests.support.databases")

    @contextmanager
    def shared() -> Iterator[Any]:
        yield databases.Cluster(cluster.server)

    databases.cluster = shared  # type: ignore[attr-defined]
    os.chdir(ROOT)
    yield databases


def _pytest(places: Sequence[str], plugin: object) -> int:
    """Run tests; their ids begin at the root of the repository, or at the folder of a file that is outside of it."""
    outside = [place for place in map(Path, places) if not (ROOT / place).is_relative_to(ROOT)]
    root = outside[0].parent if outside else ROOT
    options = [
        "-q",
        "-x" if isinstance(plugin, _First) else "-ra",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-p",
        "no:xdist",
        "--no-header",
        "--tb=no",
    ]
    # The libraries are imported before pytest is, so that it can rewrite none of their asserts.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return pytest.main(
        [*options, f"--config-file={ROOT / 'pyproject.toml'}", f"--rootdir={root}", *places], plugins=[plugin]
    )


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


def _try(cluster: Cluster, mutant: Mutant | None, tests: Sequence[Test], send: Any) -> None:
    first = _First(tests)
    try:
        with _our_code_new(cluster, mutant):
            code = _pytest(sorted({test.file for test in tests}), first)
    except BaseException as error:
        send(first.failed or repr(error))
    else:
        send(first.failed or ("" if code == pytest.ExitCode.OK else f"pytest, with exit code {int(code)}"))


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

    def called(self, functions: Sequence[str]) -> None:
        """The functions that the current test called in a database of its own."""
        self.results[self.current]["functions"].extend(functions)


def _learn(cluster: Cluster, places: Sequence[str], files: Sequence[str], send: Any) -> None:
    os.environ["COVERAGE_CORE"] = "ctrace"
    measured = coverage.Coverage(data_file=None, config_file=False, include=_measured_folders(files))
    learner = _Learner(measured)
    try:
        with _our_code_new(cluster, None) as databases:
            _watch_functions(databases.Cluster, learner)
            measured.start()
            _pytest(places, learner)
            measured.stop()
        data = measured.get_data()
        for file in data.measured_files():
            for line, names in data.contexts_by_lineno(file).items():
                for name in names:
                    if name in learner.results:
                        path = path_of(Path(file))
                        learner.results[name]["lines"].setdefault(path, []).append(line)
    finally:
        send([learner.results, [name for name, module in list(sys.modules.items()) if _is_library(module)]])


def _is_library(module: object) -> bool:
    return str(getattr(module, "__file__", None)).startswith((sys.prefix, sys.base_prefix))


def _import_libraries(modules: Sequence[str]) -> None:
    """Import the libraries that the tests need, so that no fork has to."""
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _watch_functions(cluster: Any, learner: _Learner) -> None:
    """Have the functions read that were called in a test's database before it is dropped."""
    unwatched = cluster.database

    @contextmanager
    def database(self: Any, **options: Any) -> Iterator[str]:
        with unwatched(self, **options) as url:
            yield url
            with psycopg.connect(url, autocommit=True) as connection:
                # A session adds to the statistics when it ends.
                others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                end = time.monotonic() + 1.0
                while connection.execute(others).fetchone() is not None and time.monotonic() < end:
                    time.sleep(0.01)
                called = connection.execute("SELECT schemaname || '.' || funcname FROM pg_stat_user_functions")
                learner.called([name for (name,) in called])

    cluster.database = database


@dataclass(frozen=True)
class _Remembered:
    """What the tests showed, from an earlier run on the same files."""

    path: Path
    digest: str

    def read(self) -> Learned | None:
        try:
            held = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return (held["results"], held["modules"]) if held["digest"] == self.digest else None

    def write(self, learned: Learned) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        held = {"digest": self.digest, "results": learned[0], "modules": learned[1]}
        self.path.write_text(json.dumps(held), "utf-8")


def _sql_files(chosen: Sequence[str]) -> list[str]:
    """Every function's file, chosen or not, so that one run of the tests serves many choices."""
    every = {path.relative_to(ROOT).as_posix() for path in (MIGRATIONS / "functions").rglob("*.sql")}
    return sorted(every | {path for path in chosen if path.endswith(".sql")})


def _measured_folders(chosen: Sequence[str]) -> list[str]:
    package = ROOT / "layers" / "shared" / "muster"
    others = {(ROOT / path).parent for path in chosen if path.endswith(".py")}
    return [f"{package}/*", *sorted(f"{folder}/*" for folder in others if package not in [folder, *folder.parents])]


def _digest(places: Sequence[str], files: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([*places, *_sql_files(files), *_measured_folders(files)]).encode())
    for folder in ("functions", "layers", "local", "migrations", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".sql") and path.parent != Path(__file__).parent:
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def path_of(file: Path) -> str:
    """A file's path from the root of the repository, or its whole path if it is outside."""
    return (file.relative_to(ROOT) if file.is_relative_to(ROOT) else file).as_posix()


@cache
def _text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


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


def assigned_names(text: str, line: int) -> set[str]:
    """The names that the statement of a module that a line is in gives to a value, a class or a function."""
    for node in ast.parse(text).body:
        if node.lineno <= line <= (node.end_lineno or node.lineno):
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
