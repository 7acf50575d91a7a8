"""`make load`: posts at rising rates until latency rises steeply, on this machine or against a deployment.

Requests are sent on schedule, even if earlier ones have no response yet, as with many independent clients. The run
fails if a response is neither 2xx, 429 nor 503, or if an acknowledged event is not stored.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import aiohttp
import orjson
import psycopg

from benchmarks.machine import describe
from benchmarks.served import served
from benchmarks.target import own_target

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".muster" / "load"
GROWTH = 1.5
OVERLOAD_FACTOR = 5.0
"""A step is overloaded if its p99 exceeds that of the lowest rate by this factor."""
STEPS_BEYOND = 2
MAX_STEPS = 20
SHED = ("429", "503")
TIMEOUT_SECONDS = 60.0
WARM_RATE, WARM_SECONDS = 50.0, 2.0


@dataclass
class Step:
    """The measurements at one rate."""

    rate: float
    """Scheduled requests per second."""
    events_per_request: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds from the scheduled time of a request to its 2xx response."""
    statuses: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)

    @property
    def events_per_second(self) -> float:
        """Acknowledged events per second."""
        return len(self.acknowledged) / self.seconds if self.seconds else 0.0

    @property
    def shed(self) -> float:
        """The share of requests that the server refused with 429 or 503."""
        total = self.statuses.total()
        return sum(self.statuses[status] for status in SHED) / total if total else 0.0

    def percentile(self, percent: int) -> float:
        """A percentile of the latencies, in milliseconds."""
        if len(self.latencies) < 2:
            return (self.latencies[0] if self.latencies else float("nan")) * 1000
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1] * 1000


async def measure(url: str, key: str, rate: float, *, seconds: float, events: int) -> Step:
    """Post at one rate for some seconds."""
    step = Step(rate, events)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as http:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = started + number / rate
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                group.create_task(_post(http, url, step, due))
        step.seconds = time.perf_counter() - started
    return step


async def _post(http: aiohttp.ClientSession, url: str, step: Step, due: float) -> None:
    ids = [str(uuid.uuid4()) for _ in range(step.events_per_request)]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    data = {"path": "/products/4711", "plan": "pilot", "position": 3}
    events = [{"id": each, "eventType": "load", "area": "shop", "timestamp": now, "data": data} for each in ids]
    body = orjson.dumps({"sessionId": str(uuid.uuid4()), "userId": "load", "events": events})
    try:
        async with http.post(f"{url}/v1/events", data=body) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        step.statuses[type(error).__name__] += 1
        return
    step.statuses[str(response.status)] += 1
    if response.ok:
        step.latencies.append(time.perf_counter() - due)
        step.acknowledged += ids


def climb(url: str, key: str, *, first: float, seconds: float, events: int) -> Iterator[Step]:
    """Measure rising rates until more than two are overloaded and some requests were shed."""
    rate, baseline, overloaded, shed = first, 0.0, 0, False
    # Cold starts must not count in the baseline.
    asyncio.run(measure(url, key, max(first, WARM_RATE), seconds=WARM_SECONDS, events=events))
    for _ in range(MAX_STEPS):
        step = asyncio.run(measure(url, key, rate, seconds=seconds, events=events))
        baseline = baseline or step.percentile(99)
        yield step
        overloaded += step.percentile(99) > baseline * OVERLOAD_FACTOR or step.shed > 0
        shed = shed or step.shed > 0
        # One slow response can also raise the p99. Only refused requests prove an overload.
        if overloaded > STEPS_BEYOND and shed:
            return
        rate *= GROWTH


@contextmanager
def own_server(environments: int) -> Iterator[tuple[str, str, str]]:
    """Start a Muster that commits to disk. Yield its URL, a write key and the URL of its database."""
    with (
        own_target(settings={}) as target,
        tempfile.TemporaryDirectory(prefix="muster-load-") as logs,
        served(target.url, environments, Path(logs)) as url,
    ):
        yield url, target.write_key, target.url


def lost(database_url: str, steps: Sequence[Step]) -> int:
    """The number of acknowledged events that are not stored."""
    ids = [each for step in steps for each in step.acknowledged]
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM unnest(%s::uuid[]) AS a (id) LEFT JOIN muster.analytics_events e USING (id) "
            "WHERE e.id IS NULL",
            [ids],
        ).fetchone()
    return int(row[0]) if row else len(ids)


