"""What must be done from time to time."""

from collections.abc import Callable
from functools import partial
from typing import Any

from muster.db.client import Connection, connect
from muster.maintenance.data_retention import expire
from muster.maintenance.hourly import fold, maintain
from muster.platform.logging import work_for
from muster.platform.settings import Settings, load_settings

WORK: dict[str, Callable[[Connection, Settings], dict[str, Any]]] = {
    "maintain": maintain,
    "fold": fold,
    "retention": partial(expire, dry_run=False),
}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every hour all that is due; every few minutes, with {"work": "fold"}, what makes metrics fast; every day, with
    {"work": "retention"}, what is older than a project keeps it, of which {"dryRun": true} only says what it would be.
    """
    work_for(context.aws_request_id)
    settings, name = load_settings(), event.get("work", "maintain")
    if name not in WORK:
        raise ValueError(f"There is no such work as {name!r}; send one of {', '.join(WORK)}.")
    dry_run = event.get("dryRun", False)
    if not isinstance(dry_run, bool) or (dry_run and name != "retention"):
        raise ValueError("dryRun is true or false, and there is one of retention alone.")
    with connect(settings) as connection:
        return expire(connection, settings, dry_run=True) if dry_run else WORK[name](connection, settings)
