"""Compares the database's schema with what the shipped migrations create.

What they create is recorded in schema.json by `make schema`, from a database that they made; a test proves it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg

from muster.db.client import Connection
from muster.db.migrate import get_applied, get_function_checksum
from muster.db.queries import query
from muster.db.schema_diff import MIGRATE, Difference, as_owner, differences

Schema = dict[str, Any]
_RECORDS = ("muster.schema_migrations", "muster.schema_functions")


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the schema is what it should be; each difference has the statement that repairs it."""

    differences: list[Difference]
    """What must be repaired."""
    unexpected: list[Difference]
    """What is there as well: harmless, but not created by a migration."""

    @property
    def verified(self) -> bool:
        """Whether nothing must be repaired."""
        return not self.differences


def verify(connection: Connection) -> Verification:
    """Compare everything that migrations create, roles and their settings included; any login can do it."""
    expected, found = expected_schema(), read_schema(connection)
    listed = differences(expected, found)
    try:
        with connection.transaction():
            listed += _history_differences(connection, expected, found, listed)
    except psycopg.errors.InsufficientPrivilege:
        pass  # the differences in grants say so
    return Verification(
        differences=[difference for difference in listed if difference.problem != "unexpected"],
        unexpected=[difference for difference in listed if difference.problem == "unexpected"],
    )


def read_schema(connection: Connection) -> Schema:
    """What is in the database now, in the form of schema.json without its record of migrations."""
    with connection.transaction():
        # PostgreSQL leaves out of a definition what the search path finds.
        connection.execute("SET LOCAL search_path = pg_catalog")
        row = connection.execute(query("db/get_schema")).fetchone()
    found = row[0] if row else {}
    return dict(json.loads(found) if isinstance(found, str) else found)


@cache
def expected_schema() -> Schema:
    """What the shipped migrations create."""
    return dict(json.loads((resources.files("muster.db") / "schema.json").read_text("utf-8")))


def table_names() -> list[str]:
    """Every table that the migrations create, in their order."""
    return list(expected_schema()["tables"])


def _history_differences(
    connection: Connection, expected: Schema, found: Schema, rest: Sequence[Difference]
) -> list[Difference]:
    """Differences between what is shipped and what is recorded as applied.

    If everything that the migrations create is there, only the record was lost, and the remedy restores it.
    """
    record_is_lost = all(
        difference.problem == "unexpected" or any(table in difference.object for table in _RECORDS)
        for difference in rest
    )
    shipped = {version: (name, checksum) for version, name, checksum in expected["migrations"]}
    applied = {row.version: (row.name, row.checksum) for row in _applied(connection, found)}
    listed = []
    for version in sorted({*shipped, *applied}):
        name, checksum = shipped.get(version) or applied[version]
        place = f"migration {name}"
        if version not in applied:
            remedy = _record_migration(version, name, checksum) if record_is_lost else MIGRATE
            listed.append(Difference(place, "missing", "applied", None, remedy))
        elif version not in shipped:
            remedy = "-- Deploy the version of Muster that has this migration, or a later one."
            listed.append(Difference(place, "different", "shipped", "applied by a newer version", remedy))
        elif shipped[version] != applied[version]:
            remedy = "-- Restore the migration's file as it was applied, and put the change into a new migration."
            listed.append(Difference(place, "different", "as it was applied", "another text now", remedy))
    checksum = expected["functions_checksum"]
    known = get_function_checksum(connection) if _has_columns(found, "schema_functions", "checksum") else None
    if known is None or (known != checksum and record_is_lost):
        remedy = _record_functions(checksum) if record_is_lost else MIGRATE
        listed.append(Difference("migration functions", "missing", "recorded as applied", None, remedy))
    elif known != checksum:
        listed.append(Difference("migration functions", "different", "as shipped", "of another version", MIGRATE))
    return listed


def _applied(connection: Connection, found: Schema) -> Sequence[Any]:
    known = _has_columns(found, "schema_migrations", "version", "name", "checksum")
    return get_applied(connection) if known else ()


def _has_columns(found: Schema, table: str, *names: str) -> bool:
    return {*names} <= {column["name"] for column in found["tables"].get(table, {}).get("columns", [])}


def _record_migration(version: int, name: str, checksum: str) -> str:
    return as_owner(
        "INSERT INTO muster.schema_migrations (version, name, checksum, duration_ms) "
        f"VALUES ({version}, '{name}', '{checksum}', 0) "
        "ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum"
    )


def _record_functions(checksum: str) -> str:
    return as_owner(
        f"INSERT INTO muster.schema_functions (checksum, duration_ms) VALUES ('{checksum}', 0) "
        "ON CONFLICT (only_row) DO UPDATE SET checksum = excluded.checksum"
    )
