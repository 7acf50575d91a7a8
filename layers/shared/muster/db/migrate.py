"""Applies the migrations in one transaction: the numbered files with tables, then the functions and triggers."""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from muster.db.client import Connection
from muster.db.queries import query
from muster.platform.errors import MigrationRefused
from muster.platform.logging import log

_FILE_NAME = re.compile(r"^(\d{4})_(\w+)\.sql$")
TRIGGERS = "triggers.sql"
# The advisory lock that lets one migration run at a time; the same number in all versions.
LOCK = 0x6D7573746572
OWNER = "muster_owner"
# The first migration of the layout that was replaced before the first release.
_OLD_LAYOUT = "0001_foundation"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file in MIGRATIONS_DIR."""

    version: int
    name: str
    checksum: str
    text: str


@dataclass(frozen=True, slots=True)
class FunctionSet:
    """The files in functions/ and the triggers. All are replaced in place whenever one of them changes."""

    files: list[tuple[str, str]]
    """The path and text of each file; the triggers are last."""
    checksum: str


@dataclass(frozen=True, slots=True)
class Applied:
    """One numbered migration that the database has, from schema_migrations."""

    version: int
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The result of a run."""

    applied: list[str]
    """Names of the numbered files that this run applied."""
    already_applied: list[str]
    functions_replaced: int
    """The number of function and trigger files that were applied; 0 if none has changed."""
    partitions_created: int


def migrate(connection: Connection, directory: Path) -> MigrationReport:
    """Apply the pending migrations in one transaction; a failure rolls all of them back.

    `connection` is in autocommit mode and acts as its login, which may create roles and schemas.

    Raises:
        MigrationRefused: the files do not match the migrations applied before, or a file failed.
    """
    shipped, functions = read_migrations(directory), read_functions(directory)
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        applied = get_applied(connection)
        if faults := compare(shipped, applied):
            raise MigrationRefused(faults[0])
        pending = shipped[len(applied) :]
        must_replace = bool(pending) or get_function_checksum(connection) != functions.checksum
        if must_replace:
            with connection.transaction():
                for migration in pending:
                    _apply(connection, migration)
                _replace_functions(connection, functions)
            log(
                "INFO",
                "migrations_applied",
                names=[migration.name for migration in pending],
                functions=len(functions.files),
            )
        created = ensure_partitions(connection)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return MigrationReport(
        applied=[migration.name for migration in pending],
        already_applied=[migration.name for migration in applied],
        functions_replaced=len(functions.files) if must_replace else 0,
        partitions_created=created,
    )


def read_migrations(directory: Path) -> list[Migration]:
    """The numbered files in order.

    Raises:
        MigrationRefused: a number is missing or used twice, a file is misnamed, or there is no file.
    """
    found = []
    for path in sorted(directory.glob("*.sql")):
        if path.name == TRIGGERS:
            continue
        if (match := _FILE_NAME.match(path.name)) is None:
            raise MigrationRefused(f"Migration {path.name} is misnamed. Rename it to NNNN_what.sql.")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.stem, hashlib.sha256(content).hexdigest(), content.decode("utf-8")))
    if not found:
        raise MigrationRefused("MIGRATIONS_DIR has no migrations. Deploy the migrations layer.")
    versions = [migration.version for migration in found]
    for expected, version in enumerate(versions, start=1):
        if versions.count(version) > 1:
            raise MigrationRefused(f"Two migrations have the number {version:04d}. Give each its own number.")
        if version != expected:
            raise MigrationRefused(f"Migration {expected:04d} is missing. Restore the file: numbers have no gaps.")
    return found


def read_functions(directory: Path) -> FunctionSet:
    """The files functions/<area>/<name>.sql, and the triggers.

    Raises:
        MigrationRefused: the triggers are missing.
    """
    paths = [*sorted((directory / "functions").glob("*/*.sql")), directory / TRIGGERS]
    try:
        files = [(path.relative_to(directory).as_posix(), path.read_text("utf-8")) for path in paths]
    except FileNotFoundError as error:
        raise MigrationRefused(f"MIGRATIONS_DIR has no {TRIGGERS}. Deploy the migrations layer.") from error
    digest = hashlib.sha256()
    for name, text in files:
        digest.update(f"{name}\0{text}\0".encode())
    return FunctionSet(files, digest.hexdigest())


