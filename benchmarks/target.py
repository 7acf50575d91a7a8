"""Starts a Muster for one benchmark: a migrated server that commits to disk, with a project and its keys."""

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from local.postgres import start_postgres
from muster.db.migrate import migrate
from muster.projects.projects import create_key, create_project

ROOT = Path(__file__).resolve().parents[1]
# The memory of a small instance, and no checkpoint during one candidate's block.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "autovacuum_naptime": "5s"}


@dataclass(frozen=True)
class Target:
    """A server to measure."""

    url: str
    """The superuser's URL."""
    project_id: UUID
    write_key: str
    read_key: str
    admin_key: str

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A new autocommit connection of the superuser."""
        return psycopg.connect(self.url, autocommit=True)


@contextmanager
def own_target(*, settings: Mapping[str, str] = SETTINGS) -> Iterator[Target]:
    """Start a server with these settings and migrate it. Stop it at the end and delete its data."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with start_postgres(folder / "data", settings=settings) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                with redirect_stdout(io.StringIO()):  # a log line for programs
                    migrate(connection, ROOT / "migrations")
                project_id = create_project(connection, "benchmark")
                keys = {kind: create_key(connection, project_id, kind) for kind in ("write", "read", "admin")}
            yield Target(server.url, project_id, keys["write"], keys["read"], keys["admin"])
