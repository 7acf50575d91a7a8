"""Notes when keys were used, to the hour: once an hour for each process and key, and never in a request's way."""

import time

import psycopg

from muster.database import Connection
from muster.observability import log
from muster.sql import query

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
        connection.execute(query("note_key_use"), {"key_hash": key_hash})
    except psycopg.Error as error:
        log("WARN", "key_use_not_noted", sqlstate=error.sqlstate, error=type(error).__name__)
