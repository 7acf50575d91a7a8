"""The folder of an embedded server: who holds it, and what is kept in it beside the cluster."""

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
from local.postgres.binaries import PostgresError, User, reachable_folder

PORT_SECONDS = 10.0


class PostgresFolder:
    """A folder of ours, held against other processes until it is closed."""

    def __init__(self, path: Path, user: User) -> None:
        self._user = user
        self.path = reachable_folder(path, user)
        if self.path.stat().st_uid not in (os.getuid(), user.uid):
            raise PostgresError(f"{self.path} belongs to another user; remove it or choose another folder.")
        self.give(self.path)
        self._lock = self._take_lock()
        self._sockets: Path | None = None
        self.port = 0

    @property
    def cluster(self) -> Path:
        """Where PostgreSQL keeps its files; there as soon as they are whole."""
        return self.path / "cluster"

    @property
    def cluster_name(self) -> str:
        """What the server's processes carry in their titles."""
        return f"muster-{hashlib.sha256(str(self.path).encode()).hexdigest()[:16]}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.path / "server.log"

    @property
    def password_file(self) -> Path:
        """The superuser's password."""
        return self.path / "password"

    @property
    def password(self) -> str:
        """The superuser's password."""
        return self.password_file.read_text("ascii")

    def new_password(self) -> None:
        """Choose the superuser's password."""
        self.password_file.touch(mode=0o600)
        self.give(self.password_file)
        self.password_file.write_text(secrets.token_urlsafe(24), "ascii")

    def new_partial_cluster(self) -> Path:
        """An empty folder to make the cluster in; what is left of earlier attempts is removed."""
        for left in self.path.glob("cluster.partial*"):
            # An initdb whose parent was killed removes its files at the same moment; what stays goes the next time.
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix="cluster.partial-", dir=self.path))
        self.give(partial)
        return partial

    def open_log(self) -> IO[bytes]:
        """To be written to by the server."""
        log = self.log.open("ab")
        self.give(self.log)
        return log

    def end_of_log(self) -> str:
        """The last lines that the server said."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-15:]])

    def choose_port(self, wanted: int) -> int:
        """The wanted one; of a server that ran before, and of an earlier run if it is free, the same; or a free one.

        Raises:
            PostgresError: it is taken.
        """
        kept = self.path / "port"
        must = wanted or self.port
        deadline = time.monotonic() + (PORT_SECONDS if self.port else 0)
        while must and not is_free(must):
            if time.monotonic() >= deadline:
                raise PostgresError(f"Port {must} is taken; choose another.")
            time.sleep(0.05)
        last = int(kept.read_text("ascii")) if kept.exists() else 0
        port = must or (last if last and is_free(last) else free_port())
        kept.write_text(str(port), "ascii")
        return port

    def sockets(self) -> Path:
        """The folder of the server's Unix socket."""
        if self._sockets is None:
            if self._kept_sockets.exists():  # whoever made them was killed
                self._remove_sockets(Path(self._kept_sockets.read_text("utf-8")))
            # Short: a socket's path has at most 107 bytes.
            self._sockets = Path(tempfile.mkdtemp(prefix="muster-", dir="/tmp"))
            self.give(self._sockets)
            self._kept_sockets.write_text(str(self._sockets), "utf-8")
        return self._sockets

    def give(self, path: Path) -> None:
        """Let the server's user own a file."""
        os.chown(path, self._user.uid, self._user.gid, follow_symlinks=False)

    def close(self) -> None:
        """Let another process use the folder."""
        if self._sockets is not None:
            self._remove_sockets(self._sockets)
            self._kept_sockets.unlink()
            self._sockets = None
        self._lock.truncate(0)
        self._lock.close()

    @property
    def _kept_sockets(self) -> Path:
        return self.path / "sockets"

    def _remove_sockets(self, folder: Path) -> None:
        try:
            found = folder.lstat()
        except FileNotFoundError:  # systems clean their folders of temporary files
            return
        # The name may be another's by now.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == self._user.uid:
            shutil.rmtree(folder)

    def _take_lock(self) -> IO[str]:
        lock = (self.path / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(lock)
            lock.close()
            message = f"The database in {self.path} is in use by process {holder}; stop that one first."
            raise PostgresError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock


def _read_holder(lock: IO[str]) -> str:
    for _ in range(50):
        lock.seek(0)
        if holder := lock.read().strip():
            return holder
        time.sleep(0.02)  # it has the lock and is about to write its number
    return "unknown"
