"""Creates and verifies the schema, and manages projects and keys: on deployment and by direct invocation."""

from typing import Any

from muster.db.client import connect
from muster.platform.settings import load_settings
from muster.projects.actions import run_action
from muster.projects.custom_resource import answer_custom_resource, is_custom_resource


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Run the action in the event. An error fails the invocation or the deployment, with a message."""
    if is_custom_resource(event):
        return answer_custom_resource(event, lambda: _run({"action": "migrate"}))
    return _run(event)


def _run(event: dict[str, Any]) -> dict[str, Any]:
    settings = load_settings()
    with connect(settings) as connection:
        return run_action(connection, settings.migrations_dir, event)
