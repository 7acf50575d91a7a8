"""`make bench-cold`: compares the cold start of each route with a function that only imports psycopg and pydantic."""

import argparse
import compileall
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from benchmarks.machine import describe
from benchmarks.report import DOCS, draw_bars, table, write_section
from benchmarks.target import own_target
from local.sam.sam_cli import build_for_this_machine
from local.sam.template import Function, load_template
from muster.db.client import Database
from muster.platform.settings import Settings
from muster.service import AnalyticsService
from tests.support.emulator import Emulator
from tests.support.events import http_event
from tests.support.functions import BROWSER
from tests.support.requests import ASKS, SESSION_ID, new_batch

MAX_CPU = 1.4
_DRAWN = (
    "POST /v1/events",
    "PUT /v1/sessions/{sessionId}",
    "GET /v1/metrics",
    "POST /v1/metrics/funnel",
    "GET /v1/diagnostics",
)
INGEST, FULL_PATH = "POST /v1/events", "POST /v1/events, with a bad event"
FLOOR, EMPTY = "imports psycopg and pydantic", "imports nothing"
_PROGRAMS = {FLOOR: "import psycopg\nimport pydantic\n", EMPTY: ""}
_HANDLER = 'def lambda_handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'
_COUNT = """
import contextlib, io, json, sys
import app
with contextlib.redirect_stdout(io.StringIO()):
    app.lambda_handler(json.load(sys.stdin), type("Context", (), {"aws_request_id": "1"}))
print(len(sys.modules))
"""


@dataclass
class Start:
    """A function that is started cold, invoked once and stopped."""

    name: str
    function: Function
    make_event: Callable[[], dict[str, Any]]
    """Makes a new event for each start, because an event sent before would be a duplicate."""
    modules: int = 0
    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)

    def measure(self, workspace: Path, environment: Mapping[str, str]) -> None:
        """Start the function, invoke it and stop it."""
        with Emulator(self.function, workspace, environment=environment) as emulator:
            started = time.perf_counter()
            answer = emulator.invoke(self.make_event())
            self.wall_seconds.append(time.perf_counter() - started)
            self.cpu_seconds.append(emulator.runtime_cpu_seconds())
            if answer.get("statusCode", 500) >= 500:
                raise RuntimeError(f"{self.name} returned {answer}.\n{emulator.log}")

    def count_modules(self, environment: Mapping[str, str]) -> None:
        """Count the modules that are loaded after the first request."""
        folders = [self.function.source, *(folder / "python" for folder in self.function.python_path)]
        counted = subprocess.run(
            [sys.executable, "-S", "-c", _COUNT],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, folders)), **environment},
            input=json.dumps(self.make_event()),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self.modules = int(counted.stdout)

    @property
    def cpu(self) -> float:
        """Seconds, the median of the starts."""
        return statistics.median(self.cpu_seconds)

    @property
    def wall(self) -> float:
        """Seconds, the median of the starts."""
        return statistics.median(self.wall_seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measured starts of each route")
    parser.add_argument("--routes", nargs="+", default=list(ASKS), help="for example 'POST /v1/events'")
    parser.add_argument("--build", type=Path, help="the folder of a `sam build` for this machine; default: build one")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of benchmarks.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="muster-cold-") as name, own_target() as target:
        folder = Path(name)
        build = options.build
        if build is None:
            print("Building the functions.", flush=True)
            build = build_for_this_machine(folder / "sam")
        with target.connect() as server:
            machine = describe(server)
        AnalyticsService(Database(Settings(database_url=target.url)), key=target.write_key).update_session(
            SESSION_ID, None
        )
        environment = {"DATABASE_URL": target.url, "STAGE": "benchmark", "INGEST_MODE": "direct"}
        keys = {"write": target.write_key, "read": target.read_key, "admin": target.admin_key}
        starts = _starts(build, folder, options.routes, keys)
        for start in starts:
            start.count_modules(environment)
        for number in range(options.rounds + 1):
            for start in starts:
                start.measure(folder, environment)
                if number == 0:
                    start.cpu_seconds.clear()
                    start.wall_seconds.clear()
            print(f"  round {number} of {options.rounds}", flush=True)
        sizes = {part: _size(build / part) for part in ("SharedLayer", *sorted(_functions(build)))}
    body, missed = _report(options.output, machine, starts, sizes)
    write_section(options.output, "bench-cold", "Cold starts (`make bench-cold`)", body)
    print(body)
    for sentence in missed:
        print(f"Goal missed: {sentence}")
    return 0


