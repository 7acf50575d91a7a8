"""What the commands on a database share: their option, and the report of their errors."""

import argparse
import os
import sys
from collections.abc import Callable

import psycopg

from local.state import database_url
from muster.platform.errors import MusterError


def add_database_option(parser: argparse.ArgumentParser) -> None:
    """Add `--database-url` to a command."""
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="default: DATABASE_URL, or else the database of make run",
    )


def run_on_database(named: str | None, command: str, work: Callable[[str], int]) -> int:
    """Call `work` with the URL of the database. Return its exit code, or print its error and return 1."""
    try:
        return work(database_url(named, command))
    except MusterError as error:
        print(error, file=sys.stderr)
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
    return 1
