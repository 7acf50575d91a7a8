"""Applies the shipped migrations in one transaction: numbered files for tables, then the functions and triggers."""

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
# The key of the advisory lock that one migration at a time holds; the same in all versions.
LOCK = 0x6D7573746572
OWNER = "muster_owner"
# The first file of the layout that was squashed before the first release.
_OLD_LAYOUT = "0001_foundation"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file, as shipped."""

    version: int
    name: str
    checksum: str
    text: str


@dataclass(frozen=True, slots=True)
class FunctionSet:
    """The files of functions/ and the triggers, which are replaced in place whenever one of them changes."""

    files: list[tuple[str, str]]
    """Path and text of each, the triggers last."""
    checksum: str


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of schema_migrations."""

    version: int
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did."""

    applied: list[str]
    """Names of the numbered files."""
    already_applied: list[str]
    functions_replaced: int
    """The number of files of functions and triggers that were applied; 0 if the set has not changed."""
    partitions_created: int


def migrate(connection: Connection, directory: Path) -> MigrationReport:
    """Apply what is not applied yet, all in one transaction: a failure rolls back everything that this run applied.

    `connection` is in autocommit mode and acts as its login, which may create roles and schemas.

    Raises:
        MigrationRefused: the files do not match what was applied before, or a file failed.
    """
    shipped, functions = read_migrations(directory), read_functions(directory)
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        applied = get_applied(connection)
        if faults := compare(shipped, applied):
            raise MigrationRefused(faults[0])
        waiting = shipped[len(applied) :]
        replaces = bool(waiting) or get_function_checksum(connection) != functions.checksum
        if replaces:
            with connection.transaction():
                for migration in waiting:
                    _apply(connection, migration)
                _replace_functions(connection, functions)
            log(
                "INFO",
                "migrations_applied",
                names=[migration.name for migration in waiting],
                functions=len(functions.files),
            )
        created = ensure_partitions(connection)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return MigrationReport(
        applied=[migration.name for migration in waiting],
        already_applied=[migration.name for migration in applied],
        functions_replaced=len(functions.files) if replaces else 0,
        partitions_created=created,
    )


def read_migrations(directory: Path) -> list[Migration]:
    """The numbered files in their order.

    Raises:
        MigrationRefused: a number is missing or used twice, a file has another name, or there is no file.
    """
    found = []
    for path in sorted(directory.glob("*.sql")):
        if path.name == TRIGGERS:
            continue
        if (match := _FILE_NAME.match(path.name)) is None:
            raise MigrationRefused(f"Migration {path.name} is not named NNNN_what.sql; rename it.")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.stem, hashlib.sha256(content).hexdigest(), content.decode("utf-8")))
    if not found:
        raise MigrationRefused("MIGRATIONS_DIR has no migrations; deploy the migrations layer.")
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationRefused(
                f"Migration {expected:04d} is missing or a number is used twice: after {expected - 1:04d} comes "
                f"{migration.name}. Ship every migration, each with its own number."
            )
    return found


def read_functions(directory: Path) -> FunctionSet:
    """The files of functions/<area>/<name>.sql, and the triggers.

    Raises:
        MigrationRefused: there is none.
    """
    paths = [*sorted((directory / "functions").glob("*/*.sql")), directory / TRIGGERS]
    try:
        files = [(path.relative_to(directory).as_posix(), path.read_text("utf-8")) for path in paths]
    except FileNotFoundError as error:
        raise MigrationRefused(f"MIGRATIONS_DIR has no {TRIGGERS}; deploy the migrations layer.") from error
    digest = hashlib.sha256()
    for name, text in files:
        digest.update(f"{name}\0{text}\0".encode())
    return FunctionSet(files, digest.hexdigest())


def get_applied(connection: Connection) -> list[Applied]:
    """The numbered migrations that were applied, in order; none in a database without Muster."""
    if not _exists(connection, "schema_migrations"):
        return []
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        return cursor.execute(query("db/get_applied_migrations")).fetchall()


def get_function_checksum(connection: Connection) -> str | None:
    """The checksum of the set of functions that was applied; None if there is none."""
    if not _exists(connection, "schema_functions"):
        return None
    row = connection.execute(query("db/get_function_checksum")).fetchone()
    return None if row is None else str(row[0])


def compare(shipped: Sequence[Migration], applied: Sequence[Applied]) -> list[str]:
    """A sentence for each way in which the files do not match what was applied."""
    if applied and applied[0].name == _OLD_LAYOUT:
        return [
            "This database has the layout from before the first release, which cannot be migrated. On your own machine "
            "start over with `make run FRESH=1`; to keep its events, dump them and load them into a new database as "
            "docs/operations.md shows."
        ]
    files = {migration.version: migration for migration in shipped}
    faults = []
    for position, row in enumerate(applied, start=1):
        file = files.get(row.version)
        if file is None:
            faults.append(
                f"The database has migration {row.name}, which this version of Muster does not have: a newer version "
                "migrated it. Deploy that version or a later one."
            )
        elif row.version != position:
            faults.append(
                f"Migration {position:04d} was never applied, though {row.name} was. Restore schema_migrations."
            )
        elif file.checksum != row.checksum:
            faults.append(
                f"Migration {file.name} was edited after it was applied. Restore the file and put the change into a "
                "new migration."
            )
    return faults


def ensure_partitions(connection: Connection) -> int:
    """Create the monthly partitions that are needed soon. Returns how many were missing."""
    row = connection.execute(query("db/ensure_partitions")).fetchone()
    return int(row[0]) if row else 0


def _exists(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass('muster.' || %s) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])


def _apply(connection: Connection, migration: Migration) -> None:
    started = time.perf_counter()
    if migration.version > 1:
        # The first one creates this role and ends as it.
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
    # Functions call each other in any order, so their bodies can be checked only once all are there.
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
    said = error.diag.message_primary or type(error).__name__
    position = error.diag.statement_position
    line = text.count("\n", 0, int(position) - 1) + 1 if position else None
    place = name + (f", line {line}" if line else "")
    sentence = (
        f"Migration {place} failed, and everything of this run was rolled back: {said} (SQLSTATE {error.sqlstate})."
    )
    if error.sqlstate == "42501":
        sentence += (
            " The login that migrates must be able to create roles and schemas: "
            "ALTER ROLE <login> CREATEROLE; GRANT CREATE ON DATABASE <database> TO <login>;"
        )
    return sentence
