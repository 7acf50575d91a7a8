"""`make bench-cold`: what a cold start costs each route, against a function that only imports psycopg and pydantic."""

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

MOST = 1.4
_DRAWN = (
    "POST /v1/events",
    "PUT /v1/sessions/{sessionId}",
    "GET /v1/metrics",
    "POST /v1/metrics/funnel",
    "GET /v1/diagnostics",
)
INGEST, CLOSELY = "POST /v1/events", "POST /v1/events, with a bad event"
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
    """A function that is started cold, asked once, and ended."""

    name: str
    function: Function
    make_event: Callable[[], dict[str, Any]]
    """A new one for each start: what was sent already would be a duplicate."""
    modules: int = 0
    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)

    def measure(self, workspace: Path, environment: Mapping[str, str]) -> None:
        """Start, ask, end."""
        with Emulator(self.function, workspace, environment=environment) as emulator:
            started = time.perf_counter()
            answer = emulator.invoke(self.make_event())
            self.wall_seconds.append(time.perf_counter() - started)
            self.cpu_seconds.append(emulator.runtime_cpu_seconds())
            if answer.get("statusCode", 500) >= 500:
                raise RuntimeError(f"{self.name} answered {answer}.\n{emulator.log}")

    def count_modules(self, environment: Mapping[str, str]) -> None:
        """How many modules are loaded once the request is answered."""
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
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="starts of each")
    parser.add_argument("--routes", nargs="+", default=list(ASKS), help="such as 'POST /v1/events'")
    parser.add_argument("--build", type=Path, help="folder of a `sam build` for this machine; without, it is built")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of benchmarks.md")
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
        print(f"Not reached: {sentence}")
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
            starts.append(Start(CLOSELY, function_of[route], partial(_event, route, keys, bogus=1)))
    return starts


def _pydantic(folder: Path) -> Path:
    """A layer with pydantic and its dependencies, with bytecode, as built layers have it."""
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection"):
        package = importlib.util.find_spec(name)
        if package is None or package.origin is None:
            raise RuntimeError(f"{name} is not installed; run this by make bench-cold.")
        shutil.copytree(Path(package.origin).parent, folder / "python" / name)
    compileall.compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return folder


def _event(route: str, keys: Mapping[str, str], **fields: Any) -> dict[str, Any]:
    """The event of a request to a route, with these fields in the event that it carries, if it carries one."""
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
        f"{name} takes {each:.2f} × the floor's CPU; wanted {MOST} ×." for name, each in ratio.items() if each > MOST
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
    picture = draw_bars(
        folder,
        "cold",
        "CPU of a cold start with its first request, of the floor's",
        [start.name.replace("/v1/", "").replace(" ", "\n", 1) for start in routes if start.name in _DRAWN],
        {"of the floor": [ratio[start.name] for start in routes if start.name in _DRAWN]},
        "of the floor",
    )
    parts = [
        f"{machine}. Built by `sam build`, bytecode included, each started {len(floor.cpu_seconds)} times under the "
        f"runtime interface emulator, in turns. CPU and time are those of import and first request, from the start of "
        f"the runtime's process to the answer, connection to PostgreSQL and its log line included; the floor {FLOOR}, "
        "and answers a constant. 'Above an empty function' leaves out what Python and the runtime take themselves.",
        table(
            ["first request", "CPU to the floor's", "above an empty function", "time to the floor's", "modules"], rows
        ),
        picture,
        f"Unpacked, the layer of all functions has {sizes['SharedLayer'] / 1e6:.1f} MB, and no function more "
        f"than {max(size for part, size in sizes.items() if part != 'SharedLayer') / 1e3:.1f} kB.",
    ]
    return "\n\n".join(parts + [f"Not reached: {sentence}" for sentence in missed]), missed


if __name__ == "__main__":
    sys.exit(main())
