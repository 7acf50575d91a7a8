"""Runs the SAM CLI on this project."""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.paths import PROJECT

TIMEOUT_SECONDS = 300
HOST_ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
VENV_PROGRAMS = Path(sys.executable).parent


def run_sam(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run `sam` in a folder, without telemetry. The result holds its output."""
    return subprocess.run(
        [sys.executable, "-m", "samcli", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(VENV_PROGRAMS), os.environ["PATH"]]),
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def result_in(printed: str) -> Any:
    """The result of a function in the output of an invocation: the last JSON object, after the log lines."""
    result, start = None, printed.find("{")
    while start >= 0:
        result, end = json.JSONDecoder().raw_decode(printed, start)
        start = printed.find("{", end)
    return result


def uv_program() -> str:
    """The uv that the Makefile installed, or the one on PATH."""
    program = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(VENV_PROGRAMS))
    if program is None:
        raise RuntimeError(
            "The build of the layer needs uv, which is not on PATH. Use the make targets, which install uv."
        )
    return program


def build_for_this_machine(folder: Path) -> Path:
    """Build every function and layer for this machine and this Python, once. Return the folder of the build."""
    folder.mkdir(parents=True, exist_ok=True)
    build, done = folder / "build", folder / "done"
    with (folder / "lock").open("w") as lock:
        # All processes of a test run share one build.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            result = run_sam(
                "build",
                "--no-cached",
                "--build-dir",
                str(build),
                "--parameter-overrides",
                f"Architecture={HOST_ARCHITECTURE}",
                environment={
                    "ARCH": HOST_ARCHITECTURE,
                    "PYTHON_VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
                    "UV": uv_program(),
                },
            )
            if result.returncode:
                raise RuntimeError(f"sam build failed:\n{result.stdout}")
            done.touch()
    return build
