"""An embedded PostgreSQL: its data is in a folder, and it stops when this process ends."""

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
    """A PostgreSQL server. Its address stays the same over stop, kill and start."""

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
        """The folder of the data: the one given, or another that the server's user can reach."""
        return self._folder.path

    @property
    def port(self) -> int:
        """The port on the loopback interface. 0 before the first start."""
        return self._folder.port

    @property
    def url(self) -> str:
        """The superuser's URL, over TCP on the loopback interface."""
        return self._url_of(LOGIN)

    @property
    def socket_url(self) -> str:
        """The superuser's URL, over the Unix socket."""
        return f"postgresql://{LOGIN}:{self._folder.password}@/{LOGIN}?host={self._folder.sockets()}&port={self.port}"

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        if self._process is None:
            raise PostgresError("The server is not running.")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it accepts connections. Make a cluster if there is none.

        Raises:
            PostgresError: the server does not start; the message ends with its log.
        """
        if self._process is not None:
            if self._process.poll() is None:
                raise PostgresError(f"The server already runs as process {self.pid}.")
            self.stop()  # it ended by itself; clean up
        wait_for_an_orphan(self._folder.cluster)
        end_stragglers(self._folder.cluster_name)
        self._ensure_cluster()
        for attempt in range(1, START_ATTEMPTS + 1):
            port = self._folder.choose_port(self._wanted_port)
            try:
                self._start_on(port)
            except PostgresError:
                # Another program may have taken the port since we looked.
                if self._wanted_port or self.port or is_free(port) or attempt == START_ATTEMPTS:
                    raise
                continue
            self._folder.port = port
            return

    def stop(self, *, immediate: bool = False) -> None:
        """Close all connections, write the data to disk and stop. With `immediate` the next start recovers it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            wait(self._process, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill all processes of the server, as a power failure would."""
        if self._process is None:
            return
        if self._process.poll() is None:
            kill_with_children(self._process.pid)
        wait(self._process, STOP_SECONDS)
        self._process = None

    def forget(self) -> None:
        """Delete the cluster and its data. The next start makes a new one."""
        self.stop()
        wait_for_an_orphan(self._folder.cluster)
        end_stragglers(self._folder.cluster_name)
        if self._folder.cluster.exists():
            shutil.rmtree(self._folder.cluster)

    def close(self) -> None:
        """Stop, and release the folder for other processes."""
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

    def _ensure_cluster(self) -> None:
        programs = major_version(self._binaries)
        version = self._folder.cluster / "PG_VERSION"
        if not version.exists():
            self._initialise(programs)
        elif (made_by := version.read_text("ascii").strip()) != str(programs):
            raise PostgresError(
                f"PostgreSQL {made_by} made the data in {self.data}, but {self._binaries} is PostgreSQL {programs}. "
                "Start with an empty database: make run FRESH=1"
            )

    def _initialise(self, programs: int) -> None:
        self._folder.new_password()
        partial = self._folder.new_partial_cluster()
        locale = ["--locale=C"]
        if programs >= 17:  # noqa: PLR2004 - older versions lack this provider
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
        # A process killed before this line leaves no half-made cluster.
        partial.rename(self._folder.cluster)

    def _start_on(self, port: int) -> None:
        settings = {
            "cluster_name": self._folder.cluster_name,
            **self._settings,
            "port": str(port),
            "unix_socket_directories": str(self._folder.sockets()),
        }
        # The settings are in a file, so this also works: pg_ctl start -D …/cluster
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
                raise PostgresError(f"PostgreSQL ended during its start.\n{self._folder.end_of_log()}")
            try:
                with psycopg.connect(
                    self._url_of("postgres", port=port), autocommit=True, connect_timeout=5
                ) as connection:
                    _create_database(connection)
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    message = f"PostgreSQL does not accept connections: {error}\n{self._folder.end_of_log()}"
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
    """Start a server on the data in a folder. Use it as a context manager.

    `port` 0 means the last port, or a free one. `durable=False` is for tests: a power failure would damage the data.
    `fresh` deletes the data first.

    Raises:
        PostgresError: another process uses the folder, or the server does not start.
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
