"""Runs the local API in its own process, so it does not share one with its clients."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.paths import TEMPLATE

WAIT_SECONDS = 1.0
STOP_SECONDS = 60.0


@contextmanager
def served(database_url: str, environments: int, logs: Path, *, template: Path = TEMPLATE) -> Iterator[str]:
    """Serve a template with up to `environments` environments per function. Yield the URL of the API."""
    options = {
        "--template": str(template), "--port": "0", "--environments": str(environments),
        "--wait-seconds": str(WAIT_SECONDS), "--log-dir": str(logs),
    }  # fmt: skip
    command = [sys.executable, "-m", "local.gateway.server", *(word for option in options.items() for word in option)]
    for parameter in ("DatabaseMode=external", "RequestsPerSecond=100000", "RequestBurst=100000"):
        command += ["--parameter", parameter]
    process = subprocess.Popen([*command, "--env", f"DATABASE_URL={database_url}"], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if " on " not in line:
            raise RuntimeError("The local server did not start.")
        yield line.rpartition(" on ")[2].strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)
        if process.stdout:
            process.stdout.close()
