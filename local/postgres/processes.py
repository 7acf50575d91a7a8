"""Starts and ends the processes of a server, and finds those that an earlier run left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.postgres.binaries import PostgresError, User

LAUNCHER = Path(__file__).with_name("launcher.py")
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine."""

    pid: int
    parent: int
    command: str


def launch(command: Sequence[str], user: User, *, output: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a program as a user. It gets a signal to end when this process dies."""
    # The kernel sends its signal when the thread that started the program ends. Only the main thread lives long enough.
    by_kernel = sys.platform == "linux" and threading.get_native_id() == os.getpid()
    how = ["kernel" if by_kernel else "watcher", str(os.getpid()), str(user.uid), str(user.gid)]
    return subprocess.Popen(
        [sys.executable, "-I", str(LAUNCHER), *how, *command],
        stdin=subprocess.DEVNULL if by_kernel else subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
    )


def wait(process: "subprocess.Popen[bytes]", seconds: float) -> int:
    """Wait for the end of a program that `launch` started, and return its exit code.

    Raises:
        subprocess.TimeoutExpired: the program still runs.
    """
    code = process.wait(seconds)
    if process.stdin is not None:  # the watcher waits for this
        process.stdin.close()
    return code


def kill_with_children(pid: int) -> None:
    """Kill a process and its children."""
    children = [process.pid for process in _all_processes() if process.parent == pid]
    for each in (pid, *children):
        _kill(each)


def wait_for_an_orphan(cluster: Path) -> None:
    """Wait until a server with a killed parent has stopped. The kernel has sent it a signal.

    Raises:
        PostgresError: the server still runs.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while (pid := _orphan(cluster)) is not None:
        if time.monotonic() > deadline:
            raise PostgresError(f"Process {pid} still serves {cluster}. Stop it first: kill -INT {pid}")
        time.sleep(0.05)


def end_stragglers(cluster_name: str) -> None:
    """Kill the processes that a killed server left. They hold its shared memory, so no new server can start."""
    deadline = time.monotonic() + STOP_SECONDS
    while left := [each.pid for each in _all_processes() if each.command.startswith(f"postgres: {cluster_name}: ")]:
        if time.monotonic() > deadline:
            raise PostgresError(f"These processes of a killed server do not end: {left}")
        for pid in left:
            _kill(pid)
        time.sleep(0.02)


def _orphan(cluster: Path) -> int | None:
    file = cluster / "postmaster.pid"
    try:
        pid = int(file.read_text("utf-8").splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    command = next((each.command for each in _all_processes() if each.pid == pid), "")
    if command and "postgres" not in command:
        # After a reboot another program has this id. PostgreSQL would take that program for its server.
        file.unlink()
    return pid if str(cluster) in command else None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended
        return


def _all_processes() -> Iterator[Process]:
    if not Path("/proc/self/stat").exists():
        listed = subprocess.check_output(["ps", "-axww", "-o", "pid=,ppid=,command="], text=True, errors="replace")
        for line in listed.splitlines():
            pid, parent, *rest = line.split(maxsplit=2)
            yield Process(int(pid), int(parent), "".join(rest))
        return
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        yield Process(int(folder.name), int(status[1]), command.replace(b"\0", b" ").decode("utf-8", errors="replace"))
