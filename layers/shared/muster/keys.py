"""Whom a request acts for: a key, hashed before it goes anywhere, or the database's only project."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from psycopg.rows import class_row

from muster.database import Connection
from muster.errors import (
    InvalidKey,
    KeyNotAllowed,
    MissingKey,
    MusterError,
    NotFound,
    ProjectNotChosen,
    SessionBelongsToAnotherUser,
)
from muster.sql import query

PREFIX_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Access:
    """The project that a key opens, and the key's kind."""

    project_id: UUID
    kind: str
    prefix: str


class Sender(NamedTuple):
    """Who sends a request, as far as we need to know."""

    key_hash: bytes | None
    """None acts for the database's only project."""
    request_id: str
    user_agent: str = ""
    key_prefix: str = ""
    """The key's first characters, which say its kind."""
    opts_out: bool = False
    """Whether the browser says so: Sec-GPC or DNT."""


def hash_key(key: str | None) -> bytes:
    """The SHA-256 by which the database knows a key.

    Raises:
        MissingKey: when there is none.
    """
    if not key:
        raise MissingKey
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def authenticate(connection: Connection, key_hash: bytes, allowed: tuple[str, ...]) -> Access:
    """What the key opens.

    Raises:
        InvalidKey: it is unknown or revoked.
        KeyNotAllowed: it is of a kind that is not in `allowed`.
    """
    with connection.cursor(row_factory=class_row(Access)) as cursor:
        access = cursor.execute(query("authenticate"), {"key_hash": key_hash}).fetchone()
    if access is None:
        raise InvalidKey
    if access.kind not in allowed:
        raise KeyNotAllowed(allowed)
    return access


def only_project(connection: Connection) -> Access:
    """The database's project, where there is exactly one.

    Raises:
        ProjectNotChosen: there are several, or none.
    """
    projects = connection.execute(query("get_project_ids")).fetchall()
    if len(projects) != 1:
        raise ProjectNotChosen(len(projects))
    return Access(project_id=UUID(str(projects[0][0])), kind="write", prefix="none")


def raise_if_refused(answer: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise what a function in the database answered with `refused`."""
    if refusal := answer.get("refused"):
        _refuse(refusal, allowed)


def _refuse(refusal: str, allowed: tuple[str, ...]) -> NoReturn:
    if refusal == "key_not_allowed":
        raise KeyNotAllowed(allowed)
    known: dict[str, MusterError] = {
        "invalid_key": InvalidKey(),
        "not_found": NotFound("There is no such session in this project; its first batch of events creates it."),
        "session_belongs_to_another_user": SessionBelongsToAnotherUser(),
    }
    raise known[refusal]
