"""The actions of the function migrate."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql

from muster.auth.keys import PREFIX_LENGTH
from muster.db.client import Connection
from muster.db.migrate import (
    compare,
    ensure_partitions,
    get_applied,
    get_function_checksum,
    migrate,
    read_functions,
    read_migrations,
)
from muster.db.schema import table_names, verify
from muster.platform.errors import MusterError
from muster.projects.projects import (
    KINDS,
    LOGIN,
    allow_logins,
    create_key,
    create_project,
    find_project,
    list_keys,
    list_projects,
    revoke_key,
    update_project,
)
from muster.projects.settings import SETTINGS, read_settings

Event = Mapping[str, Any]


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MAX_NOTE_LENGTH = 500
_UNKNOWN_ID = "There is no project with this id. Run the migrate action list_projects to see all projects."


def _create_project(connection: Connection, _: Path, event: Event) -> dict[str, Any]:
    name, settings = _name(event), _settings(event, "name")
    try:
        with connection.transaction():
            project_id = create_project(connection, name, settings)
            keys = {kind: create_key(connection, project_id, kind) for kind in KINDS}
    except psycopg.errors.UniqueViolation as error:
        raise MusterError(
            "A project with this name exists. Choose another name, or create a key for that project."
        ) from error
    return {"status": "ok", "projectId": str(project_id), "name": name, "keys": keys}


def _update_project(connection: Connection, _: Path, event: Event) -> dict[str, Any]:
    settings = _settings(event, "project", "name")
    if "name" in event:
        settings["name"] = _name(event)
    if not settings:
        raise MusterError(f"Nothing to change. Give name or one of {', '.join(SETTINGS)}.")
    try:
        project = update_project(connection, _project(connection, event), settings)
    except psycopg.errors.UniqueViolation as error:
        raise MusterError("A project with this name exists. Choose another name.") from error
    return {"status": "ok", "project": msgspec.to_builtins(project)}


def _list_projects(connection: Connection, _: Path, __: Event) -> dict[str, Any]:
    return {"status": "ok", "projects": msgspec.to_builtins(list_projects(connection))}


def _create_key(connection: Connection, _: Path, event: Event) -> dict[str, Any]:
    kind, note = event.get("kind"), event.get("note")
    if not isinstance(kind, str) or kind not in (*KINDS, LOGIN):
        raise MusterError(f"'kind' must be one of {', '.join(KINDS)}, or {LOGIN} for the logins of AdminJwtIssuer.")
    if note is not None and (not isinstance(note, str) or "\0" in note or len(note) > MAX_NOTE_LENGTH):
        raise MusterError(f"'note' must be a string of at most {MAX_NOTE_LENGTH} characters.")
    project_id = _project(connection, event)
    try:
        if kind == LOGIN:
            allow_logins(connection, project_id, note)
            return {"status": "ok", "projectId": str(project_id), "kind": kind, "prefix": LOGIN, "key": None}
        key = create_key(connection, project_id, kind, note)
    except psycopg.errors.ForeignKeyViolation as error:
        raise MusterError(_UNKNOWN_ID) from error
    return {"status": "ok", "projectId": str(project_id), "kind": kind, "prefix": key[:PREFIX_LENGTH], "key": key}


def _list_keys(connection: Connection, _: Path, event: Event) -> dict[str, Any]:
    project_id = _project(connection, event)
    if project_id not in [project.id for project in list_projects(connection)]:
        raise MusterError(_UNKNOWN_ID)
    return {
        "status": "ok",
        "projectId": str(project_id),
        "keys": msgspec.to_builtins(list_keys(connection, project_id)),
    }


def _revoke_key(connection: Connection, _: Path, event: Event) -> dict[str, Any]:
    project_id, key = revoke_key(connection, _text(event, "key"))
    return {"status": "ok", "projectId": str(project_id), "key": msgspec.to_builtins(key)}


PROJECT_ACTIONS: dict[str, Callable[[Connection, Path, Event], dict[str, Any]]] = {
    "create_project": _create_project,
    "update_project": _update_project,
    "list_projects": _list_projects,
    "create_key": _create_key,
    "list_keys": _list_keys,
    "revoke_key": _revoke_key,
}


def _project(connection: Connection, event: Event) -> UUID:
    """The id of the project that the event names; "project" is a name or an id."""
    project = _text(event, "project")
    return UUID(project) if _UUID.fullmatch(project) else find_project(connection, project)


def _settings(event: Event, *others: str) -> dict[str, Any]:
    """The project settings in the event, by column. `others` are the event's other fields."""
    return read_settings({name: value for name, value in event.items() if name not in ("action", *others)})


def _name(event: Event) -> str:
    name = _text(event, "name")
    if len(name) > 200:  # noqa: PLR2004 - the limit of the table
        raise MusterError("'name' must have 1 to 200 characters.")
    return name


def _text(event: Event, name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise MusterError(f"'{name}' is required and must be a string that is not blank.")
    return value


def run_action(connection: Connection, directory: Path, event: Event) -> dict[str, Any]:
    """Run the event's action, by default migrate; `connection` is in autocommit mode and has not set a role.

    Raises:
        MusterError: the action failed; the message says why and what to do.
    """
    name = event.get("action", "migrate")
    action = _ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        raise MusterError(f"Unknown action. The actions are {', '.join(_ACTIONS)}.")
    try:
        return action(connection, directory, event)
    except psycopg.errors.InsufficientPrivilege as error:
        raise MusterError(
            f"The login may not do this: {error.diag.message_primary}. Use the login that migrated the database."
        ) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
        fault = f"The schema is incomplete: {error.diag.message_primary}."
        message = f"{fault} Run migrate. The action verify lists what is missing."
        raise MusterError(message) from error


def _migrate(connection: Connection, directory: Path, _: Event) -> dict[str, Any]:
    report = migrate(connection, directory)
    return {
        "applied": report.applied,
        "alreadyApplied": report.already_applied,
        "functionsReplaced": report.functions_replaced,
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
    pending = [file.name for file in shipped if file.version not in known]
    if get_function_checksum(connection) != read_functions(directory).checksum:
        pending.append("functions")
    return {
        "applied": [],
        "alreadyApplied": [row.name for row in applied],
        "pending": pending,
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
