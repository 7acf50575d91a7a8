"""Creates and verifies the schema, projects and keys; by direct invocation only."""

from typing import Any

from muster.actions import run_action
from muster.database import connect
from muster.settings import load_settings


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """The action that the event names; what cannot be done fails the invocation with a sentence."""
    settings = load_settings()
    with connect(settings) as connection:
        return run_action(connection, settings.migrations_dir, event)
