"""Verification finds every difference from what the migrations create, and its remedies repair it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.cli.schema import TARGET, describe
from local.postgres import start_postgres
from muster.db.migrate import migrate
from muster.db.schema import expected_schema, read_schema, table_names, verify
from muster.db.schema_diff import MIGRATE
from tests.support.databases import MIGRATIONS, Cluster
from tests.support.folders import open_folder

SCHEMA = expected_schema()
SYSTEM_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("1[5-8]/bin"))
Connection = psycopg.Connection[Any]


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def repair(connection: Connection) -> list[str]:
    """Run the remedies of all differences. Return the names of the objects."""
    found = verify(connection).differences
    for difference in found:
        connection.execute(difference.remedy.encode())
        connection.execute("RESET ROLE")
    if any(MIGRATE in difference.remedy for difference in found):
        migrate(connection, MIGRATIONS)
    return [difference.object for difference in found]


def assert_found(connection: Connection, broken: str, expected: str) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute(broken.encode())
        assert expected in [difference.object for difference in verify(connection).differences], broken


def assert_found_and_repaired(connection: Connection, broken: str, *expected: str) -> None:
    connection.execute(broken.encode())
    names = repair(connection)
    assert set(expected) <= set(names), f"{broken}: {names}"
    assert verify(connection).differences == [], broken


def test_a_migrated_database_is_verified(database: Connection) -> None:
    assert verify(database).verified
    assert verify(database).unexpected == []


def test_the_written_schema_is_what_the_migrations_create(database: Connection) -> None:
    assert describe(database) == json.loads(TARGET.read_text("utf-8")), "run make schema"


@pytest.mark.parametrize("binaries", SYSTEM_POSTGRES, ids=str)
def test_other_versions_of_postgres_create_the_same(binaries: Path) -> None:
    with (
        open_folder(in_memory=True) as folder,
        start_postgres(folder / "data", durable=False, binaries=binaries) as server,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        migrate(connection, MIGRATIONS)
        assert describe(connection) == SCHEMA
        assert verify(connection).verified


@pytest.mark.parametrize("role", ["muster_reader", "muster_admin", "muster_ingest", "muster_people"])
def test_any_of_our_roles_can_verify(database: Connection, role: str) -> None:
    database.execute(f"SET ROLE {role}")
    assert verify(database).verified


@pytest.mark.parametrize("table", table_names())
def test_a_dropped_table_is_found_and_repaired(database: Connection, table: str) -> None:
    assert_found_and_repaired(database, f"DROP TABLE muster.{table} CASCADE", f"table muster.{table}")


@pytest.mark.parametrize("table", table_names())
def test_a_dropped_column_is_found_and_repaired(database: Connection, table: str) -> None:
    for column in SCHEMA["tables"][table]["columns"]:
        if f"({column['name']})" in (SCHEMA["tables"][table]["partitioned"] or ""):
            continue  # PostgreSQL refuses to drop it
        place = f"column muster.{table}.{column['name']}"
        # A column that must have a value cannot come back into a table with rows.
        broken = f"DELETE FROM muster.{table}; ALTER TABLE muster.{table} DROP COLUMN {column['name']} CASCADE"
        assert_found_and_repaired(database, broken, place)


def test_a_changed_column_is_found_and_repaired(database: Connection) -> None:
    for change in (
        "ALTER COLUMN user_id TYPE varchar(20)",
        "ALTER COLUMN area DROP NOT NULL",
        "ALTER COLUMN user_id SET NOT NULL",
        "ALTER COLUMN received_at DROP DEFAULT",
        "ALTER COLUMN data SET DEFAULT '[]'",
        "ALTER COLUMN area SET DEFAULT 'x'",
    ):
        column = f"column muster.analytics_events.{change.split()[2]}"
        assert_found_and_repaired(database, f"ALTER TABLE muster.analytics_events {change}", column)
    broken = "ALTER TABLE muster.analytics_consent ALTER COLUMN id DROP IDENTITY"
    assert_found_and_repaired(database, broken, "column muster.analytics_consent.id")


def test_a_dropped_constraint_is_found_and_repaired(database: Connection) -> None:
    for key in SCHEMA["constraints"]:
        table, _, name = key.partition(".")
        broken = f"ALTER TABLE muster.{table} DROP CONSTRAINT {name} CASCADE"
        assert_found_and_repaired(database, broken, f"constraint {name} of muster.{table}")


def test_a_dropped_and_a_changed_index_are_found_and_repaired(database: Connection) -> None:
    for key, definition in SCHEMA["indexes"].items():
        table, _, name = key.partition(".")
        assert_found_and_repaired(database, f"DROP INDEX muster.{name}", f"index muster.{name}")
        first = SCHEMA["tables"][table]["columns"][0]["name"]
        other = definition.partition(" USING ")[0] + f" USING btree ({first})"
        if other != definition:
            assert_found_and_repaired(database, f"DROP INDEX muster.{name}; {other}", f"index muster.{name}")


def read_definitions(connection: Connection) -> dict[str, str]:
    """The text of each function by its signature."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        rows = connection.execute(
            "SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ')', pg_get_functiondef(oid)"
            " FROM pg_proc WHERE pronamespace = 'muster'::regnamespace"
        ).fetchall()
    return {str(signature): str(definition) for signature, definition in rows}


