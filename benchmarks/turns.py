"""Takes turns: each contender works for a block, then the next, so that what else the machine does hits all alike."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Tally:
    """What a contender's blocks took."""

    seconds: list[float] = field(default_factory=list)
    """Of a request, the median of each block."""
    wal_bytes: int = 0
    cpu_seconds: float = 0.0
    """Of this process and of the server's process that works for it."""
    events: int = 0

    def of(self, other: "Tally") -> float:
        """A request's time, of the other's in the same turn; the median of the turns: what slows a while slows both."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True))


@dataclass
class Turn:
    """A contender in the ring."""

    send: Callable[[Any], None]
    requests: Sequence[Any]
    server_pid: int
    events_of_a_request: int
    tally: Tally = field(default_factory=Tally)
    _next: int = 0

    def take(self, requests: int, server: psycopg.Connection[Any]) -> None:
        """Work for a block."""
        chosen = [self.requests[(self._next + place) % len(self.requests)] for place in range(requests)]
        self._next += requests
        wal, cpu = _wal(server), self._cpu()
        times = []
        for request in chosen:
            started = time.perf_counter()
            self.send(request)
            times.append(time.perf_counter() - started)
        self.tally.cpu_seconds += self._cpu() - cpu
        self.tally.wal_bytes += _wal(server) - wal
        self.tally.events += requests * self.events_of_a_request
        self.tally.seconds.append(statistics.median(times))

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.server_pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return time.process_time() + (int(fields[11]) + int(fields[12])) * _TICK


def take_turns(turns: Sequence[Turn], server: psycopg.Connection[Any], *, rounds: int, requests: Sequence[int]) -> None:
    """Let each contender work `rounds` times for its number of requests, the first time unmeasured."""
    for number in range(rounds + 1):
        for turn, count in zip(turns, requests, strict=True):
            turn.take(count, server)
        if number == 0:
            for turn in turns:
                turn.tally = Tally()


def _wal(server: psycopg.Connection[Any]) -> int:
    row = server.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0
