"""A complete Muster that faults may break: database, link, functions and AWS's services."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from local.postgres import Postgres, start_postgres
from muster.db.migrate import migrate
from tests.faults.aws import KEY, AwsServices, aws_services
from tests.faults.disk import small_disk
from tests.faults.function_log import FunctionLog
from tests.faults.functions import serve_api
from tests.faults.link import Link
from tests.faults.waiting import wait_until
from tests.support.databases import MIGRATIONS, Project, make_project
from tests.support.folders import open_folder

Mode = Literal["direct", "buffered"]
"""Ingest stores a batch before it answers (direct), or queues it for the queue consumer (buffered)."""

LOGIN = "app"
LOCK_TIMEOUT = "500ms"
# Short, so that a locked table soon fails statements.
TIMEOUTS = {"statement_timeout": "1500ms", "lock_timeout": LOCK_TIMEOUT}
SERVER_SETTINGS = {
    "max_connections": "30",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "deadlock_timeout": "100ms",
    "shared_buffers": "32MB",
}


@dataclass
class FaultEnvironment:
    """What the faults break."""

    mode: Mode
    server: Postgres
    link: Link
    """Between the functions and the server."""
    disk: Path | None
    """The server's own disk; None if this machine does not allow one."""
    aws: AwsServices
    project: Project
    url: str = ""
    """Of the API."""
    log: FunctionLog = field(default_factory=FunctionLog)
    _password: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A superuser's connection to the server, without the link."""
        return psycopg.connect(self.server.url, autocommit=True, connect_timeout=5, **options)

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def ensure_server_runs(self) -> None:
        """Restart the server if it does not answer."""
        with self._lock:
            if not self.server_answers():
                self.server.kill()
                self.server.start()

    def server_answers(self) -> bool:
        """Whether the server runs a statement."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def change_password(self, rng: random.Random) -> None:
        """Rotate the login: the database gets the new password first, then the secret."""
        self._password = f"{rng.getrandbits(64):x}"
        self.execute(f"ALTER ROLE {LOGIN} PASSWORD '{self._password}'")
        self.aws.secrets.put_secret_value(SecretId=self.aws.secret, SecretString=self.login_url(self.link.port))

    def login_url(self, port: int) -> str:
        """The URL of the functions' login at the link's or the server's port."""
        database = urlsplit(self.server.url).path
        return urlunsplit(("postgresql", f"{LOGIN}:{self._password}@127.0.0.1:{port}", database, "", ""))

    def function_processes(self) -> list[psutil.Process]:
        """The processes that run functions."""
        children = psutil.Process().children(recursive=True)
        return [each for each in children if any(part.endswith("runtime.py") for part in _command(each))]

    def function_variables(self, mode: Mode) -> dict[str, str]:
        """The environment variables of functions."""
        return {
            "DATABASE_URL": "",
            "DATABASE_PREPARES": "on",
            "DATABASE_SECRET_ARN": self.aws.secret,
            "INGEST_MODE": mode,
            "QUEUE_URL": self.aws.queue_url,
            "STAGE": "faults",
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "NO_PROXY": "127.0.0.1",
        }

    def wait_for_stored_batch(self) -> None:
        """Wait until a function has stored one more batch."""
        start = self.log.length
        wait_until(lambda: self.log.stored_batches(start), "No function stored a batch")

    def wait_for_database_error(self, sqlstate: str | None = None) -> None:
        """Wait until one more request or message has failed because of the database, with any or with this SQLSTATE."""
        start = self.log.length
        wait_until(
            lambda: any(sqlstate in (None, line["sqlstate"]) for line in self.log.database_errors(start)),
            f"No function failed with the SQLSTATE {sqlstate}" if sqlstate else "No function met the fault",
        )


@contextmanager
def fault_environment(rng: random.Random, *, mode: Mode) -> Iterator[FaultEnvironment]:
    """A new environment that serves the API."""
    with (
        open_folder(in_memory=True) as folder,
        small_disk(folder / "disk") as disk,
        start_postgres((disk or folder) / "data", settings=SERVER_SETTINGS) as server,
        Link(server.port) as link,
        aws_services() as aws,
    ):
        _prepare_database(server.url)
        environment = FaultEnvironment(mode, server, link, disk, aws, make_project(server.url))
        aws.secrets.create_secret(Name=aws.secret, SecretString="replaced below")
        environment.change_password(rng)
        with serve_api(environment.function_variables(mode), environment.log) as api:
            environment.url = api.url
            yield environment
            environment.ensure_server_runs()


def _prepare_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection, MIGRATIONS)
        connection.execute(f"CREATE ROLE {LOGIN} LOGIN NOINHERIT")
        connection.execute(f"GRANT muster_ingest, muster_people TO {LOGIN}")
        for name, value in TIMEOUTS.items():
            connection.execute(f"ALTER ROLE muster_ingest SET {name} = '{value}'")


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []  # it has just ended
