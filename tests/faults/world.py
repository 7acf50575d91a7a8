"""A whole Muster that may be broken: a durable server on a disk that can be full, a link, functions, AWS's services."""

import json
import logging
import os
import random
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
import psutil
import psycopg
from moto.server import ThreadedMotoServer

from local.gateway.logs import FunctionLogs
from local.gateway.server import local_api
from local.postgres import Postgres, start_postgres
from muster.db.migrate import migrate
from tests.faults.link import Link
from tests.support.databases import MIGRATIONS, Project, make_project
from tests.support.folders import open_folder

DISK = "256m"
REGION = "us-east-1"
LOGIN = "app"
# Little, so that faults last longer than what functions wait for.
TIMEOUTS = {"statement_timeout": "1500ms", "lock_timeout": "500ms"}
SETTINGS = {
    "max_connections": "30",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "deadlock_timeout": "100ms",
    "shared_buffers": "32MB",
}


@dataclass
class World:
    """What faults are made in."""

    server: Postgres
    link: Link
    disk: Path | None
    """The mounted disk that the server is on; none where it cannot be mounted."""
    url: str
    project: Project
    secrets: Any
    sqs: Any
    queue_url: str
    logs: Path
    aws_url: str
    chance: random.Random
    struck: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    folds: int = 0
    broken_folds: int = 0
    password: str = ""
    secret: str = field(default_factory=lambda: f"database-{uuid.uuid4()}")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection to the server itself, as its owner, not by way of the link."""
        return psycopg.connect(self.server.url, autocommit=True, connect_timeout=5, **options)

    def execute(self, statement: str) -> None:
        """Run one statement as the owner."""
        with self.connect() as connection:
            connection.execute(statement.encode())

    def be_up(self) -> None:
        """Have the server run and take writes, whatever became of it."""
        with self._lock:
            if not self.answers():
                self.server.kill()
                self.server.start()

    def answers(self) -> bool:
        """Whether the server does."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def waiting_messages(self) -> int:
        """Messages in the queue, those that are being stored included."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=list(names))["Attributes"]
        return sum(int(found[name]) for name in names)

    def new_password(self) -> None:
        """Rotate the credentials: first the database knows the new password, then the secret."""
        self.password = f"{self.chance.getrandbits(64):x}"
        self.execute(f"ALTER ROLE {LOGIN} PASSWORD '{self.password}'")
        self.secrets.put_secret_value(SecretId=self.secret, SecretString=self.login)

    @property
    def login(self) -> str:
        """The functions' way to the database."""
        database = urlsplit(self.server.url).path
        return urlunsplit(("postgresql", f"{LOGIN}:{self.password}@127.0.0.1:{self.link.port}", database, "", ""))

    def function_processes(self) -> list[psutil.Process]:
        """The environments in which functions run."""
        children = psutil.Process().children(recursive=True)
        return [each for each in children if any(part.endswith("runtime.py") for part in _command(each))]

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """What functions logged, as far as it is JSON."""
        for file in self.logs.rglob("*.log"):
            for line in file.read_text("utf-8").splitlines():
                if line.startswith("{"):
                    yield json.loads(line)


@contextmanager
def world(seed: int, *, mode: str) -> Iterator[World]:
    """A new one; the same seed strikes the same faults, as far as the machine's timing lets it."""
    with (
        open_folder(in_memory=True) as folder,
        small_disk(folder / "disk") as disk,
        start_postgres((disk or folder) / "data", settings=SETTINGS) as server,
        Link(server.port) as link,
        moto_server() as aws,
    ):
        with psycopg.connect(server.url, autocommit=True) as connection:
            migrate(connection, MIGRATIONS)
            connection.execute(f"CREATE ROLE {LOGIN} LOGIN NOINHERIT")
            connection.execute(f"GRANT muster_ingest, muster_people TO {LOGIN}")
            for name, value in TIMEOUTS.items():
                connection.execute(f"ALTER ROLE muster_ingest SET {name} = '{value}'")
        made = World(
            server=server, link=link, disk=disk, url="", queue_url="", logs=folder / "logs", aws_url=aws["url"],
            project=make_project(server.url), secrets=aws["secretsmanager"], sqs=aws["sqs"],
            chance=random.Random(seed),  # noqa: S311 - faults, not secrets
        )  # fmt: skip
        made.secrets.create_secret(Name=made.secret, SecretString="to come")
        made.new_password()
        made.queue_url = _queue(made.sqs)
        with local_api(
            environment=environment(made, mode), parameters={"DatabaseMode": "external"},
            logs=FunctionLogs(directory=made.logs),
        ) as api:  # fmt: skip
            made.url = api.url
            yield made
            made.be_up()


def environment(made: World, mode: str) -> dict[str, str]:
    """What functions of this world have in their environments."""
    return {
        "DATABASE_URL": "",
        "DATABASE_PREPARES": "on",
        "DATABASE_SECRET_ARN": made.secret,
        "INGEST_MODE": mode,
        "QUEUE_URL": made.queue_url,
        "STAGE": "faults",
        "AWS_ENDPOINT_URL": made.aws_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def small_disk(path: Path) -> Iterator[Path | None]:
    """A disk of its own at a path; none without the right to mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "muster-faults", str(path)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def moto_server() -> Iterator[Mapping[str, Any]]:
    """AWS's services by HTTP, with a client for each that is used."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        make: Any = boto3.client
        clients = {
            name: make(
                name, endpoint_url=url, region_name=REGION, aws_access_key_id="testing",
                aws_secret_access_key="testing",  # noqa: S106 - moto takes any
            )
            for name in ("secretsmanager", "sqs")
        }  # fmt: skip
        yield {"url": url, **clients}
    finally:
        server.stop()


def _queue(sqs: Any) -> str:
    attributes = {"MaximumMessageSize": "1048576", "VisibilityTimeout": "1"}
    return str(sqs.create_queue(QueueName=f"muster-{uuid.uuid4()}", Attributes=attributes)["QueueUrl"])


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []  # it has just ended
