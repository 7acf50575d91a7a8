"""Finds the database that a command of this machine is for."""

import json
from pathlib import Path

from muster.platform.errors import MusterError

STATE = Path(__file__).resolve().parents[1] / ".muster" / "local.json"


def database_url(named: str | None, command: str, *, state: Path = STATE) -> str:
    """The URL that was named, else that of `make run`; `command` is what an engineer typed.

    Raises:
        MusterError: when there is neither.
    """
    if named:
        return named
    try:
        return str(json.loads(state.read_text("utf-8"))["databaseUrl"])
    except FileNotFoundError:
        message = f"Name a database: {command} DATABASE_URL=postgresql://…, or start one first with make run."
        raise MusterError(message) from None