def test_every_dropped_and_every_changed_function_is_found(database: Connection) -> None:
    for signature, definition in read_definitions(database).items():
        place = f"function muster.{signature}"
        assert_found(database, f"DROP FUNCTION muster.{signature} CASCADE", place)
        assert_found(database, definition.replace("AS $function$", "AS $function$ /* changed */", 1), place)


def test_dropped_and_changed_functions_are_repaired_together(database: Connection) -> None:
    definitions = read_definitions(database)
    dropped, changed = "note_decisions()", next(name for name in definitions if name.startswith("upsert_session("))
    broken = definitions[changed].replace("AS $function$", "AS $function$ /* changed */", 1)
    assert_found_and_repaired(
        database,
        f"{broken}; DROP FUNCTION muster.{dropped} CASCADE",
        f"function muster.{changed}",
        f"function muster.{dropped}",
        "trigger note_decisions of muster.analytics_consent",
    )
    assert read_definitions(database) == definitions


def test_all_functions_and_the_partitions_come_back(database: Connection) -> None:
    for signature in SCHEMA["functions"]:
        database.execute(f"DROP FUNCTION muster.{signature} CASCADE".encode())
    partition = read_schema(database)["partitions"][-1]
    broken = f"DROP TABLE muster.{partition}"
    assert_found_and_repaired(database, broken, f"function muster.{next(iter(SCHEMA['functions']))}")
    assert partition in read_schema(database)["partitions"]


def test_a_revoked_grant_is_found_and_repaired(database: Connection) -> None:
    for object_name, privilege, role in SCHEMA["grants"]:
        kind, _, name = object_name.partition(" ")
        table, _, column = name.rstrip(")").partition(" (") if kind == "TABLE" else (name, "", "")
        what = f"{privilege} ({column})" if column else privilege
        place = f"grant of {privilege} on {object_name} to {role}"
        assert_found_and_repaired(database, f"REVOKE {what} ON {kind} {table} FROM {role}", place)


def test_a_grant_to_everyone_is_found_and_repaired(database: Connection) -> None:
    broken = "GRANT SELECT ON muster.api_keys TO PUBLIC"
    assert_found_and_repaired(database, broken, "grant of SELECT on TABLE muster.api_keys to PUBLIC")


