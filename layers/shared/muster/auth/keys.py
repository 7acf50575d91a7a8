"""Whom a request acts for: a key, hashed before it goes anywhere, or the database's only project."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from muster.db.client import Connection, call_value
from muster.db.queries import query, rows_of
from muster.platform.errors import (
    InvalidKey,
    KeyNotAllowed,
    MissingKey,
    MusterError,
    NotFound,
    ProjectNotChosen,
    SessionBelongsToAnotherUser,
)
from muster.platform.logging import log

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
    parameters = {"key_hash": key_hash, "kinds": list(allowed)}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(rows_of("authenticate", tuple(parameters)), parameters).fetchone() or {}
    raise_if_refused(row, allowed)
    return Access(project_id=row["project_id"], kind=row["kind"], prefix=row["prefix"])


def only_project(connection: Connection) -> Access:
    """The database's project, where there is exactly one.

    Raises:
        ProjectNotChosen: there are several, or none.
    """
    projects = connection.execute(query("auth/get_project_ids")).fetchall()
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


NOTED_FOR_SECONDS = 3600.0
# By hash, until when it is noted; only keys that the database knows come here.
_noted: dict[bytes, float] = {}


def note_use(connection: Connection, key_hash: bytes) -> None:
    """Note that the key was used, unless this process has within the hour; no failure of it is the request's."""
    # Not the monotonic clock: it stands still while the environment is frozen.
    now = time.time()
    if now < _noted.get(key_hash, 0.0):
        return
    _noted[key_hash] = now + NOTED_FOR_SECONDS
    try:
        call_value(connection, "note_key_use", {"key_hash": key_hash})
    except psycopg.Error as error:
        log("WARN", "key_use_not_noted", sqlstate=error.sqlstate, error=type(error).__name__)
