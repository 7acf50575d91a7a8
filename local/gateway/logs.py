"""Where the functions' log lines go: a file for each function, the console, or both."""

import sys
from pathlib import Path
from typing import TextIO


class FunctionLogs:
    """Takes the lines of every function."""

    def __init__(self, *, directory: Path | None = None, console: TextIO | None = None) -> None:
        self._directory = directory
        self._console = console
        if directory:
            directory.mkdir(parents=True, exist_ok=True)

    def write(self, function: str, line: str) -> None:
        """Append one line of a function."""
        if self._directory:
            with (self._directory / f"{function}.log").open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        if self._console:
            print(f"{function} | {line}", file=self._console, flush=True)


def console_logs() -> FunctionLogs:
    """Lines on the standard error, each after its function's name."""
    return FunctionLogs(console=sys.stderr)
