"""What must be done from time to time: the next partitions."""

from typing import Any

from muster.actions import run_action
from muster.database import connect
from muster.settings import load_settings


def lambda_handler(_: dict[str, Any], __: object) -> dict[str, Any]:
    """Create the partitions that will be needed."""
    settings = load_settings()
    with connect(settings) as connection:
        return run_action(connection, settings.migrations_dir, {"action": "maintain"})
