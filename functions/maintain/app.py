"""Runs scheduled work: roll-ups every few minutes, maintenance every hour, data retention every day."""

from collections.abc import Callable
from functools import partial
from typing import Any

from muster.db.client import Connection, connect
from muster.maintenance.data_retention import expire
from muster.maintenance.hourly import maintain, roll_up_all
from muster.platform.logging import work_for
from muster.platform.settings import Settings, load_settings

WORK: dict[str, Callable[[Connection, Settings], dict[str, Any]]] = {
    "maintain": maintain,
    "roll_up": roll_up_all,
    "retention": partial(expire, dry_run=False),
}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run {"work": "maintain" | "roll_up" | "retention"}. With {"dryRun": true}, retention only reports."""
    work_for(context.aws_request_id)
    settings, name = load_settings(), event.get("work", "maintain")
    if name not in WORK:
        raise ValueError(f"The work {name!r} is unknown. Send one of {', '.join(WORK)}.")
    dry_run = event.get("dryRun", False)
    if not isinstance(dry_run, bool) or (dry_run and name != "retention"):
        raise ValueError("dryRun must be true or false, and only retention accepts it.")
    with connect(settings) as connection:
        return expire(connection, settings, dry_run=True) if dry_run else WORK[name](connection, settings)
