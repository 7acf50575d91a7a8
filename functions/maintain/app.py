"""What must be done from time to time."""

from typing import Any

from muster.database import connect
from muster.maintenance import fold, maintain
from muster.observability import work_for
from muster.settings import load_settings

WORK = {"maintain": maintain, "fold": fold}


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Every hour all that is due; every few minutes, with {"work": "fold"}, what makes metrics fast."""
    work_for(context.aws_request_id)
    settings, name = load_settings(), event.get("work", "maintain")
    if name not in WORK:
        raise ValueError(f"There is no such work as {name!r}; send one of {', '.join(WORK)}.")
    with connect(settings) as connection:
        return WORK[name](connection, settings)