def table(steps: Sequence[Step]) -> str:
    """The steps as Markdown. Latencies are ratios to the median of the first step."""
    baseline = steps[0].percentile(50)
    lines = ["| scheduled requests/s | events/s | p50 | p99 | shed | responses |", "|---:|---:|---:|---:|---:|---|"]
    for step in steps:
        responses = ", ".join(f"{status}: {times}" for status, times in sorted(step.statuses.items()))
        lines.append(
            f"| {step.rate:.0f} | {step.events_per_second:.0f} | {step.percentile(50) / baseline:.1f} | "
            f"{step.percentile(99) / baseline:.1f} | {step.shed:.0%} | {responses} |"
        )
    return "\n".join(lines) + "\n"


def draw(steps: Sequence[Step], path: Path, machine: str) -> None:
    """Draw latency and throughput by rate."""
    import matplotlib as mpl  # noqa: PLC0415 - its import takes half a second

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    baseline = steps[0].percentile(50)
    figure, (latency, throughput) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    due = [step.rate * step.events_per_request for step in steps]
    for percent in (50, 99):
        latency.plot(due, [step.percentile(percent) / baseline for step in steps], marker="o", label=f"p{percent}")
    latency.set(ylabel="latency, p50 of the first step = 1", yscale="log", title=machine)
    latency.legend()
    throughput.plot(due, [step.events_per_second for step in steps], marker="o", label="acknowledged")
    throughput.plot(due, due, linestyle=":", color="grey", label="scheduled")
    throughput.set(xlabel="scheduled events per second", ylabel="events per second", xscale="log", ylim=(0, None))
    shed = throughput.twinx()
    shed.bar(due, [step.shed * 100 for step in steps], width=[each * 0.1 for each in due], alpha=0.3, color="tab:red")
    shed.set(ylabel="requests shed (429, 503), %", ylim=(0, 100))
    throughput.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if an event was lost, or a response was neither 2xx, 429 nor 503."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description="Post at rising rates until latency rises steeply."
    )
    parser.add_argument("--url", help="URL of a deployment; lost events cannot be counted there")
    parser.add_argument("--key", help="a write key of the deployment")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second of the first step")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each step")
    parser.add_argument("--events", type=int, default=20, help="events per request")
    parser.add_argument(
        "--environments", type=int, default=4, help="maximum of environments per function on this machine"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="a folder for the table and the chart")
    options = parser.parse_args(arguments)
    if bool(options.url) != bool(options.key):
        parser.error("--url and --key need each other")
    climbing = {"first": options.rate, "seconds": options.seconds, "events": options.events}
    if options.url:
        steps = _climb_and_print(options.url.rstrip("/"), options.key, climbing)
        machine, missing = options.url, 0
    else:
        with own_server(options.environments) as (url, key, database_url):
            steps = _climb_and_print(url, key, climbing)
            missing = lost(database_url, steps)
            with psycopg.connect(database_url) as connection:
                machine = f"{describe(connection)}; {options.environments} environments"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "load.md").write_text(f"{machine}\n\n{table(steps)}", "utf-8")
    draw(steps, options.output / "load.png", machine)
    print(f"\n{machine}\n\n{table(steps)}\nThe chart is {options.output / 'load.png'}.")
    return _check(steps, missing)


def _climb_and_print(url: str, key: str, climbing: dict[str, float | int]) -> list[Step]:
    steps = []
    for step in climb(url, key, **climbing):  # type: ignore[arg-type]  # the parser has checked the types
        steps.append(step)
        print(f"{step.rate:.0f} requests/s, responses {dict(step.statuses)}", file=sys.stderr, flush=True)
    return steps


def _check(steps: Sequence[Step], missing: int) -> int:
    other = {status for step in steps for status in step.statuses if not status.startswith("2") and status not in SHED}
    if missing or other:
        print(
            f"LOST {missing} acknowledged events. Unexpected responses: {', '.join(sorted(other)) or 'none'}.",
            file=sys.stderr,
        )
        return 1
    shed = sum(step.statuses[status] for step in steps for status in SHED)
    bend = next(
        (step for before, step in pairwise(steps) if step.percentile(99) > before.percentile(99) * 2), steps[-1]
    )
    print(
        f"Latency rises steeply at about {bend.rate * bend.events_per_request:.0f} events/s. {shed} requests were shed "
        "with 429 or 503. No acknowledged event was lost."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
