"""What must be done from time to time."""

from typing import Any

from muster.database import connect
from muster.maintenance import maintain
from muster.observability import work_for
from muster.settings import load_settings


def lambda_handler(_: dict[str, Any], context: Any) -> dict[str, Any]:
    """Make the next partitions, and copy new events to the archive."""
    work_for(context.aws_request_id)
    settings = load_settings()
    with connect(settings) as connection:
        return maintain(connection, settings)
