"""Starts a PostgreSQL on this machine."""

from local.postgres.binaries import PostgresError, find_binaries
from local.postgres.server import Postgres, start_postgres

__all__ = ["Postgres", "PostgresError", "find_binaries", "start_postgres"]