def test_dropped_changed_and_disabled_triggers_are_found_and_repaired(database: Connection) -> None:
    for key, definition in SCHEMA["triggers"].items():
        table, _, name = key.partition(".")
        place = f"trigger {name} of muster.{table}"
        assert_found_and_repaired(database, f"DROP TRIGGER {name} ON muster.{table}", place)
        assert_found_and_repaired(database, f"ALTER TABLE muster.{table} DISABLE TRIGGER {name}", place)
        changed = definition.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER").replace(" INSERT", " DELETE", 1)
        changed = changed.replace(" REFERENCING NEW TABLE", " REFERENCING OLD TABLE")
        if " INSERT" not in definition:
            changed = re.sub(r" UPDATE OF .* ON ", " DELETE ON ", changed)
        assert_found_and_repaired(database, f"DROP TRIGGER {name} ON muster.{table}; {changed}", place)


def test_a_trigger_that_no_migration_creates_is_named_with_its_remedy(database: Connection) -> None:
    database.execute("CREATE FUNCTION public.drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    database.execute(
        "CREATE TRIGGER foreign_one BEFORE INSERT ON muster.analytics_events"
        " FOR EACH ROW EXECUTE FUNCTION public.drop_it()"
    )
    (found,) = verify(database).unexpected
    assert found.object == "trigger foreign_one of muster.analytics_events"
    database.execute(found.remedy.encode())
    database.execute("RESET ROLE")
    assert verify(database).unexpected == []


def test_another_owner_of_the_schema_is_found_and_repaired(database: Connection) -> None:
    assert_found_and_repaired(database, "ALTER SCHEMA muster OWNER TO CURRENT_USER", "schema muster")


def test_a_changed_setting_of_a_role_is_found_and_repaired(database: Connection) -> None:
    for role, expected in SCHEMA["roles"].items():
        for name in expected["settings"]:
            place = f"role {role} ({name})"
            assert_found_and_repaired(database, f"ALTER ROLE {role} RESET {name}", place)
            other = "Asia/Tokyo" if name == "TimeZone" else "77s"
            assert_found_and_repaired(database, f"ALTER ROLE {role} SET {name} = '{other}'", place)
        login = "NOLOGIN" if expected["login"] else "LOGIN"
        assert_found_and_repaired(database, f"ALTER ROLE {role} {login}", f"role {role}")


def test_a_role_that_cannot_log_in_by_iam_is_found_and_repaired(database: Connection) -> None:
    database.execute("CREATE ROLE rds_iam")
    try:
        names = repair(database)
        assert set(names) == {f"role {role} (rds_iam)" for role, each in SCHEMA["roles"].items() if each["login"]}
        assert verify(database).verified
    finally:
        database.execute("DROP ROLE rds_iam")


def test_a_lost_record_of_the_functions_is_found_and_repaired(database: Connection) -> None:
    assert_found_and_repaired(database, "DELETE FROM muster.schema_functions", "migration functions")
    assert_found_and_repaired(database, "UPDATE muster.schema_functions SET checksum = 'x'", "migration functions")


def test_a_missing_partition_is_found_and_repaired(database: Connection) -> None:
    for name in read_schema(database)["partitions"][-3:]:
        broken = f"DROP TABLE muster.{name}"
        database.execute(broken.encode())
        repair(database)
        assert verify(database).verified
    broken = "DROP TABLE muster.analytics_events_default"
    assert_found_and_repaired(database, broken, "partition muster.analytics_events_default")


def test_another_owner_is_found_and_repaired(database: Connection) -> None:
    broken = "ALTER TABLE muster.projects OWNER TO CURRENT_USER"
    assert_found_and_repaired(database, broken, "table muster.projects")


def test_foreign_objects_are_reported_and_do_no_harm(database: Connection) -> None:
    database.execute("CREATE TABLE muster.notes (id integer)")
    database.execute("CREATE INDEX extra ON muster.analytics_sessions (browser)")
    result = verify(database)
    assert result.verified
    assert {difference.object for difference in result.unexpected} == {"table muster.notes", "index muster.extra"}


def test_an_empty_database_lacks_everything(postgres: Cluster) -> None:
    with postgres.database(template="template0") as url, psycopg.connect(url, autocommit=True) as connection:
        missing = {difference.object for difference in verify(connection).differences}
    assert {f"table muster.{table}" for table in table_names()} <= missing
    assert "migration 0001_baseline" in missing
