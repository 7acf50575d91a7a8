"""`make migrate`: migrates and verifies a database with the code of the migrate function."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from local.cli.database import add_database_option, run_on_database
from local.paths import MIGRATIONS
from muster.projects.actions import run_action


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if it failed or the schema differs from the migrations."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.migrate", description=__doc__)
    add_database_option(parser)
    parser.add_argument("--migrations", type=Path, default=MIGRATIONS, help="the folder with the .sql files")
    parser.add_argument("--action", default="migrate", choices=["migrate", "verify", "status", "maintain"])
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)

    def work(url: str) -> int:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            result = run_action(connection, options.migrations, {"action": options.action})
        print(json.dumps(result, indent=2) if options.json else _sentences(result))
        return 0 if result["status"] == "ok" else 1

    return run_on_database(options.database_url, "make migrate", work)


def _sentences(result: dict[str, Any]) -> str:
    lines = [
        f"{len(result[name])} {what}{': ' if result[name] else ''}{', '.join(result[name])}."
        for name, what in (
            ("applied", "migrations applied now"),
            ("alreadyApplied", "migrations applied before"),
            ("pending", "migrations not applied yet"),
        )
        if name in result
    ]
    lines += result.get("faults", [])
    if "partitionsCreated" in result:
        lines.append(f"{result['partitionsCreated']} partitions created.")
    if "verified" in result:
        lines.append(
            "The schema matches the migrations." if result["verified"] else "The schema differs from the migrations:"
        )
        lines += [f"- {difference['summary']}\n    {difference['remedy']}" for difference in result["differences"]]
        lines += ["Rows by table:"]
        lines += [f"{table['rows']:>12,}  {name}" for name, table in result["tables"].items() if table["exists"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
