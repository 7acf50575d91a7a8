"""An embedded PostgreSQL: started here, kept in a folder, and gone when this process is."""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import psycopg

from local.postgres_files import (
    PostgresError,
    find_binaries,
    major_version,
    reachable_binaries,
    reachable_folder,
    server_user,
)

__all__ = ["Postgres", "PostgresError", "find_binaries", "start_postgres"]

LOGIN = "muster"
CONFIGURATION = "muster.conf"
LAUNCHER = Path(__file__).with_name("launcher.py")
START_SECONDS = 60.0
STOP_SECONDS = 20.0
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
        self.data = reachable_folder(data, self._user)
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._make_folder()
        self._lock = self._take_lock()
        self._wanted_port = port
        self.port = 0

    @property
    def url(self) -> str:
        """Of the superuser, over TCP on the loopback interface."""
        return f"postgresql://{LOGIN}:{self._password()}@127.0.0.1:{self.port}/{LOGIN}"

    @property
    def socket_url(self) -> str:
        """Of the superuser, over the Unix socket."""
        return f"postgresql://{LOGIN}:{self._password()}@/{LOGIN}?host={self._sockets}&port={self.port}"

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
        self._wait_for_an_orphan()
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        self.port = self._choose_port()
        self._sockets = self._sockets or self._make_socket_folder()
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self._sockets)}
        # In a file of the cluster's, so that it also starts right by hand: pg_ctl start -D …/cluster
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (self._cluster / CONFIGURATION).write_text("".join(lines), "utf-8")
        with self._log.open("ab") as log:
            self._process = self._launch("postgres", "-D", str(self._cluster), output=log)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop(immediate=True)
            raise

    def stop(self, *, immediate: bool = False) -> None:
        """Stop: connections are closed and what is committed is written; `immediate` leaves that to the next start."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End all its processes at once, as a loss of power would."""
        if self._process is None:
            return
        children = _children_of(self._process.pid)
        for pid in (self._process.pid, *children):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(STOP_SECONDS)
        self._process = None

    def forget(self) -> None:
        """Remove the cluster and all that is in it; the next start makes a new one."""
        self.stop()
        self._wait_for_an_orphan()
        if self._cluster.exists():
            shutil.rmtree(self._cluster)

    def close(self) -> None:
        """Stop, and let another process use the folder."""
        self.stop()
        if self._sockets is not None:
            shutil.rmtree(self._sockets)
            self._sockets = None
        self._lock.close()

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _cluster(self) -> Path:
        return self.data / "cluster"

    @property
    def _log(self) -> Path:
        return self.data / "server.log"

    def _password(self) -> str:
        return (self.data / "password").read_text("ascii")

    def _make_folder(self) -> None:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.data.stat().st_uid not in (os.getuid(), self._user.uid):
            raise PostgresError(f"{self.data} belongs to another user; remove it or choose another folder.")
        os.chown(self.data, self._user.uid, self._user.gid)

    def _take_lock(self) -> IO[str]:
        lock = (self.data / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            message = f"The database in {self.data} is in use by process {holder}; stop that one first."
            raise PostgresError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def _wait_for_an_orphan(self) -> None:
        """A server whose parent was killed is told so by the kernel, and takes a moment to stop."""
        deadline = time.monotonic() + STOP_SECONDS
        while (pid := self._orphan()) is not None:
            if time.monotonic() > deadline:
                raise PostgresError(f"Process {pid} still serves {self.data}; stop it first: kill -INT {pid}")
            time.sleep(0.05)

    def _orphan(self) -> int | None:
        try:
            pid = int((self._cluster / "postmaster.pid").read_text("utf-8").splitlines()[0])
            os.kill(pid, 0)
        except (FileNotFoundError, IndexError, ValueError, ProcessLookupError):
            return None
        except PermissionError:  # alive, and another user's: not ours
            return None
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and str(self._cluster).encode() not in command.read_bytes():
            return None
        return pid

    def _initialise(self) -> None:
        password = self.data / "password"
        partial = self.data / "cluster.partial"
        if partial.exists():
            shutil.rmtree(partial)
        password.touch(mode=0o600)
        os.chown(password, self._user.uid, self._user.gid)
        password.write_text(secrets.token_urlsafe(24), "ascii")
        locale = ["--locale=C"]
        if major_version(self._binaries) >= 17:  # noqa: PLR2004 - the first with this provider
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with self._log.open("ab") as log:
            os.chown(self._log, self._user.uid, self._user.gid)
            process = self._launch(
                "initdb", "-D", str(partial), "-E", "UTF8", *locale, "--username", LOGIN, "--pwfile", str(password),
                "--auth=scram-sha-256", "--no-sync", "--no-instructions", output=log,
            )  # fmt: skip
            if process.wait(START_SECONDS) != 0:
                raise PostgresError(f"initdb failed.\n{self._end_of_log()}")
        with (partial / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"include_if_exists = '{CONFIGURATION}'\n")
        # Whoever is killed before this line leaves no half of a cluster behind.
        partial.rename(self._cluster)

    def _launch(self, program: str, *arguments: str, output: IO[bytes]) -> "subprocess.Popen[bytes]":
        launcher = [sys.executable, "-I", str(LAUNCHER), str(os.getpid()), str(self._user.uid), str(self._user.gid)]
        return subprocess.Popen(
            [*launcher, str(self._binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        )

    def _choose_port(self) -> int:
        kept = self.data / "port"
        if self._wanted_port and not _is_free(self._wanted_port):
            raise PostgresError(f"Port {self._wanted_port} is taken; choose another.")
        last = int(kept.read_text("ascii")) if kept.exists() else 0
        chosen = self._wanted_port or (last if last and _is_free(last) else _free_port())
        kept.write_text(str(chosen), "ascii")
        return chosen

    def _make_socket_folder(self) -> Path:
        # Short: a socket's path has at most 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="muster-", dir="/tmp"))
        os.chown(folder, self._user.uid, self._user.gid)
        return folder

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        url = f"{self.url.rpartition('/')[0]}/postgres"
        while True:
            if self._process is None or self._process.poll() is not None:
                raise PostgresError(f"The server ended while it started.\n{self._end_of_log()}")
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                    _create_database(connection)
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresError(f"The server does not answer: {error}\n{self._end_of_log()}") from error
            time.sleep(0.02)

    def _end_of_log(self) -> str:
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self._log}:", *lines[-15:]])


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


def _children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
