"""`make bench-http`: requests a second and latency of the local stack, against an empty function behind it."""

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
class Sent:
    """What one block of one contender came to."""

    requests_a_second: list[float] = field(default_factory=list)
    """Of each block."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of all requests."""

    @property
    def rate(self) -> float:
        """Requests a second, the median of the blocks."""
        return statistics.median(self.requests_a_second)

    def percentile(self, percent: int) -> float:
        """Of latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each contender")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a block")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS), help="at once")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of benchmarks.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="muster-http-") as name, own_target() as target:
        with target.connect() as server:
            machine = describe(server)
        found: dict[int, dict[str, Sent]] = {}
        with _contenders(target, Path(name)) as contenders:
            for clients in options.clients:
                found[clients] = {contender: Sent() for contender in contenders}
                for number in range(options.rounds + 1):
                    for contender, (url, size) in contenders.items():
                        block = asyncio.run(_post(url, target.write_key, size, clients, options.seconds))
                        if number:
                            found[clients][contender].requests_a_second += block.requests_a_second
                            found[clients][contender].latencies += block.latencies
                print(f"  {clients} clients", flush=True)
    body = _report(options.output, machine, found)
    write_section(options.output, "bench-http", "The local stack (`make bench-http`)", body)
    print(body)
    return 0


@contextmanager
def _contenders(target: Target, folder: Path) -> Iterator[dict[str, tuple[str, int]]]:
    (folder / "empty").mkdir()
    (folder / "empty" / "app.py").write_text(_APP, "utf-8")
    (folder / "template.yaml").write_text(_TEMPLATE, "utf-8")
    with (
        served(target.url, ENVIRONMENTS, folder / "logs") as ours,
        served(target.url, ENVIRONMENTS, folder / "empty-logs", template=folder / "template.yaml") as empty,
    ):
        yield {EMPTY: (empty, 0), **{_name(size): (ours, size) for size in SIZES}}


def _name(size: int) -> str:
    return f"{size} event{'s' if size > 1 else ''} a request"


def _batch(size: int) -> bytes:
    """A batch of new events, as cheap as can be: who makes it shares the machine."""
    now, data = datetime.now(UTC).isoformat(), {"page": "/course/12/lesson/345", "label": "chapter", "ms": 1.25}
    events = [
        {"id": str(uuid.uuid4()), "eventType": "click", "area": "course", "timestamp": now, "data": data}
        for _ in range(size)
    ]
    return orjson.dumps({"sessionId": str(uuid.uuid4()), "userId": "user-1", "events": events})


async def _post(url: str, key: str, size: int, clients: int, seconds: float) -> Sent:
    """Post from so many clients, each waiting for its answer."""
    sent = Sent()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    started = time.perf_counter()

    async def client(http: aiohttp.ClientSession) -> None:
        while time.perf_counter() - started < seconds:
            body = _batch(size)
            begun = time.perf_counter()
            async with http.post(f"{url}/v1/events", data=body) as answer:
                text = await answer.read()
            if not answer.ok:
                raise RuntimeError(f"POST /v1/events answered {answer.status}: {text[:300]!r}")
            sent.latencies.append(time.perf_counter() - begun)

    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(http))
    sent.requests_a_second.append(len(sent.latencies) / (time.perf_counter() - started))
    return sent


def _report(folder: Path, machine: str, found: dict[int, dict[str, Sent]]) -> str:
    rows = []
    for clients, contenders in found.items():
        empty = contenders[EMPTY]
        for name, sent in contenders.items():
            rows.append(
                [
                    str(clients),
                    name,
                    f"{sent.rate / empty.rate:.2f}",
                    f"{sent.rate / found[min(found)][name].rate:.2f} ×",
                    f"{sent.percentile(50) / empty.percentile(50):.2f} ×",
                    f"{sent.percentile(99) / sent.percentile(50):.1f} ×",
                ]
            )
    names = list(next(iter(found.values())))
    picture = draw_bars(
        folder,
        "http",
        "Requests a second through the local stack, of an empty function's",
        [f"{clients} at once" for clients in found],
        {name: [each[name].rate / each[EMPTY].rate for each in found.values()] for name in names},
        "of an empty function",
    )
    head = [
        "clients",
        "each request",
        "requests/s of empty's",
        "to fewest clients",
        "median to empty's",
        "p99 to median",
    ]
    return "\n\n".join(
        [
            f"{machine}. `make run`'s server with {ENVIRONMENTS} environments of each function, committing to disk. "
            "Each client sends its next request when the last is answered, and shares the machine with the server. "
            "An empty function answers a constant: it is what HTTP and the invocation cost here; on AWS the gateway "
            "and Lambda have costs of their own.",
            table(head, rows),
            picture,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
