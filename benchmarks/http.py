"""`make bench-http`: compares the local stack's throughput and latency with those of an empty function."""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson

from benchmarks.machine import describe
from benchmarks.report import DOCS, draw_bars, table, write_section
from benchmarks.served import served
from benchmarks.target import Target, own_target

CLIENTS = (1, 4, 16)
SIZES = (1, 10, 50)
ENVIRONMENTS = 4
SECONDS = 2.0
EMPTY = "an empty function"
_APP = 'def lambda_handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'
_TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  DatabaseMode: {Type: String, Default: external}
  RequestsPerSecond: {Type: Number, Default: 1}
  RequestBurst: {Type: Number, Default: 1}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      DefinitionBody:
        openapi: 3.0.1
        paths:
          /v1/events:
            post:
              x-amazon-apigateway-integration:
                uri: !Sub path/2015-03-31/functions/${EmptyFunction.Arn}/invocations
  EmptyFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: empty
      Handler: app.lambda_handler
      Runtime: python3.13
"""


@dataclass
class Tally:
    """The measurements of one candidate."""

    rates: list[float] = field(default_factory=list)
    """Requests per second of each block."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request."""

    @property
    def rate(self) -> float:
        """Requests per second, the median over the blocks."""
        return statistics.median(self.rates)

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each candidate")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a block")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS), help="numbers of clients at once")
    parser.add_argument("--output", type=Path, default=DOCS, help="the folder of benchmarks.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="muster-http-") as name, own_target() as target:
        with target.connect() as server:
            machine = describe(server)
        tallies: dict[int, dict[str, Tally]] = {}
        with _candidates(target, Path(name)) as candidates:
            for clients in options.clients:
                tallies[clients] = {candidate: Tally() for candidate in candidates}
                for number in range(options.rounds + 1):
                    for candidate, (url, size) in candidates.items():
                        block = asyncio.run(_post(url, target.write_key, size, clients, options.seconds))
                        if number:
                            tallies[clients][candidate].rates += block.rates
                            tallies[clients][candidate].latencies += block.latencies
                print(f"  Clients: {clients}. Measured.", flush=True)
    body = _report(options.output, machine, tallies)
    write_section(options.output, "bench-http", "The local stack (`make bench-http`)", body)
    print(body)
    return 0


@contextmanager
def _candidates(target: Target, folder: Path) -> Iterator[dict[str, tuple[str, int]]]:
    (folder / "empty").mkdir()
    (folder / "empty" / "app.py").write_text(_APP, "utf-8")
    (folder / "template.yaml").write_text(_TEMPLATE, "utf-8")
    with (
        served(target.url, ENVIRONMENTS, folder / "logs") as ours,
        served(target.url, ENVIRONMENTS, folder / "empty-logs", template=folder / "template.yaml") as empty,
    ):
        yield {EMPTY: (empty, 0), **{_name(size): (ours, size) for size in SIZES}}


def _name(size: int) -> str:
    return f"{size} event{'s' if size > 1 else ''} per request"


def _batch(size: int) -> bytes:
    """A batch of new events. It is cheap to make, because the client shares the machine with the server."""
    now, data = datetime.now(UTC).isoformat(), {"page": "/course/12/lesson/345", "label": "chapter", "ms": 1.25}
    events = [
        {"id": str(uuid.uuid4()), "eventType": "click", "area": "course", "timestamp": now, "data": data}
        for _ in range(size)
    ]
    return orjson.dumps({"sessionId": str(uuid.uuid4()), "userId": "user-1", "events": events})


async def _post(url: str, key: str, size: int, clients: int, seconds: float) -> Tally:
    """Post from several clients. Each waits for its response before the next request."""
    tally = Tally()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    started = time.perf_counter()

    async def client(http: aiohttp.ClientSession) -> None:
        while time.perf_counter() - started < seconds:
            body = _batch(size)
            begun = time.perf_counter()
            async with http.post(f"{url}/v1/events", data=body) as response:
                text = await response.read()
            if not response.ok:
                raise RuntimeError(f"POST /v1/events returned {response.status}: {text[:300]!r}")
            tally.latencies.append(time.perf_counter() - begun)

    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(http))
    tally.rates.append(len(tally.latencies) / (time.perf_counter() - started))
    return tally


def _report(folder: Path, machine: str, tallies: dict[int, dict[str, Tally]]) -> str:
    rows = []
    for clients, candidates in tallies.items():
        empty = candidates[EMPTY]
        for name, tally in candidates.items():
            rows.append(
                [
                    str(clients),
                    name,
                    f"{tally.rate / empty.rate:.2f}",
                    f"{tally.rate / tallies[min(tallies)][name].rate:.2f} ×",
                    f"{tally.percentile(50) / empty.percentile(50):.2f} ×",
                    f"{tally.percentile(99) / tally.percentile(50):.1f} ×",
                ]
            )
    names = list(next(iter(tallies.values())))
    chart = draw_bars(
        folder,
        "http",
        "Requests per second through the local stack, as a share of an empty function's",
        [f"{clients} clients" for clients in tallies],
        {name: [each[name].rate / each[EMPTY].rate for each in tallies.values()] for name in names},
        "share of an empty function",
    )
    head = ["clients", "request", "requests/s / empty's", "/ fewest clients", "median / empty's", "p99 / median"]
    return "\n\n".join(
        [
            f"{machine}. The server of `make run` with {ENVIRONMENTS} environments per function, committing to disk. "
            "Each client waits for a response before its next request, and shares the machine with the server. The "
            "empty function returns a constant, so it shows the cost of HTTP and the invocation on this machine. On "
            "AWS, API Gateway and Lambda have their own costs.",
            table(head, rows),
            chart,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
