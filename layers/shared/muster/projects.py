"""Creates projects and their keys."""

import secrets
from typing import Any
from uuid import UUID

import psycopg

from muster.errors import NotFound
from muster.keys import PREFIX_LENGTH, hash_key
from muster.sql import query

KINDS = {"write": "mw_", "read": "mr_", "admin": "ma_"}
Connection = psycopg.Connection[Any]


def create_project(connection: Connection, name: str) -> UUID:
    """A new project's id.

    Raises:
        psycopg.errors.UniqueViolation: there is a project of that name.
    """
    row = connection.execute(query("create_project"), {"name": name}).fetchone()
    if row is None:
        raise psycopg.InternalError("INSERT … RETURNING returned no row.")
    return UUID(str(row[0]))


def find_project(connection: Connection, name: str) -> UUID:
    """The id of the project of that name.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(query("find_project"), {"name": name}).fetchone()
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
    connection.execute(query("create_key"), parameters)
    return key
