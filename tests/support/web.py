"""The browser client, built and checked with Node."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

MIN_NODE = 20
WEB = Path(__file__).resolve().parents[2] / "web"


def miss(what: str) -> None:
    """Skip the test on a user's machine and fail it in CI, where everything it needs is installed."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def node(*command: str) -> str:
    """The output of a command in the folder of the web packages, which must succeed."""
    if not _has_node():
        miss(
            "this machine has no npm, or a Node before 20 (install Node 20 or later):"
            " the browser client can be neither built nor tested"
        )
    with (Path(tempfile.gettempdir()) / "muster-web.lock").open("w") as lock:
        # Two test processes may start this at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("make", "--no-print-directory", "web/node_modules/.ready", folder=WEB.parent)
        return run(*command, folder=WEB)


def _has_node() -> bool:
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0]) >= MIN_NODE


def run(*command: str, folder: Path) -> str:
    """The output of a command, which must succeed."""
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    return finished.stdout
