"""`make retention`: says what is older than its project keeps it, and takes it away when it is told to."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import psycopg

from local.state import database_url
from muster.db.client import connect
from muster.maintenance.data_retention import expire
from muster.platform.errors import MusterError
from muster.platform.settings import Settings

KINDS = ("events", "sessions", "rejections", "ignored")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when it could not be done, or not all of it."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.data_retention", description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: that of make run")
    parser.add_argument("--apply", action="store_true", help="take it away; without this nothing changes")
    parser.add_argument("--json", action="store_true", help="print the answer as the function gives it")
    options = parser.parse_args(arguments)
    try:
        url = database_url(options.database_url, "make retention")
        settings = Settings(database_url=url, database_role="muster_admin")
        with connect(settings) as connection:
            answer = expire(connection, settings, dry_run=not options.apply)
    except MusterError as error:
        print(error, file=sys.stderr)
        return 1
    except psycopg.OperationalError as error:
        print(f"The database cannot be reached: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2) if options.json else _sentences(answer))
    return 0 if answer["complete"] else 1


def _sentences(answer: dict[str, Any]) -> str:
    would = "would go" if answer["dryRun"] else "went"
    lines = []
    for project in answer["projects"]:
        kept = f"Project {project['projectId']} keeps {project['retentionDays']} days, from {project['keptFrom']} on"
        lines.append(f"{kept}: {_counts(project)} {would}.")
        if project["left"] and any(project["left"].values()):
            lines.append(f"  {_counts(project['left'])} are left for the next run.")
    if answer["partitions"]:
        lines.append(f"Partitions that {would}: {', '.join(answer['partitions'])}.")
    if not lines:
        return "Every project keeps all; set retention_days of one."
    if answer["dryRun"]:
        lines.append("Nothing has changed; make retention APPLY=1 takes it away.")
    return "\n".join(lines)


def _counts(counted: dict[str, Any]) -> str:
    return ", ".join(f"{counted[kind]:,} {kind}" for kind in KINDS)


if __name__ == "__main__":
    sys.exit(main())
