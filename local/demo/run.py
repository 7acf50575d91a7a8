"""`make demo`: make run, with some weeks of a made-up pilot study in it, and more of it as one watches."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from local.demo.fill import Api, DemoFailed, fill, trickle
from local.paths import PROJECT, STATE

DEMO_STATE = STATE / "demo"
START_SECONDS = 180.0
STOP_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.run", description="Serve Muster with a study in it.")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--state", type=Path, default=DEMO_STATE, help="the folder of the data and of local.json")
    parser.add_argument("--fresh", action="store_true", help="make the study anew, up to today")
    options = parser.parse_args(arguments)
    # make run takes the same signal, from the terminal or from us, and ends in its own time.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running(options.port, options.state, fresh=options.fresh) as (process, state):
            fill(state["url"], state["keys"])
            _announce(state, options.state / "logs")
            with Api(state["url"], state["keys"]["write"]) as write:
                trickle(process, write)
    except KeyboardInterrupt:
        return 0
    except (DemoFailed, httpx.HTTPError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


@contextmanager
def running(port: int, state: Path, *, fresh: bool) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, Any]]]:
    """The process of make run, and what it says of itself in local.json."""
    state.mkdir(parents=True, exist_ok=True)
    written = state / "local.json"
    written.unlink(missing_ok=True)
    # What happens every second would soon hide where the dashboard is.
    logs = ["--logs", str(state / "logs")]
    command = [sys.executable, "-m", "local.cli.run", "--port", str(port), "--state", str(state), *logs]
    process = subprocess.Popen([*command, *(["--fresh"] if fresh else [])], cwd=PROJECT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not written.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed("make run did not start; what it printed says why.")
            time.sleep(0.1)
        yield process, json.loads(written.read_text("utf-8"))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _announce(state: dict[str, Any], logs: Path) -> None:
    print(
        f"\nThe dashboard: {state['url']}\n"
        f"  read key   {state['keys']['read']}\n"
        f"  admin key  {state['keys']['admin']}\n\n"
        f"More events come in while it runs; what the functions log is in {logs}. Ctrl-C stops it.\n",
        flush=True,
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
