"""Authenticates a request by its key's hash. Without a key, it acts for the database's only project."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from muster.db.client import Connection, call_value
from muster.db.queries import query, rows_of
from muster.platform.errors import (
    InvalidKey,
    KeyNotAllowed,
    MissingKey,
    ProjectNotChosen,
    SessionBelongsToAnotherUser,
)
from muster.platform.logging import log

PREFIX_LENGTH = 8


class Access(NamedTuple):
    """The key of a request, the operation it asks for, and its project once that is known."""

    key_hash: bytes | None = None
    """The SHA-256 of the key. None acts for the database's only project."""
    key_prefix: str = ""
    """The first characters of the key, which show its kind."""
    request_id: str = ""
    user_agent: str = ""
    opts_out: bool = False
    """Whether the browser sent Sec-GPC or DNT."""
    allowed: tuple[str, ...] = ()
    """The kinds of key that the operation allows."""
    found_project_id: UUID | None = None
    """The key's project, set by look_up."""

    @property
    def project_id(self) -> UUID:
        """The key's project.

        Raises:
            LookupError: look_up was not called, because a SQL function checks the key instead.
        """
        if self.found_project_id is None:
            raise LookupError("The project is not known. Call look_up first.")
        return self.found_project_id

    def look_up(self, connection: Connection) -> "Access":
        """Find the key's project, and note that the key was used; returns this access with the project.

        Raises:
            InvalidKey: the key is unknown or revoked.
            KeyNotAllowed: the operation does not allow this kind of key.
            ProjectNotChosen: there is no key, and the database has several projects or none.
        """
        if self.key_hash is None:
            return self._replace(found_project_id=only_project(connection))
        project_id = authenticate(connection, self.key_hash, self.allowed)
        note_use(connection, self.key_hash)
        return self._replace(found_project_id=project_id)

    def raise_if_refused(self, answer: Mapping[str, Any]) -> None:
        """Raise the error that a SQL function returned in `refused`, if there is one."""
        refusal = answer.get("refused")
        if refusal is None:
            return
        if refusal == "key_not_allowed":
            raise KeyNotAllowed(self.allowed)
        raise _REFUSALS[refusal]


_REFUSALS: Mapping[str, type[InvalidKey | SessionBelongsToAnotherUser]] = {
    "invalid_key": InvalidKey,
    "session_belongs_to_another_user": SessionBelongsToAnotherUser,
}


def hash_key(key: str | None) -> bytes:
    """The SHA-256 that the database stores of a key.

    Raises:
        MissingKey: there is no key.
    """
    if not key:
        raise MissingKey
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def authenticate(connection: Connection, key_hash: bytes, allowed: tuple[str, ...]) -> UUID:
    """The project of a key.

    Raises:
        InvalidKey: the key is unknown or revoked.
        KeyNotAllowed: the key's kind is not in `allowed`.
    """
    parameters = {"key_hash": key_hash, "kinds": list(allowed)}
    row = connection.execute(rows_of("authenticate", tuple(parameters)), parameters).fetchone()
    project_id, refused = row or (None, InvalidKey.code)
    Access(allowed=allowed).raise_if_refused({"refused": refused})
    return UUID(str(project_id))


def only_project(connection: Connection) -> UUID:
    """The database's only project.

    Raises:
        ProjectNotChosen: there are several projects, or none.
    """
    projects = connection.execute(query("auth/get_project_ids")).fetchall()
    if len(projects) != 1:
        raise ProjectNotChosen(len(projects))
    return UUID(str(projects[0][0]))


NOTED_FOR_SECONDS = 3600.0
# Key hash → when its use must be noted again. Only keys that the database knows get here.
_noted: dict[bytes, float] = {}


def note_use(connection: Connection, key_hash: bytes) -> None:
    """Note that the key was used, at most once an hour in each process. A failure is logged, not raised."""
    # Not the monotonic clock, which stops while the environment is frozen.
    now = time.time()
    if now < _noted.get(key_hash, 0.0):
        return
    _noted[key_hash] = now + NOTED_FOR_SECONDS
    try:
        call_value(connection, "note_key_use", {"key_hash": key_hash})
    except psycopg.Error as error:
        log("WARN", "key_use_not_noted", sqlstate=error.sqlstate, error=type(error).__name__)
