"""Migrated databases for tests: cheap copies of a template that each test process makes once."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
from psycopg import sql

from local.postgres import Postgres, start_postgres
from muster.auth.keys import Access
from muster.db.migrate import migrate
from muster.projects.projects import create_key, create_project
from tests.support.folders import open_folder

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
TEMPLATE = "muster_template"
KINDS = ("write", "read", "admin")


@dataclass(frozen=True)
class Project:
    """A project and its keys in clear, by kind."""

    id: Any
    keys: dict[str, str]


@dataclass
class Cluster:
    """A server of this test process, with a migrated template database."""

    server: Postgres
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def prepare(self) -> None:
        """Migrate the template, once."""
        with self.maintenance() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        with psycopg.connect(self.url_of(TEMPLATE), autocommit=True) as connection:
            migrate(connection, MIGRATIONS)

    @contextmanager
    def database(self, *, template: str = TEMPLATE) -> Iterator[str]:
        """The superuser's URL of a new database, dropped afterwards; of `template0` it is an empty one."""
        name = sql.Identifier(f"test_{os.getpid()}_{next(self._numbers)}")
        with self.maintenance() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(name, sql.Identifier(template))
            )
        try:
            yield self.url_of(name.as_string().strip('"'))
        finally:
            with self.maintenance() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def maintenance(self) -> psycopg.Connection[Any]:
        """A connection to the server's own database, for statements about others."""
        return psycopg.connect(self.url_of("postgres"), autocommit=True)

    def url_of(self, name: str) -> str:
        """The superuser's URL of a database of this server."""
        return urlunsplit(urlsplit(self.server.url)._replace(path=f"/{name}"))


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server without fsync, in memory if the machine allows it, of the programs that POSTGRES names."""
    chosen = os.environ.get("POSTGRES")
    binaries = Path(chosen) if chosen else None
    with (
        open_folder(in_memory=True) as folder,
        start_postgres(folder / "data", durable=False, binaries=binaries) as server,
    ):
        made = Cluster(server)
        made.prepare()
        yield made


def access_to(project_id: UUID) -> Access:
    """Access to a project, as a topic gets it once the key was looked up."""
    return Access(found_project_id=project_id)


def make_project(database_url: str, name: str = "tests") -> Project:
    """A project with one key of each kind."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return add_project(connection, name)


def add_project(connection: psycopg.Connection[Any], name: str) -> Project:
    """Create the project with an open connection."""
    project_id = create_project(connection, name)
    return Project(project_id, {kind: create_key(connection, project_id, kind, "tests") for kind in KINDS})
