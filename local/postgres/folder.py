"""The folder of an embedded server: its lock, and the files next to the cluster."""

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

from local.ports import free_port, is_free
from local.postgres.binaries import SHARED, PostgresError, User, is_reachable

PORT_SECONDS = 10.0
HOLDER_SECONDS = 10.0


class PostgresFolder:
    """The folder of one server. It is locked against other processes until `close`."""

    def __init__(self, path: Path, user: User) -> None:
        self._user = user
        self.path = reachable_folder(path, user)
        if self.path.stat().st_uid not in (os.getuid(), user.uid):
            raise PostgresError(f"{self.path} belongs to another user. Remove it, or choose another folder.")
        self.give(self.path)
        self._lock = self._take_lock()
        self._sockets: Path | None = None
        self.port = 0

    @property
    def cluster(self) -> Path:
        """The cluster: the files of PostgreSQL. The folder exists once initdb has finished."""
        return self.path / "cluster"

    @property
    def cluster_name(self) -> str:
        """The name of the cluster, which the titles of its processes contain."""
        return f"muster-{hashlib.sha256(str(self.path).encode()).hexdigest()[:16]}"

    @property
    def log(self) -> Path:
        """The log of the server."""
        return self.path / "server.log"

    @property
    def password_file(self) -> Path:
        """The file with the superuser's password."""
        return self.path / "password"

    @property
    def password(self) -> str:
        """The superuser's password."""
        return self.password_file.read_text("ascii")

    def new_password(self) -> None:
        """Choose a new password for the superuser."""
        self.password_file.touch(mode=0o600)
        self.give(self.password_file)
        self.password_file.write_text(secrets.token_urlsafe(24), "ascii")

    def new_partial_cluster(self) -> Path:
        """An empty folder for initdb. Leftovers of earlier attempts are removed."""
        for left in self.path.glob("cluster.partial*"):
            # An initdb whose parent was killed may be removing the same files. The next start removes what remains.
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix="cluster.partial-", dir=self.path))
        self.give(partial)
        return partial

    def open_log(self) -> IO[bytes]:
        """Open the log for the server to write to."""
        log = self.log.open("ab")
        self.give(self.log)
        return log

    def end_of_log(self) -> str:
        """The last lines of the log."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-15:]])

    def choose_port(self, wanted: int) -> int:
        """Choose the port: `wanted`, or that of the last start if possible, or a free one.

        Raises:
            PostgresError: another program uses the port.
        """
        last_port = self.path / "port"
        must = wanted or self.port
        deadline = time.monotonic() + (PORT_SECONDS if self.port else 0)
        while must and not is_free(must):
            if time.monotonic() >= deadline:
                raise PostgresError(f"Another program uses port {must}. Choose another port.")
            time.sleep(0.05)
        last = int(last_port.read_text("ascii")) if last_port.exists() else 0
        port = must or (last if last and is_free(last) else free_port())
        last_port.write_text(str(port), "ascii")
        return port

    def sockets(self) -> Path:
        """The folder of the Unix socket."""
        if self._sockets is None:
            if self._sockets_record.exists():  # the process that made it was killed
                self._remove_sockets(Path(self._sockets_record.read_text("utf-8")))
            # The path of a socket has at most 107 bytes, so the folder needs a short name.
            self._sockets = Path(tempfile.mkdtemp(prefix="muster-", dir="/tmp"))
            self.give(self._sockets)
            self._sockets_record.write_text(str(self._sockets), "utf-8")
        return self._sockets

    def give(self, path: Path) -> None:
        """Make the server's user the owner of a file."""
        os.chown(path, self._user.uid, self._user.gid, follow_symlinks=False)

    def close(self) -> None:
        """Release the lock, and remove the folder of the socket."""
        if self._sockets is not None:
            self._remove_sockets(self._sockets)
            self._sockets_record.unlink()
            self._sockets = None
        self._lock.truncate(0)
        self._lock.close()

    @property
    def _sockets_record(self) -> Path:
        return self.path / "sockets"

    def _remove_sockets(self, folder: Path) -> None:
        try:
            found = folder.lstat()
        except FileNotFoundError:  # systems delete old temporary files
            return
        # Another program may use the name by now.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == self._user.uid:
            shutil.rmtree(folder)

    def _take_lock(self) -> IO[str]:
        lock = (self.path / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(lock)
            lock.close()
            message = f"Process {holder} uses the database in {self.path}. Stop that process first."
            raise PostgresError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock


def _read_holder(lock: IO[str]) -> str:
    deadline = time.monotonic() + HOLDER_SECONDS
    while time.monotonic() < deadline:
        lock.seek(0)
        if holder := lock.read().strip():
            return holder
        time.sleep(0.02)  # it holds the lock and is about to write its id
    return "unknown"


def reachable_folder(folder: Path, user: User) -> Path:
    """Make the folder for the data. If the user may not enter a folder above it, make one under /var/tmp instead."""
    folder = folder.resolve()
    if user.uid == os.getuid():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    for parent in reversed([path for path in folder.parents if not path.exists()]):
        parent.mkdir(exist_ok=True)
        parent.chmod(0o755)  # despite the umask
    if not is_reachable(folder.parent, user):
        folder = SHARED / f"muster-data-{user.uid}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
        if folder.is_symlink():  # anyone may write to /var/tmp, so a link in it can lead anywhere
            raise PostgresError(f"{folder} was not made by this program. Remove it.")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
