"""`make migrate`: migrates and verifies a database with the code of the migrate function."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from local.paths import MIGRATIONS
from local.state import database_url
from muster.platform.errors import MusterError
from muster.projects.actions import run_action


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if the database is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.migrate", description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: that of make run")
    parser.add_argument("--migrations", type=Path, default=MIGRATIONS, help="the folder of the .sql files")
    parser.add_argument("--action", default="migrate", choices=["migrate", "verify", "status", "maintain"])
    parser.add_argument("--json", action="store_true", help="print the result of the function")
    options = parser.parse_args(arguments)
    try:
        url = database_url(options.database_url, "make migrate")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            answer = run_action(connection, options.migrations, {"action": options.action})
    except MusterError as error:
        print(error, file=sys.stderr)
        return 1
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if options.json else _sentences(answer))
    return 0 if answer["status"] == "ok" else 1


def _sentences(answer: dict[str, Any]) -> str:
    lines = [
        f"{len(answer[name])} {what}{': ' if answer[name] else ''}{', '.join(answer[name])}."
        for name, what in (
            ("applied", "migrations applied now"),
            ("alreadyApplied", "migrations applied before"),
            ("pending", "migrations not applied yet"),
        )
        if name in answer
    ]
    lines += answer.get("faults", [])
    if "partitionsCreated" in answer:
        lines.append(f"{answer['partitionsCreated']} partitions created.")
    if "verified" in answer:
        lines.append(
            "The schema matches the migrations." if answer["verified"] else "The schema differs from the migrations:"
        )
        lines += [f"- {difference['summary']}\n    {difference['remedy']}" for difference in answer["differences"]]
        lines += [f"  {name}: {table['rows']} rows" for name, table in answer["tables"].items() if table["exists"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