def _functions(build: Path) -> dict[str, Function]:
    return dict(load_template(build / "template.yaml").functions)


def _starts(build: Path, folder: Path, routes: Sequence[str], keys: Mapping[str, str]) -> list[Start]:
    template = load_template(build / "template.yaml")
    function_of = {route.key: template.functions[route.function] for route in template.routes}
    starts = []
    for number, (name, imports) in enumerate(_PROGRAMS.items()):
        source = folder / f"floor-{number}"
        source.mkdir()
        (source / "app.py").write_text(imports + "\n\n" + _HANDLER, "utf-8")
        any_function = next(iter(function_of.values()))
        layers = (*any_function.python_path, _pydantic(folder / f"pydantic-{number}"))
        function = replace(any_function, name=f"Floor{number}", source=source, environment={}, python_path=layers)
        starts.append(Start(name, function, dict))
    for route in routes:
        starts.append(Start(route, function_of[route], partial(_event, route, keys)))
        if route == INGEST:
            starts.append(Start(FULL_PATH, function_of[route], partial(_event, route, keys, bogus=1)))
    return starts


def _pydantic(folder: Path) -> Path:
    """A layer with pydantic and its dependencies. Bytecode is included, as in built layers."""
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection"):
        package = importlib.util.find_spec(name)
        if package is None or package.origin is None:
            raise RuntimeError(f"{name} is not installed. Run make bench-cold, which installs it.")
        shutil.copytree(Path(package.origin).parent, folder / "python" / name)
    compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return folder


def _event(route: str, keys: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    """The event of a request to a route. `fields` are added to the first analytics event of its body."""
    ask = ASKS[route]
    headers = {"user-agent": BROWSER}
    if ask.kind:
        headers["authorization"] = f"Bearer {keys[ask.kind]}"
    body = ask.body
    if route == INGEST:
        body = new_batch()
        body["events"][0] |= fields
    return http_event(route, parameters=ask.path, headers=headers, json_body=body)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _report(folder: Path, machine: str, starts: Sequence[Start], sizes: Mapping[str, int]) -> tuple[str, list[str]]:
    floor, empty = (next(start for start in starts if start.name == name) for name in (FLOOR, EMPTY))
    routes = [start for start in starts if start not in (floor, empty)]
    ratio = {start.name: start.cpu / floor.cpu for start in routes}
    above = {start.name: (start.cpu - empty.cpu) / (floor.cpu - empty.cpu) for start in routes}
    missed = [
        f"{name} takes {each:.2f} × the CPU of the floor. The goal is {MAX_CPU} ×."
        for name, each in ratio.items()
        if each > MAX_CPU
    ]
    rows = [
        [
            start.name,
            f"{ratio[start.name]:.2f} ×",
            f"{above[start.name]:.2f} ×",
            f"{start.wall / floor.wall:.2f} ×",
            str(start.modules),
        ]
        for start in routes
    ]
    rows.append([f"a function that {EMPTY}", f"{empty.cpu / floor.cpu:.2f} ×", "0.00 ×",
                 f"{empty.wall / floor.wall:.2f} ×", str(empty.modules)])  # fmt: skip
    rows.append([f"the floor: {FLOOR}", "1.00 ×", "1.00 ×", "1.00 ×", str(floor.modules)])
    chart = draw_bars(
        folder,
        "cold",
        "CPU of a cold start with its first request / CPU of the floor",
        [start.name.replace("/v1/", "").replace(" ", "\n", 1) for start in routes if start.name in _DRAWN],
        {"CPU / floor": [ratio[start.name] for start in routes if start.name in _DRAWN]},
        "CPU / floor",
    )
    parts = [
        f"{machine}. `sam build` made the functions with their bytecode. Each was started {len(floor.cpu_seconds)} "
        "times under the runtime interface emulator, interleaved. CPU and time are measured from the start of the "
        "runtime's process to its first response. They include the imports, the connection to PostgreSQL and the log "
        f"line. The floor {FLOOR} and returns a constant. 'Above an empty function' subtracts the cost of Python and "
        "the runtime.",
        table(["first request", "CPU / floor", "above an empty function", "time / floor", "modules"], rows),
        chart,
        f"Unpacked, the shared layer has {sizes['SharedLayer'] / 1e6:.1f} MB, and no function has more than "
        f"{max(size for part, size in sizes.items() if part != 'SharedLayer') / 1e3:.1f} kB.",
    ]
    return "\n\n".join(parts + [f"Goal missed: {sentence}" for sentence in missed]), missed


if __name__ == "__main__":
    sys.exit(main())
