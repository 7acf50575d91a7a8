"""Writes the log lines of the functions: to a file per function, to one file, or to the console."""

import sys
from pathlib import Path
from typing import TextIO


class FunctionLogs:
    """Receives the log lines of every function."""

    def __init__(
        self, *, directory: Path | None = None, file: Path | None = None, console: TextIO | None = None
    ) -> None:
        self._directory = directory
        self._file = file
        self._console = console
        if directory:
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, function: str, line: str) -> None:
        """Write one line of a function."""
        if self._directory:
            _append(self._directory / f"{function}.log", line)
        if self._file:
            _append(self._file, line)
        if self._console:
            print(f"{function} | {line}", file=self._console, flush=True)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def console_logs() -> FunctionLogs:
    """Logs on standard error. Each line begins with the name of its function."""
    return FunctionLogs(console=sys.stderr)
