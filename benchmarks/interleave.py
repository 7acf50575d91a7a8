"""Measures candidates interleaved: each works for one block, then the next, so other load on the machine slows all."""

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
    """The measurements of one candidate."""

    seconds: list[float] = field(default_factory=list)
    """The median time of a request, for each block."""
    wal_bytes: int = 0
    cpu_seconds: float = 0.0
    """CPU time of this process and of the server process that works for it."""
    server_cpu_seconds: float = 0.0
    events: int = 0

    def ratio_to(self, other: "Tally") -> float:
        """The median of the ratios of both times, block by block. Slow periods affect both and cancel out."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True))


@dataclass
class Run:
    """A candidate with its requests and its measurements."""

    send: Callable[[Any], None]
    requests: Sequence[Any]
    server_pid: int
    events_per_request: int
    tally: Tally = field(default_factory=Tally)
    _next: int = 0

    def measure_block(self, requests: int, server: psycopg.Connection[Any]) -> None:
        """Send one block of requests and add its measurements to the tally."""
        chosen = [self.requests[(self._next + place) % len(self.requests)] for place in range(requests)]
        self._next += requests
        wal, cpu, server_cpu = _wal(server), time.process_time(), self._server_cpu()
        times = []
        for request in chosen:
            started = time.perf_counter()
            self.send(request)
            times.append(time.perf_counter() - started)
        server_cpu = self._server_cpu() - server_cpu
        self.tally.cpu_seconds += time.process_time() - cpu + server_cpu
        self.tally.server_cpu_seconds += server_cpu
        self.tally.wal_bytes += _wal(server) - wal
        self.tally.events += requests * self.events_per_request
        self.tally.seconds.append(statistics.median(times))

    def _server_cpu(self) -> float:
        fields = Path(f"/proc/{self.server_pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK


def interleave(runs: Sequence[Run], server: psycopg.Connection[Any], *, rounds: int, requests: Sequence[int]) -> None:
    """Measure `rounds` blocks of each candidate, after one that is not measured. `requests` are the sizes of blocks."""
    for number in range(rounds + 1):
        for run, count in zip(runs, requests, strict=True):
            run.measure_block(count, server)
        if number == 0:
            for run in runs:
                run.tally = Tally()


def _wal(server: psycopg.Connection[Any]) -> int:
    row = server.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0
