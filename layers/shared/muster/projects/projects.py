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
    """What may be told of a key: neither itself nor its hash."""

    id: UUID
    prefix: str
    kind: str
    note: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_project(connection: Connection, name: str, settings: Mapping[str, Any] | None = None) -> UUID:
    """A new project's id; `settings` are by column, the defaults where they say nothing.

    Raises:
        psycopg.errors.UniqueViolation: there is a project of that name.
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
    """Change the settings that are named, by column; answers the project as it is then.

    Raises:
        NotFound: there is no such project.
        MusterError: the database does not know the time zone.
    """
    if "time_zone" in settings:
        _check_time_zone(connection, settings["time_zone"])
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        change = {"project_id": project_id, "change": json.dumps(dict(settings))}
        project = cursor.execute(query("projects/update_project"), change).fetchone()
    if project is None:
        raise NotFound("There is no project of this id; the migrate action list_projects names all.")
    return project


def list_projects(connection: Connection) -> list[Project]:
    """All projects, the oldest first."""
    with connection.cursor(row_factory=class_row(Project)) as cursor:
        return cursor.execute(query("projects/list_projects")).fetchall()


def find_project(connection: Connection, name: str) -> UUID:
    """The id of the project of that name.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(query("projects/find_project"), {"name": name}).fetchone()
    if row is None:
        raise NotFound(f"There is no project '{name}'; the migrate action create_project creates it.")
    return UUID(str(row[0]))


def create_key(connection: Connection, project_id: UUID, kind: str, note: str | None = None) -> str:
    """A new key in clear, this one time: the database keeps its SHA-256 and its first characters."""
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
    """A key that stands for logins: nobody knows a text of this hash, so that no request can send it."""
    parameters = {"project_id": project_id, "kind": "admin", "prefix": LOGIN, "key_hash": secrets.token_bytes(32)}
    connection.execute(query("projects/create_key"), {**parameters, "note": note})


def list_keys(connection: Connection, project_id: UUID) -> list[Key]:
    """A project's keys, revoked ones too, the oldest first."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        return cursor.execute(query("projects/list_keys"), {"project_id": project_id}).fetchall()


def revoke_key(connection: Connection, named: str) -> tuple[UUID, Key]:
    """Revoke the key of that id or prefix, or that key itself, and answer its project and what is known of it.

    Every request looks its key up, so the next one with it is refused. Revoked once more it stays as it is.

    Raises:
        NotFound: there is none.
        MusterError: more than one key begins so.
    """
    found = connection.execute(query("projects/find_keys"), {"named": named, "key_hash": hash_key(named)}).fetchall()
    if not found:
        raise NotFound("There is no such key; the migrate action list_keys names a project's by id and prefix.")
    if len(found) > 1:
        raise MusterError("More than one key begins so; give the id that the migrate action list_keys names.")
    key_id, project_id = found[0]
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        key = cursor.execute(query("projects/revoke_key"), {"id": key_id}).fetchone()
    if key is None:
        raise psycopg.InternalError("UPDATE … RETURNING returned no row.")
    return UUID(str(project_id)), key


def _check_time_zone(connection: Connection, name: str) -> None:
    """Python's list of time zones may be another one, and rollups are the database's."""
    if connection.execute(query("projects/find_time_zone"), {"name": name}).fetchone() is None:
        raise MusterError("'timeZone' is none that PostgreSQL knows: an IANA name, such as Europe/Berlin.")
