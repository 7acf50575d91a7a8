"""An embedded PostgreSQL: started here, kept in a folder, and gone when this process is."""

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from local.ports import is_free
from local.postgres.binaries import PostgresError, find_binaries, major_version, reachable_binaries, server_user
from local.postgres.folder import PostgresFolder
from local.postgres.processes import STOP_SECONDS, end_stragglers, kill_with_children, launch, wait, wait_for_an_orphan

LOGIN = "muster"
CONFIGURATION = "muster.conf"
START_SECONDS = 60.0
START_ATTEMPTS = 3
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A server that we started. Its address stays the same over stop, kill and start."""

    def __init__(
        self,
        data: Path,
        *,
        port: int = 0,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        self._user = server_user()
        self._binaries = reachable_binaries(binaries or find_binaries(), self._user)
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted_port = port
        self._folder = PostgresFolder(data, self._user)

    @property
    def data(self) -> Path:
        """The folder in use: the one asked for, or one that the server's user can reach."""
        return self._folder.path

    @property
    def port(self) -> int:
        """On the loopback interface; 0 before the first start."""
        return self._folder.port

    @property
    def url(self) -> str:
        """Of the superuser, over TCP on the loopback interface."""
        return self._url_of(LOGIN)

    @property
    def socket_url(self) -> str:
        """Of the superuser, over the Unix socket."""
        return f"postgresql://{LOGIN}:{self._folder.password}@/{LOGIN}?host={self._folder.sockets()}&port={self.port}"

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        if self._process is None:
            raise PostgresError("The server is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start, making the cluster first if there is none; return when it answers.

        Raises:
            PostgresError: it does not start; the message ends with its log.
        """
        if self._process is not None:
            if self._process.poll() is None:
                raise PostgresError(f"The server is running already, as process {self.pid}.")
            self.stop()  # it ended without us; what is left of it is put away
        wait_for_an_orphan(self._folder.cluster)
        end_stragglers(self._folder.cluster_name)
        self._have_a_cluster()
        for attempt in range(1, START_ATTEMPTS + 1):
            port = self._folder.choose_port(self._wanted_port)
            try:
                self._start_on(port)
            except PostgresError:
                # Between our look at the port and the server's, another program may have taken it.
                if self._wanted_port or self.port or is_free(port) or attempt == START_ATTEMPTS:
                    raise
                continue
            self._folder.port = port
            return

    def stop(self, *, immediate: bool = False) -> None:
        """Stop: connections are closed and what is committed is written; `immediate` leaves that to the next start."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            wait(self._process, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End all its processes at once, as a loss of power would."""
        if self._process is None:
            return
        if self._process.poll() is None:
            kill_with_children(self._process.pid)
        wait(self._process, STOP_SECONDS)
        self._process = None

    def forget(self) -> None:
        """Remove the cluster and all that is in it; the next start makes a new one."""
        self.stop()
        wait_for_an_orphan(self._folder.cluster)
        end_stragglers(self._folder.cluster_name)
        if self._folder.cluster.exists():
            shutil.rmtree(self._folder.cluster)

    def close(self) -> None:
        """Stop, and let another process use the folder."""
        self.stop()
        self._folder.close()

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _url_of(self, database: str, *, port: int = 0) -> str:
        return f"postgresql://{LOGIN}:{self._folder.password}@127.0.0.1:{port or self.port}/{database}"

    def _have_a_cluster(self) -> None:
        programs = major_version(self._binaries)
        version = self._folder.cluster / "PG_VERSION"
        if not version.exists():
            self._initialise(programs)
        elif (made_by := version.read_text("ascii").strip()) != str(programs):
            raise PostgresError(
                f"The data in {self.data} was made by PostgreSQL {made_by}, and {self._binaries} is {programs}. "
                "Start over without it: make run FRESH=1"
            )

    def _initialise(self, programs: int) -> None:
        self._folder.new_password()
        partial = self._folder.new_partial_cluster()
        locale = ["--locale=C"]
        if programs >= 17:  # noqa: PLR2004 - the first with this provider
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with self._folder.open_log() as log:
            command = [
                str(self._binaries / "initdb"), "-D", str(partial), "-E", "UTF8", *locale, "--username", LOGIN,
                "--pwfile", str(self._folder.password_file), "--auth=scram-sha-256", "--no-sync", "--no-instructions",
            ]  # fmt: skip
            process = launch(command, self._user, output=log)
            try:
                code = wait(process, START_SECONDS)
            except subprocess.TimeoutExpired:
                kill_with_children(process.pid)
                code = wait(process, STOP_SECONDS)
        if code != 0:
            raise PostgresError(f"initdb failed.\n{self._folder.end_of_log()}")
        with (partial / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"include_if_exists = '{CONFIGURATION}'\n")
        # Whoever is killed before this line leaves no half of a cluster behind.
        partial.rename(self._folder.cluster)

    def _start_on(self, port: int) -> None:
        settings = {
            "cluster_name": self._folder.cluster_name,
            **self._settings,
            "port": str(port),
            "unix_socket_directories": str(self._folder.sockets()),
        }
        # In a file of the cluster's, so that it also starts right by hand: pg_ctl start -D …/cluster
        configuration = self._folder.cluster / CONFIGURATION
        configuration.write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()), "utf-8")
        self._folder.give(configuration)
        with self._folder.open_log() as log:
            command = [str(self._binaries / "postgres"), "-D", str(self._folder.cluster)]
            self._process = launch(command, self._user, output=log)
        try:
            self._wait_until_it_answers(self._process, port)
        except BaseException:
            self.stop(immediate=True)
            raise

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None:
                raise PostgresError(f"The server ended while it started.\n{self._folder.end_of_log()}")
            try:
                with psycopg.connect(
                    self._url_of("postgres", port=port), autocommit=True, connect_timeout=5
                ) as connection:
                    _create_database(connection)
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    message = f"The server does not answer: {error}\n{self._folder.end_of_log()}"
                    raise PostgresError(message) from error
            time.sleep(0.02)


def start_postgres(
    data: Path,
    *,
    port: int = 0,
    durable: bool = True,
    settings: Mapping[str, str] | None = None,
    binaries: Path | None = None,
    fresh: bool = False,
) -> Postgres:
    """A running server on the data in a folder, to be used as a context manager.

    `port` 0 keeps the last one, or takes a free one. `durable=False` is for tests: a loss of power would harm the data.
    `fresh` starts over without the data that is there.

    Raises:
        PostgresError: the folder is in use, or the server does not start.
    """
    server = Postgres(data, port=port, durable=durable, settings=settings, binaries=binaries)
    try:
        if fresh:
            server.forget()
        server.start()
    except BaseException:
        server.close()
        raise
    return server


def _create_database(connection: psycopg.Connection[Any]) -> None:
    if connection.execute("SELECT FROM pg_database WHERE datname = %s", (LOGIN,)).fetchone() is None:
        connection.execute(f"CREATE DATABASE {LOGIN}")
