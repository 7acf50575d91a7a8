"""`make retention`: counts the events past the retention period of their project. With APPLY=1 it deletes them."""

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
    """Run the command. Return 1 if it failed or could not finish."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.data_retention", description=__doc__)
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: that of make run")
    parser.add_argument("--apply", action="store_true", help="delete; without this nothing changes")
    parser.add_argument("--json", action="store_true", help="print the result of the function")
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
    verb = "to delete" if answer["dryRun"] else "deleted"
    lines = []
    for project in answer["projects"]:
        period = f"Project {project['projectId']} keeps {project['retentionDays']} days, since {project['keptFrom']}"
        lines.append(f"{period}. {verb.capitalize()}: {_counts(project)}.")
        if project["left"] and any(project["left"].values()):
            lines.append(f"  Left for the next run: {_counts(project['left'])}.")
    if answer["partitions"]:
        lines.append(f"Partitions {verb}: {', '.join(answer['partitions'])}.")
    if not lines:
        return "No project has a retention period. Set one: make project NAME=… SET=retentionDays=90"
    if answer["dryRun"]:
        lines.append("Nothing was deleted. Delete it: make retention APPLY=1")
    return "\n".join(lines)


def _counts(counted: dict[str, Any]) -> str:
    return ", ".join(f"{counted[kind]:,} {kind}" for kind in KINDS)


if __name__ == "__main__":
    sys.exit(main())
