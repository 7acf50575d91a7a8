"""The log lines of all functions, in memory."""

import json
from typing import Any

from local.gateway.logs import FunctionLogs

LogLine = dict[str, Any]
PATHS = ("fast", "full")


class FunctionLog(FunctionLogs):
    """Collects the JSON lines. Any thread may read them while functions write."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[LogLine] = []

    def write(self, function: str, line: str) -> None:
        """Keep a line. Lines of the runtime are not JSON and are ignored."""
        super().write(function, line)
        if line.startswith("{"):
            self._lines.append(json.loads(line))

    @property
    def length(self) -> int:
        """The number of lines."""
        return len(self._lines)

    def lines(self, start: int = 0) -> list[LogLine]:
        """The lines from an index on."""
        return self._lines[start:]

    def database_failures(self, start: int = 0) -> list[LogLine]:
        """The lines about failed statements and connections, whether or not a second attempt succeeded."""
        return [line for line in self.lines(start) if line.get("message", "").startswith("database_")]

    def database_errors(self, start: int = 0) -> list[LogLine]:
        """The lines about failures that the function could not retry, so that its request or message failed."""
        return [line for line in self.lines(start) if line.get("message") == "database_error"]

    def stored_batches(self, start: int = 0) -> list[LogLine]:
        """The lines about batches that ingest or the queue consumer stored."""
        return [line for line in self.lines(start) if line.get("path") in PATHS]
