"""Who asks: a key, hashed before it goes anywhere, or without one the database's only project."""

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
    """Who asks, what for, and for which project."""

    key_hash: bytes | None = None
    """The SHA-256 of the key. None acts for the database's only project."""
    key_prefix: str = ""
    """The key's first characters, which show its kind."""
    request_id: str = ""
    user_agent: str = ""
    opts_out: bool = False
    """Whether the browser sent Sec-GPC or DNT."""
    allowed: tuple[str, ...] = ()
    """The kinds of key that the operation allows."""
    found_project_id: UUID | None = None
    """The key's project, once look_up has found it."""

    @property
    def project_id(self) -> UUID:
        """The key's project.

        Raises:
            LookupError: nothing has looked the key up; a SQL function that takes the key checks it instead.
        """
        if self.found_project_id is None:
            raise LookupError("The key was not looked up; call look_up first.")
        return self.found_project_id

    def look_up(self, connection: Connection) -> "Access":
        """This access with the key's project, and the use of the key noted.

        Raises:
            InvalidKey: the key is unknown or revoked.
            KeyNotAllowed: the key is of a kind that the operation does not allow.
            ProjectNotChosen: there is no key, and the database has several projects or none.
        """
        if self.key_hash is None:
            return self._replace(found_project_id=only_project(connection))
        project_id = authenticate(connection, self.key_hash, self.allowed)
        note_use(connection, self.key_hash)
        return self._replace(found_project_id=project_id)

    def raise_if_refused(self, answer: Mapping[str, Any]) -> None:
        """Raise the error that a SQL function names in `refused`; do nothing where it names none."""
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
    """The SHA-256 by which the database knows a key.

    Raises:
        MissingKey: when there is none.
    """
    if not key:
        raise MissingKey
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def authenticate(connection: Connection, key_hash: bytes, allowed: tuple[str, ...]) -> UUID:
    """The project that a key opens.

    Raises:
        InvalidKey: the key is unknown or revoked.
        KeyNotAllowed: the key is of a kind that is not in `allowed`.
    """
    parameters = {"key_hash": key_hash, "kinds": list(allowed)}
    row = connection.execute(rows_of("authenticate", tuple(parameters)), parameters).fetchone()
    project_id, refused = row or (None, InvalidKey.code)
    Access(allowed=allowed).raise_if_refused({"refused": refused})
    return UUID(str(project_id))


def only_project(connection: Connection) -> UUID:
    """The database's project, where there is exactly one.

    Raises:
        ProjectNotChosen: there are several, or none.
    """
    projects = connection.execute(query("auth/get_project_ids")).fetchall()
    if len(projects) != 1:
        raise ProjectNotChosen(len(projects))
    return UUID(str(projects[0][0]))


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
