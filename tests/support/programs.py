"""Runs our own programs as a user would, in separate processes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_program(module: str, *options: str, home: Path, timeout: float = 240) -> str:
    """The output of `python -m module`, which must succeed."""
    finished = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env={"PYTHONPATH": "layers/shared", "PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