def get_applied(connection: Connection) -> list[Applied]:
    """The numbered migrations that the database has, in order; none in a database without Muster."""
    if not _exists(connection, "schema_migrations"):
        return []
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        return cursor.execute(query("db/get_applied_migrations")).fetchall()


def get_function_checksum(connection: Connection) -> str | None:
    """The checksum of the functions that the database has; None if there are none."""
    if not _exists(connection, "schema_functions"):
        return None
    row = connection.execute(query("db/get_function_checksum")).fetchone()
    return None if row is None else str(row[0])


def compare(shipped: Sequence[Migration], applied: Sequence[Applied]) -> list[str]:
    """A sentence for each mismatch between the files and the migrations that were applied."""
    if applied and applied[0].name == _OLD_LAYOUT:
        return [
            "This database has the layout from before the first release, which cannot be migrated. On your own machine "
            "start over with `make run FRESH=1`. To keep the events, dump them and load them into a new database; "
            "docs/operations.md shows how."
        ]
    files = {migration.version: migration for migration in shipped}
    faults = []
    for position, row in enumerate(applied, start=1):
        file = files.get(row.version)
        if file is None:
            faults.append(
                f"A newer version of Muster has migrated this database: it has migration {row.name}. Deploy that "
                "version or a later one."
            )
        elif row.version != position:
            faults.append(
                f"schema_migrations has {row.name} but not migration {position:04d}. Restore the missing row."
            )
        elif file.checksum != row.checksum:
            faults.append(
                f"Migration {file.name} was edited after it was applied. Restore the file, and put the change into a "
                "new migration."
            )
    return faults


def ensure_partitions(connection: Connection) -> int:
    """Create the monthly partitions that are needed soon; returns the number created."""
    row = connection.execute(query("db/ensure_partitions")).fetchone()
    return int(row[0]) if row else 0


def _exists(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass('muster.' || %s) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])


def _apply(connection: Connection, migration: Migration) -> None:
    started = time.perf_counter()
    if migration.version > 1:
        # The first migration creates this role, and switches to it.
        connection.execute(f"SET LOCAL ROLE {OWNER}")
    _execute(connection, migration.name + ".sql", migration.text)
    connection.execute(
        query("db/record_migration"),
        {
            "version": migration.version,
            "name": migration.name,
            "checksum": migration.checksum,
            "duration_ms": (time.perf_counter() - started) * 1000,
        },
    )


def _replace_functions(connection: Connection, functions: FunctionSet) -> None:
    started = time.perf_counter()
    connection.execute(f"SET LOCAL ROLE {OWNER}")
    connection.execute(query("db/revoke_functions"))
    # Functions call each other in any order, so their bodies can be checked only once all functions exist.
    for checks in ("off", "on"):
        connection.execute(f"SET LOCAL check_function_bodies = {checks}")
        for name, text in functions.files:
            _execute(connection, name, text)
    connection.execute(
        query("db/record_functions"),
        {"checksum": functions.checksum, "duration_ms": (time.perf_counter() - started) * 1000},
    )


def _execute(connection: Connection, name: str, text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise MigrationRefused(_failure(name, text, error)) from error


def _failure(name: str, text: str, error: psycopg.Error) -> str:
    reason = error.diag.message_primary or type(error).__name__
    position = error.diag.statement_position
    line = text.count("\n", 0, int(position) - 1) + 1 if position else None
    place = name + (f", line {line}" if line else "")
    sentence = (
        f"Migration {place} failed: {reason} (SQLSTATE {error.sqlstate}). All migrations of this run were rolled back."
    )
    if error.sqlstate == "42501":
        sentence += (
            " The login must be able to create roles and schemas: "
            "ALTER ROLE <login> CREATEROLE; GRANT CREATE ON DATABASE <database> TO <login>;"
        )
    return sentence
