"""Compares the database's schema with what the shipped migrations create.

What they create is written down in schema.json by `make schema`, from a database that they made; a test proves it.
Nothing in it is written by hand.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import psycopg

from muster.db.client import Connection
from muster.db.migrate import get_applied
from muster.db.queries import query
from muster.db.schema_diff import Difference, as_owner, differences

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


def _applied_or_none(connection: Connection, found: Schema) -> list[list[Any]] | None:
    columns = {column["name"] for column in found["tables"].get("schema_migrations", {}).get("columns", [])}
    if not {"version", "name", "checksum"} <= columns:
        return []
    try:
        with connection.transaction():
            return [[row.version, row.name, row.checksum] for row in get_applied(connection)]
    except psycopg.errors.InsufficientPrivilege:
        return None


HISTORY = "muster.schema_migrations"


def migration_differences(
    shipped: Sequence[Sequence[Any]], applied: Sequence[Sequence[Any]], *, rest: Sequence[Difference]
) -> list[Difference]:
    """A difference for each migration that is not applied as shipped; both are (version, name, checksum).

    `rest` are the other differences: where all that a migration makes is there, only its record was lost.
    """
    expected = {version: (name, checksum) for version, name, checksum in shipped}
    known = {version: (name, checksum) for version, name, checksum in applied}
    only_the_record = all(HISTORY in difference.object or difference.problem == "unexpected" for difference in rest)
    listed = []
    for version in sorted({*expected, *known}):
        name, checksum = expected.get(version) or known[version]
        place = f"migration {name}"
        if version not in known:
            remedy = _record(version, name, checksum) if only_the_record else _MIGRATE
            listed.append(Difference(place, "missing", "applied", None, remedy))
        elif version not in expected:
            remedy = "-- Deploy the version of Muster that has this migration, or a later one."
            listed.append(Difference(place, "different", "shipped", "applied by a newer version", remedy))
        elif expected[version] != known[version]:
            remedy = "-- Restore the migration's file as it was applied, and put the change into a new migration."
            listed.append(Difference(place, "different", "as it was applied", "another text now", remedy))
    return listed


_MIGRATE = '-- Invoke the function migrate with {"action": "migrate"}, or run: make migrate'


def _record(version: int, name: str, checksum: str) -> str:
    return as_owner(
        f"INSERT INTO {HISTORY} (version, name, checksum, duration_ms) VALUES ({version}, '{name}', '{checksum}', 0) "
        "ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum"
    )
