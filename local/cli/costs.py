"""`make costs`: computes what a deployment costs per month under several loads."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from local.paths import PROJECT, TEMPLATE
from local.sam.template import parse_template

Database = Literal["rds", "external"]
IngestMode = Literal["direct", "buffered"]

PRICES_OF = "2026-11"
REGION = "us-east-1"
# On-demand prices in dollars from the pricing pages of AWS, without the free tier.
PRICES: dict[str, float] = {
    "HTTP API, million requests": 1.00,
    "Lambda, million requests": 0.20,
    "Lambda arm64, GB-second": 0.0000133334,
    "SnapStart, GB-second of a cached snapshot": 0.0000015046,
    "SQS, million requests of 64 KB": 0.40,
    "CloudWatch Logs, GB ingested": 0.50,
    "CloudWatch Logs, GB-month": 0.03,
    "CloudWatch, custom metric": 0.30,
    "CloudWatch, alarm": 0.10,
    "CloudWatch, dashboard": 3.00,
    "X-Ray, million traces": 5.00,
    "Secrets Manager, secret": 0.40,
    "VPC endpoint of interface type, hour in one zone": 0.01,
    "RDS db.t4g.micro, hour": 0.016,
    "RDS db.t4g.medium, hour": 0.065,
    "RDS gp3, GB-month": 0.115,
    "RDS Proxy, vCPU-hour": 0.015,
    "S3, GB-month": 0.023,
    "S3, thousand writes": 0.005,
}
HOURS = 730
SECONDS = HOURS * 3600
MILLION = 1_000_000
GIB = 1024**3

EVENTS_A_REQUEST = 20
INGEST_SECONDS = 0.04
CONSUME_SECONDS = 0.03
MESSAGES_A_CALL = 10
# The line ingest_result with its metrics, the lines that Lambda writes, and the access log.
LOG_BYTES_A_REQUEST = 2_600
LOG_BYTES_A_MESSAGE = 1_800
# Bytes on disk with indexes, for an event with 300 bytes of JSON. A test measures this.
ROW_BYTES = 480
ARCHIVED_BYTES = 60
# Lambda polls the queue over five connections. Each poll lasts 20 seconds.
POLLS = 5 * SECONDS / 20
MAINTAIN_SECONDS = 3.0
ROLLUPS_AN_HOUR, ROLLUP_SECONDS = 12, 0.5


@dataclass(frozen=True, slots=True)
class Use:
    """The load of a month, and the database instance for it."""

    name: str
    events: int
    instance: str


USES = (
    Use("idle", 0, "RDS db.t4g.micro, hour"),
    Use("1 million events", MILLION, "RDS db.t4g.micro, hour"),
    Use("100 million events", 100 * MILLION, "RDS db.t4g.medium, hour"),
)


def monthly(database: Database, mode: IngestMode, use: Use) -> dict[str, float]:
    """Dollars per month, by item."""
    requests = use.events / EVENTS_A_REQUEST
    template = parse_template(TEMPLATE)
    resources: dict[str, Any] = template["Resources"]
    memory_gb = template["Globals"]["Function"]["MemorySize"] / 1024
    log_bytes = requests * (LOG_BYTES_A_REQUEST + (LOG_BYTES_A_MESSAGE if mode == "buffered" else 0))
    calls = requests + (requests / MESSAGES_A_CALL if mode == "buffered" else 0) + HOURS * (1 + ROLLUPS_AN_HOUR)
    seconds = requests * (INGEST_SECONDS + (CONSUME_SECONDS if mode == "buffered" else 0))
    seconds += HOURS * (MAINTAIN_SECONDS + ROLLUPS_AN_HOUR * ROLLUP_SECONDS)
    traces = min(calls, SECONDS) + max(0.0, calls - SECONDS) * 0.05
    queue = POLLS + (requests * (1 + 2 / MESSAGES_A_CALL) if mode == "buffered" else 0)
    costs = {
        "API": requests / MILLION * PRICES["HTTP API, million requests"],
        "functions": calls / MILLION * PRICES["Lambda, million requests"]
        + seconds * memory_gb * PRICES["Lambda arm64, GB-second"],
        "queue": queue / MILLION * PRICES["SQS, million requests of 64 KB"],
        "logs": log_bytes / GIB * (PRICES["CloudWatch Logs, GB ingested"] + PRICES["CloudWatch Logs, GB-month"]),
        "traces": traces / MILLION * PRICES["X-Ray, million traces"],
        "alarms": count_alarms(resources, database) * PRICES["CloudWatch, alarm"],
        "dashboard": PRICES["CloudWatch, dashboard"],
        "metrics": metric_count(mode) * PRICES["CloudWatch, custom metric"] if use.events else 0.0,
    }
    if database == "rds":
        stored = max(template["Parameters"]["AllocatedStorage"]["Default"], use.events * ROW_BYTES / GIB)
        costs["database"] = HOURS * PRICES[use.instance]
        costs["storage"] = stored * PRICES["RDS gp3, GB-month"]
        costs["secret"] = PRICES["Secrets Manager, secret"]
    return costs


def options() -> dict[str, float]:
    """Dollars per month of each option, for 100 million events if it depends on the load."""
    template = parse_template(TEMPLATE)
    functions = sum(name.endswith("Live") for name in template["Resources"])
    memory_gb = template["Globals"]["Function"]["MemorySize"] / 1024
    instance = HOURS * PRICES["RDS db.t4g.micro, hour"] + 20 * PRICES["RDS gp3, GB-month"]
    archived = 100 * MILLION * ARCHIVED_BYTES / GIB * PRICES["S3, GB-month"]
    return {
        "`MultiAz=true` with a db.t4g.micro": instance,
        "`RdsProxy=on` with 2 vCPUs": HOURS * 2 * PRICES["RDS Proxy, vCPU-hour"],
        "`DatabaseAuth=secret`, for its endpoint": HOURS
        * 2
        * PRICES["VPC endpoint of interface type, hour in one zone"],
        "`SnapStart=on`": SECONDS * functions * memory_gb * PRICES["SnapStart, GB-second of a cached snapshot"],
        "`Archive=on`, each 100 million events": archived + HOURS / 1000 * PRICES["S3, thousand writes"],
    }


def count_alarms(resources: dict[str, Any], database: Database) -> int:
    """The number of alarms in the template."""
    return sum(
        resource["Type"] == "AWS::CloudWatch::Alarm" and (database == "rds" or resource.get("Condition") != "IsRds")
        for resource in resources.values()
    )


def metric_count(mode: IngestMode) -> int:
    """The number of custom metrics. The golden log lines hold all of them."""
    names: set[str] = set()
    buffered = ("ingest_result_buffered", "consume_result")
    for stem in buffered if mode == "buffered" else ("ingest_result",):
        line = json.loads((PROJECT / "tests" / "golden" / f"{stem}.json").read_text("utf-8"))
        names |= {metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    return len(names)


def tables() -> str:
    """Both tables as Markdown."""
    modes: list[tuple[Database, IngestMode]] = [
        ("rds", "direct"), ("rds", "buffered"), ("external", "direct"), ("external", "buffered"),
    ]  # fmt: skip
    lines = [
        "| dollars a month | " + " | ".join(f"{database}, {mode}" for database, mode in modes) + " |",
        "|---|" + "---:|" * len(modes),
    ]
    for use in USES:
        sums = [sum(monthly(database, mode, use).values()) for database, mode in modes]
        lines.append(f"| {use.name} | " + " | ".join(f"{dollars:.0f}" for dollars in sums) + " |")
    lines += ["", "| option | dollars a month |", "|---|---:|"]
    lines += [
        f"| {name} | {dollars:.0f} |" if dollars >= 1 else f"| {name} | under 1 |"
        for name, dollars in options().items()
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.costs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the cost of every item as JSON")
    chosen = parser.parse_args(arguments)
    if chosen.json:
        items = {
            f"{database}, {mode}, {use.name}": monthly(database, mode, use)
            for database in ("rds", "external")
            for mode in ("direct", "buffered")
            for use in USES
        }
        print(json.dumps(items, indent=2))
    else:
        print(f"Region {REGION}, prices of {PRICES_OF}, {EVENTS_A_REQUEST} events per request, without the free tier.")
        print(f"\n{tables()}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
