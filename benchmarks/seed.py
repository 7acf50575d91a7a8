"""`make seed`: creates a project with made-up events in the database of `make run`, or of DATABASE_URL."""

import argparse
import sys
from collections.abc import Sequence

import psycopg

from benchmarks.history import DAYS, seed
from local.cli.database import add_database_option, run_on_database
from muster.projects.projects import create_key, create_project


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="approximate number of events; default: a million"
    )
    parser.add_argument("--days", type=int, default=DAYS, help="length of the history in days; default: two years")
    parser.add_argument("--name", help="name of the new project")
    add_database_option(parser)
    options = parser.parse_args(arguments)
    if options.events < 1 or options.days < 1:
        parser.error("EVENTS and DAYS must be at least 1.")

    def work(url: str) -> int:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            project_id = create_project(connection, options.name or f"Seed of {options.events:,} events")
            for done in seed(connection, project_id, options.events, days=options.days):
                print(f"{done.events:,} of {options.events:,} events stored after {done.seconds:.0f} s.", flush=True)
            connection.execute("ANALYZE")
            print(f"Read key of the project: {create_key(connection, project_id, 'read', 'seed')}")
        return 0

    try:
        return run_on_database(options.database_url, "make seed", work)
    except psycopg.errors.UniqueViolation:
        print("A project with this name exists. Choose another name: make seed NAME=…", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
