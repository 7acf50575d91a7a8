"""What the function migrate does when it is invoked: each action by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from muster.errors import MusterError
from muster.migrations import compare, ensure_partitions, get_applied, migrate, read_migrations
from muster.project_actions import PROJECT_ACTIONS
from muster.schema import table_names, verify

Connection = psycopg.Connection[Any]
Event = Mapping[str, Any]


def run_action(connection: Connection, directory: Path, event: Event) -> dict[str, Any]:
    """Do what the event asks for, migrate by default; `connection` is in autocommit mode and acts as its login.

    Raises:
        MusterError: it is not done, and the message says why and what to do.
    """
    name = event.get("action", "migrate")
    action = _ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise MusterError(f"There is no such action; known are {', '.join(_ACTIONS)}.")
    try:
        return action(connection, directory, event)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MusterError(
            f"The login may not do this: {error.diag.message_primary}. Use the login that migrated the database."
        ) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
        message = f"The schema is not complete: {error.diag.message_primary}. Run migrate; verify says what lacks."
        raise MusterError(message) from error


def _migrate(connection: Connection, directory: Path, _: Event) -> dict[str, Any]:
    report = migrate(connection, directory)
    return {
        "applied": report.applied,
        "alreadyApplied": report.already_applied,
        "partitionsCreated": report.partitions_created,
        **_state(connection),
    }


def _verify(connection: Connection, directory: Path, _: Event) -> dict[str, Any]:
    return {**_history(connection, directory), **_state(connection)}


def _status(connection: Connection, directory: Path, _: Event) -> dict[str, Any]:
    history = _history(connection, directory)
    return {"status": "refused" if history["faults"] else "pending" if history["pending"] else "ok", **history}


def _maintain(connection: Connection, _: Path, __: Event) -> dict[str, Any]:
    return {"status": "ok", "partitionsCreated": ensure_partitions(connection)}


_ACTIONS: dict[str, Callable[[Connection, Path, Event], dict[str, Any]]] = {
    "migrate": _migrate,
    "verify": _verify,
    "status": _status,
    **PROJECT_ACTIONS,
    "maintain": _maintain,
}


def _history(connection: Connection, directory: Path) -> dict[str, Any]:
    shipped, applied = read_migrations(directory), get_applied(connection)
    known = {row.version for row in applied}
    return {
        "applied": [],
        "alreadyApplied": [row.name for row in applied],
        "pending": [file.name for file in shipped if file.version not in known],
        "faults": compare(shipped, applied),
    }


def _state(connection: Connection) -> dict[str, Any]:
    verification = verify(connection)
    return {
        "status": "ok" if verification.verified else "different",
        "verified": verification.verified,
        "tables": {name: _table(connection, name) for name in table_names()},
        "differences": [
            {
                "object": difference.object,
                "problem": difference.problem,
                "expected": difference.expected,
                "found": difference.found,
                "summary": difference.sentence,
                "remedy": difference.remedy,
            }
            for difference in [*verification.differences, *verification.unexpected]
        ],
    }


def _table(connection: Connection, name: str) -> dict[str, Any]:
    try:
        row = connection.execute(sql.SQL("SELECT count(*) FROM muster.{}").format(sql.Identifier(name))).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return {"exists": False, "rows": None}
    return {"exists": True, "rows": row[0] if row else None}
