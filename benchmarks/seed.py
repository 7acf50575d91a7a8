"""`make seed`: creates a project with made-up events in the database of `make run`, or of DATABASE_URL."""

import argparse
import os
import sys
from collections.abc import Sequence

import psycopg

from benchmarks.history import seed
from local.state import database_url
from muster.platform.errors import MusterError
from muster.projects.projects import create_key, create_project


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="approximate number of events; default: a million"
    )
    parser.add_argument("--name", help="name of the new project")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: that of make run")
    options = parser.parse_args(arguments)
    try:
        url = database_url(options.database_url, "make seed")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            project_id = create_project(connection, options.name or f"Seed of {options.events:,} events")
            for done in seed(connection, project_id, options.events):
                print(f"{done.events:,} of {options.events:,} events stored after {done.seconds:.0f} s.", flush=True)
            connection.execute("ANALYZE")
            print(f"Read key of the project: {create_key(connection, project_id, 'read', 'seed')}")
    except MusterError as error:
        print(error, file=sys.stderr)
        return 1
    except psycopg.errors.UniqueViolation:
        print("A project with this name exists. Choose another name: make seed NAME=…", file=sys.stderr)
        return 1
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
