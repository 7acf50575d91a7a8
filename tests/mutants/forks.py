"""Runs tests in forks of one process that has PostgreSQL and the libraries ready.

A fork imports all of our own code again, with a mutant instead of one module. Nothing in the working tree changes.
"""

import gc
import importlib.abc
import importlib.util
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from local.paths import PROJECT
from tests.mutants.mutant import Mutant
from tests.support.databases import Cluster

OURS = ("muster", "functions", "local", "tests", "benchmarks", "conftest")
Send = Callable[[object], None]


def forked(cluster: Cluster, work: Callable[[Send], None], *, seconds: float) -> list[Any] | None:
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
        _drop_databases_of(cluster, child)


def _drop_databases_of(cluster: Cluster, process: int) -> None:
    with cluster.maintenance() as connection:
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
class _Mutated(importlib.abc.MetaPathFinder):
    """Finds a module's mutant instead of the module."""

    mutant: Mutant

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The mutant, if it is asked for."""
        file = PROJECT / self.mutant.path
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
def our_code_again(cluster: Cluster, mutant: Mutant | None) -> Iterator[Any]:
    """Have all of our own code imported again, with the mutant, and the server that is there used for it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, _Mutated(mutant))
    databases = importlib.import_module("tests.support.databases")

    @contextmanager
    def shared() -> Iterator[Any]:
        yield databases.Cluster(cluster.server)

    databases.cluster = shared  # type: ignore[attr-defined]
    os.chdir(PROJECT)
    yield databases


def run_pytest(places: Sequence[str], plugin: object, *options: str) -> int:
    """Run tests; their ids begin at the root of the repository, or at the folder of a file that is outside of it."""
    outside = [place for place in map(Path, places) if not (PROJECT / place).is_relative_to(PROJECT)]
    root = outside[0].parent if outside else PROJECT
    without = [part for name in ("cacheprovider", "randomly", "xdist") for part in ("-p", f"no:{name}")]
    # The libraries are imported before pytest is, so that it can rewrite none of their asserts.
    ignored = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    configured = [f"--config-file={PROJECT / 'pyproject.toml'}", f"--rootdir={root}"]
    return pytest.main(["-q", "--tb=no", *options, *without, *ignored, *configured, *places], plugins=[plugin])


def is_library(module: object) -> bool:
    """Whether a module is Python's or an installed one."""
    return str(getattr(module, "__file__", None)).startswith((sys.prefix, sys.base_prefix))


def import_libraries(modules: Sequence[str]) -> None:
    """Import the libraries that the tests need, so that no fork has to."""
    for name in modules:
        if name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()
