"""Compares the database's schema with what the migrations create.

`make schema` records what they create in schema.json; a test keeps that file up to date.
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
    """The result of a comparison; each difference has the statement that repairs it."""

    differences: list[Difference]
    """Missing or different objects, which must be repaired."""
    unexpected: list[Difference]
    """Harmless objects that no migration creates."""

    @property
    def verified(self) -> bool:
        """Whether nothing must be repaired."""
        return not self.differences


def verify(connection: Connection) -> Verification:
    """Compare everything that migrations create, including roles and their settings. Any login can do it."""
    expected, found = expected_schema(), read_schema(connection)
    listed = differences(expected, found)
    try:
        with connection.transaction():
            listed += _history_differences(connection, expected, found, listed)
    except psycopg.errors.InsufficientPrivilege:
        pass  # the missing grant is among the differences
    return Verification(
        differences=[difference for difference in listed if difference.problem != "unexpected"],
        unexpected=[difference for difference in listed if difference.problem == "unexpected"],
    )


def read_schema(connection: Connection) -> Schema:
    """The database's schema in the form of schema.json, without the record of migrations."""
    with connection.transaction():
        # PostgreSQL omits a schema's name from definitions if the schema is in the search path.
        connection.execute("SET LOCAL search_path = pg_catalog")
        row = connection.execute(query("db/get_schema")).fetchone()
    found = row[0] if row else {}
    return dict(json.loads(found) if isinstance(found, str) else found)


@cache
def expected_schema() -> Schema:
    """The schema that the migrations create."""
    return dict(json.loads((resources.files("muster.db") / "schema.json").read_text("utf-8")))


def table_names() -> list[str]:
    """All tables that the migrations create, in order of creation."""
    return list(expected_schema()["tables"])


def _history_differences(
    connection: Connection, expected: Schema, found: Schema, rest: Sequence[Difference]
) -> list[Difference]:
    """Differences between the shipped migrations and those recorded as applied.

    If all objects exist, only the record was lost, and the remedy restores it.
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
            listed.append(Difference(place, "different", "part of this version", "from a newer version", remedy))
        elif shipped[version] != applied[version]:
            remedy = "-- Restore the migration file, and put the change into a new migration."
            listed.append(Difference(place, "different", "unchanged", "edited since it was applied", remedy))
    checksum = expected["functions_checksum"]
    known = get_function_checksum(connection) if _has_columns(found, "schema_functions", "checksum") else None
    if known is None or (known != checksum and record_is_lost):
        remedy = _record_functions(checksum) if record_is_lost else MIGRATE
        listed.append(Difference("migration functions", "missing", "recorded as applied", None, remedy))
    elif known != checksum:
        listed.append(Difference("migration functions", "different", "as shipped", "from another version", MIGRATE))
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
