"""Applies the shipped migrations: numbered, forward only, each in one transaction, one process at a time."""

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
# Of Muster's own, the same for all versions: whoever migrates a database waits for whoever does already.
LOCK = 0x6D7573746572
OWNER = "muster_owner"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, as shipped."""

    version: int
    name: str
    checksum: str
    text: str


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of schema_migrations."""

    version: int
    name: str
    checksum: str


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did: the names of the files, and how many partitions were added."""

    applied: list[str]
    already_applied: list[str]
    partitions_created: int


def migrate(connection: Connection, directory: Path) -> MigrationReport:
    """Apply what is not applied yet; a failure rolls back its own file whole.

    `connection` is in autocommit mode and acts as its login, which may create roles and schemas.

    Raises:
        MigrationRefused: the files and what was applied do not belong together, or a file failed.
    """
    shipped = read_migrations(directory)
    connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    try:
        applied = get_applied(connection)
        if faults := compare(shipped, applied):
            raise MigrationRefused(faults[0])
        waiting = shipped[len(applied) :]
        for migration in waiting:
            _apply(connection, migration)
            log("INFO", "migration_applied", name=migration.name)
        created = ensure_partitions(connection)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    return MigrationReport(
        applied=[migration.name for migration in waiting],
        already_applied=[migration.name for migration in applied],
        partitions_created=created,
    )


def read_migrations(directory: Path) -> list[Migration]:
    """The shipped files in their order.

    Raises:
        MigrationRefused: a number is missing or twice there, a name is odd, or there is no file.
    """
    found = []
    for path in sorted(directory.glob("*.sql")):
        if (match := _FILE_NAME.match(path.name)) is None:
            raise MigrationRefused(f"Migration {path.name} is not named NNNN_what.sql; rename it.")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.stem, hashlib.sha256(content).hexdigest(), content.decode("utf-8")))
    if not found:
        raise MigrationRefused("There are no migrations in the folder of MIGRATIONS_DIR; deploy the migrations layer.")
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationRefused(
                f"Migration {expected:04d} is missing or a number is there twice: after {expected - 1:04d} comes "
                f"{migration.name}. Ship every migration, each with its own number."
            )
    return found


def get_applied(connection: Connection) -> list[Applied]:
    """What was applied, in order; nothing where Muster has never been."""
    known = connection.execute("SELECT to_regclass('muster.schema_migrations')").fetchone()
    if known is None or known[0] is None:
        return []
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        return cursor.execute(query("db/get_applied_migrations")).fetchall()


def compare(shipped: Sequence[Migration], applied: Sequence[Applied]) -> list[str]:
    """A sentence for each way in which the files and what was applied do not belong together."""
    files = {migration.version: migration for migration in shipped}
    faults = []
    for position, row in enumerate(applied, start=1):
        file = files.get(row.version)
        if file is None:
            faults.append(
                f"The database has migration {row.name}, which this version of Muster does not: it was migrated by a "
                "newer one. Deploy that version or a later one."
            )
        elif row.version != position:
            faults.append(
                f"Migration {position:04d} was never applied, though {row.name} was; restore schema_migrations."
            )
        elif file.checksum != row.checksum:
            faults.append(
                f"Migration {file.name} was edited after it was applied. Restore the file, and put the change into a "
                "new migration."
            )
    return faults


def ensure_partitions(connection: Connection) -> int:
    """Create the monthly partitions that will be needed soon; how many were missing."""
    row = connection.execute(query("db/ensure_partitions")).fetchone()
    return int(row[0]) if row else 0


def _apply(connection: Connection, migration: Migration) -> None:
    started = time.perf_counter()
    try:
        with connection.transaction():
            if migration.version > 1:
                # The first one makes this role, and ends as it.
                connection.execute(f"SET LOCAL ROLE {OWNER}")
            connection.execute(migration.text.encode())
            connection.execute(
                query("db/record_migration"),
                {
                    "version": migration.version,
                    "name": migration.name,
                    "checksum": migration.checksum,
                    "duration_ms": (time.perf_counter() - started) * 1000,
                },
            )
    except psycopg.Error as error:
        raise MigrationRefused(_failure(migration, error)) from error


def _failure(migration: Migration, error: psycopg.Error) -> str:
    said = error.diag.message_primary or type(error).__name__
    position = error.diag.statement_position
    line = migration.text.count("\n", 0, int(position) - 1) + 1 if position else None
    place = f"{migration.name}.sql" + (f", line {line}" if line else "")
    sentence = f"Migration {place} failed and was rolled back whole: {said} (SQLSTATE {error.sqlstate})."
    if error.sqlstate == "42501":
        sentence += (
            " The login that migrates must be able to create roles and schemas: "
            "ALTER ROLE <login> CREATEROLE; GRANT CREATE ON DATABASE <database> TO <login>;"
        )
    return sentence
