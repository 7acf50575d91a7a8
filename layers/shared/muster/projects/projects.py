"""Creates, changes and lists projects and their keys."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from muster.auth.keys import PREFIX_LENGTH, hash_key
from muster.db.client import Connection
from muster.db.queries import query
from muster.http.response import WireModel
from muster.ingest.redaction import DEFAULT_REDACTED_KEYS
from muster.platform.errors import MusterError, NotFound

LOGIN = "login"
KINDS = {"write": "mw_", "read": "mr_", "admin": "ma_"}


class Project(WireModel):
    """A project and its settings."""

    id: UUID
    name: str
    time_zone: str
    consent_mode: str
    allowed_origins: list[str]
    event_window_days: int
    retention_days: int | None
    rollup_keys: list[str]
    honors_signals: bool
    identifies_backwards: bool
    redacted_keys: list[str]
    redacts_cards: bool
    created_at: datetime


class Key(WireModel):
    """A key as listed, without the key itself or its hash."""

    id: UUID
    prefix: str
    kind: str
    note: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_project(connection: Connection, name: str, settings: Mapping[str, Any] | None = None) -> UUID:
    """Create a project and return its id; `settings` are by column and override the defaults.

    Raises:
        psycopg.errors.UniqueViolation: a project with this name exists.
        MusterError: the database does not know the time zone.
    """
    with connection.transaction():
        row = connection.execute(
            query("projects/create_project"), {"name": name, "redacted_keys": list(DEFAULT_REDACTED_KEYS)}
        ).fetchone()
        if row is None:
            raise psycopg.InternalError("INSERT … RETURNING returned no row.")
        project_id = UUID(str(row[0]))
        if settings:
            update_project(connection, project_id, settings)
    return project_id


def update_project(connection: Connection, project_id: UUID, settings: Mapping[str, Any]) -> Project:
    """Change settings, by column, and return the changed project.

    Raises:
        NotFound: there is no project with this id.
        MusterError: the database does not know the time zone.
    """
    if "time_zone" in settings:
        _check_time_zone(connection, settings["time_zone"])
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        change = {"project_id": project_id, "change": json.dumps(dict(settings))}
        project = cursor.execute(query("projects/update_project"), change).fetchone()
    if project is None:
        raise NotFound("There is no project with this id. Run the migrate action list_projects to see all projects.")
    return project


def list_projects(connection: Connection) -> list[Project]:
    """List all projects, oldest first."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(query("projects/list_projects")).fetchall()


def find_project(connection: Connection, name: str) -> UUID:
    """Find a project's id by its name.

    Raises:
        NotFound: there is no project with this name.
    """
    row = connection.execute(query("projects/find_project"), {"name": name}).fetchone()
    if row is None:
        raise NotFound(f"There is no project '{name}'. Create it with the migrate action create_project.")
    return UUID(str(row[0]))


def create_key(connection: Connection, project_id: UUID, kind: str, note: str | None = None) -> str:
    """Create a key and return it in clear. It is shown only once: the database stores its SHA-256 and its prefix."""
    key = KINDS[kind] + secrets.token_urlsafe(32)
    parameters = {
        "project_id": project_id,
        "kind": kind,
        "prefix": key[:PREFIX_LENGTH],
        "key_hash": hash_key(key),
        "note": note,
    }
    connection.execute(query("projects/create_key"), parameters)
    return key


def allow_logins(connection: Connection, project_id: UUID, note: str | None = None) -> None:
    """Create the key that stands for logins. Its hash is random, so no request can send a matching key."""
    parameters = {"project_id": project_id, "kind": "admin", "prefix": LOGIN, "key_hash": secrets.token_bytes(32)}
    connection.execute(query("projects/create_key"), {**parameters, "note": note})


def list_keys(connection: Connection, project_id: UUID) -> list[Key]:
    """List a project's keys, including revoked ones, oldest first."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        return cursor.execute(query("projects/list_keys"), {"project_id": project_id}).fetchall()


def revoke_key(connection: Connection, id_prefix_or_key: str) -> tuple[UUID, Key]:
    """Revoke a key, given its id, its prefix or the key itself; returns its project's id and the key as listed.

    It takes effect with the next request. Revoking a key again changes nothing.

    Raises:
        NotFound: there is no such key.
        MusterError: several keys have this prefix.
    """
    parameters = {"id_prefix_or_key": id_prefix_or_key, "key_hash": hash_key(id_prefix_or_key)}
    found = connection.execute(query("projects/find_keys"), parameters).fetchall()
    if not found:
        raise NotFound(
            "There is no such key. Run the migrate action list_keys to see the ids and prefixes of all keys."
        )
    if len(found) > 1:
        raise MusterError("Several keys have this prefix. Give the key's id, which the migrate action list_keys shows.")
    key_id, project_id = found[0]
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        key = cursor.execute(query("projects/revoke_key"), {"id": key_id}).fetchone()
    if key is None:
        raise psycopg.InternalError("UPDATE … RETURNING returned no row.")
    return UUID(str(project_id)), key


def _check_time_zone(connection: Connection, name: str) -> None:
    """PostgreSQL's list of time zones may differ from Python's, and PostgreSQL computes the roll-ups."""
    if connection.execute(query("projects/find_time_zone"), {"name": name}).fetchone() is None:
        raise MusterError("'timeZone' is unknown to PostgreSQL. Give another IANA name, such as Europe/Berlin.")
