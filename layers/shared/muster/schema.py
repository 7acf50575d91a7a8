"""Compares the database's schema with what the shipped migrations create.

What they create is written down in schema.json by `make schema`, from a database that they made; a test proves it.
Nothing in it is written by hand.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg

from muster.migrations import get_applied
from muster.schema_differences import Difference, differences
from muster.schema_history import migration_differences
from muster.sql import query

Connection = psycopg.Connection[Any]
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the schema is what it should be; each difference has the statement that mends it."""

    differences: list[Difference]
    """What must be mended."""
    unexpected: list[Difference]
    """What is there beside: harmless, but not ours."""

    @property
    def verified(self) -> bool:
        """Whether nothing must be mended."""
        return not self.differences


def verify(connection: Connection) -> Verification:
    """Compare every table, column, index, constraint, function, grant and partition; any login can do it."""
    expected, found = expected_schema(), read_schema(connection)
    listed = differences(expected, found)
    applied = _applied_or_none(connection, found)
    # A login that may not read it learns of that from the differences in grants.
    if applied is not None:
        listed += migration_differences(expected["migrations"], applied, rest=listed)
    return Verification(
        differences=[difference for difference in listed if difference.problem != "unexpected"],
        unexpected=[difference for difference in listed if difference.problem == "unexpected"],
    )


def read_schema(connection: Connection) -> Schema:
    """What is in the database now, in the form of schema.json less its migrations."""
    with connection.transaction():
        # PostgreSQL leaves out of a definition what the search path finds.
        connection.execute("SET LOCAL search_path = pg_catalog")
        row = connection.execute(query("get_schema")).fetchone()
    found = row[0] if row else {}
    return dict(json.loads(found) if isinstance(found, str) else found)


@cache
def expected_schema() -> Schema:
    """What the shipped migrations create."""
    return dict(json.loads((resources.files("muster") / "schema.json").read_text("utf-8")))


def table_names() -> list[str]:
    """Every table that the migrations create, in their order."""
    return list(expected_schema()["tables"])


def _applied_or_none(connection: Connection, found: Schema) -> list[list[Any]] | None:
    columns = {column["name"] for column in found["tables"].get("schema_migrations", {}).get("columns", [])}
    if not {"version", "name", "checksum"} <= columns:
        return []
    try:
        with connection.transaction():
            return [[row.version, row.name, row.checksum] for row in get_applied(connection)]
    except psycopg.errors.InsufficientPrivilege:
        return None
