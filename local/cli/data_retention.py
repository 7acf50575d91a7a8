"""`make retention`: counts the events older than the data retention of their project. APPLY=1 deletes them."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from local.cli.database import add_database_option, run_on_database
from muster.db.client import connect
from muster.maintenance.data_retention import expire
from muster.platform.settings import Settings

KINDS = ("events", "sessions", "rejections", "ignored")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 1 if it failed or could not finish."""
    parser = argparse.ArgumentParser(prog="python -m local.cli.data_retention", description=__doc__)
    add_database_option(parser)
    parser.add_argument("--apply", action="store_true", help="delete the events; without this nothing changes")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)

    def work(url: str) -> int:
        settings = Settings(database_url=url, database_role="muster_admin")
        with connect(settings) as connection:
            result = expire(connection, settings, dry_run=not options.apply)
        print(json.dumps(result, indent=2) if options.json else _sentences(result))
        return 0 if result["complete"] else 1

    return run_on_database(options.database_url, "make retention", work)


def _sentences(result: dict[str, Any]) -> str:
    verb = "to delete" if result["dryRun"] else "deleted"
    lines = []
    for project in result["projects"]:
        period = f"{project['retentionDays']} days, since {project['keptFrom']}"
        lines.append(
            f"Project {project['projectId']} stores events for {period}. {verb.capitalize()}: {_counts(project)}."
        )
        if project["left"] and any(project["left"].values()):
            lines.append(f"  Left for the next run: {_counts(project['left'])}.")
    if result["partitions"]:
        lines.append(f"Partitions {verb}: {', '.join(result['partitions'])}.")
    if not lines:
        return "No project has a data retention period. Set one: make project NAME=… SET=retentionDays=90"
    if result["dryRun"]:
        lines.append("Nothing was deleted. To delete these rows: make retention APPLY=1")
    return "\n".join(lines)


def _counts(counted: dict[str, Any]) -> str:
    return ", ".join(f"{counted[kind]:,} {kind}" for kind in KINDS)


if __name__ == "__main__":
    sys.exit(main())
