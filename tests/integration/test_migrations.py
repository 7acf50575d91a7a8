"""Migrations run once each, completely or not at all, in one process at a time; doubtful ones are refused."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.postgres import start_postgres
from muster.db.migrate import LOCK, MigrationReport, migrate
from muster.db.schema import verify
from muster.platform.errors import MigrationRefused
from tests.support.databases import MIGRATIONS, Cluster
from tests.support.folders import open_folder

Connection = psycopg.Connection[Any]
SYSTEM_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("1[5-8]/bin"))
NAMES = sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.sql"))


@pytest.fixture
def empty_url(postgres: Cluster) -> Iterator[str]:
    with postgres.database(template="template0") as url:
        yield url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Connection]:
    with psycopg.connect(empty_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of the migrations that a test can change."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def add(folder: Path, text: str, name: str = "9999_next.sql") -> None:
    number = len(list(folder.glob("[0-9]*.sql"))) + 1
    (folder / name.replace("9999", f"{number:04d}")).write_text(text, "utf-8")


def test_an_empty_database_gets_every_migration_once(empty: Connection) -> None:
    first, second = migrate(empty, MIGRATIONS), migrate(empty, MIGRATIONS)
    assert (first.applied, first.already_applied) == (NAMES, [])
    assert (second.applied, second.already_applied) == ([], NAMES)
    assert verify(empty).verified


def test_two_concurrent_runs_succeed_and_one_migrates(empty_url: str) -> None:
    ready = threading.Barrier(3)

    def run(_: int) -> MigrationReport:
        with psycopg.connect(empty_url, autocommit=True) as connection:
            ready.wait(10)
            return migrate(connection, MIGRATIONS)

    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(run, range(3)))
    assert sorted(len(report.applied) for report in reports) == [0, 0, len(NAMES)]


def test_a_run_waits_while_another_holds_the_lock(empty_url: str, empty: Connection) -> None:
    empty.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    with ThreadPoolExecutor(1) as pool, psycopg.connect(empty_url, autocommit=True) as connection:
        waiting = pool.submit(migrate, connection, MIGRATIONS)
        while empty.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone() == (
            0,
        ):
            assert not waiting.done()
        assert empty.execute("SELECT to_regnamespace('muster')").fetchone() == (None,)
        empty.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        assert waiting.result(30).applied == NAMES


def test_a_new_migration_is_applied_to_an_older_database(empty: Connection, shipped: Path) -> None:
    migrate(empty, shipped)
    add(shipped, "CREATE TABLE muster.later (id integer);")
    assert migrate(empty, shipped).applied == [f"{len(NAMES) + 1:04d}_next"]
    owner = empty.execute(
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'muster.later'::regclass"
    ).fetchone()
    assert owner == ("muster_owner",)


def test_an_edited_migration_is_refused_before_anything_is_applied(empty: Connection, shipped: Path) -> None:
    migrate(empty, shipped)
    edited = shipped / f"{NAMES[2]}.sql"
    edited.write_text(edited.read_text("utf-8") + "-- a comment\n", "utf-8")
    add(shipped, "CREATE TABLE muster.later (id integer);")
    with pytest.raises(MigrationRefused, match=f"{NAMES[2]} was edited after it was applied"):
        migrate(empty, shipped)
    assert empty.execute("SELECT to_regclass('muster.later')").fetchone() == (None,)


def test_a_missing_file_is_refused(empty: Connection, shipped: Path) -> None:
    (shipped / f"{NAMES[3]}.sql").unlink()
    with pytest.raises(MigrationRefused, match="0004 is missing"):
        migrate(empty, shipped)
    assert empty.execute("SELECT to_regnamespace('muster')").fetchone() == (None,)


def test_a_database_of_a_newer_version_is_refused(empty: Connection, shipped: Path) -> None:
    add(shipped, "SELECT 1;")
    migrate(empty, shipped)
    with pytest.raises(MigrationRefused, match="A newer version of Muster has migrated this database"):
        migrate(empty, MIGRATIONS)


def test_a_duplicate_number_and_an_odd_name_are_refused(empty: Connection, shipped: Path) -> None:
    (shipped / "0002_again.sql").write_text("SELECT 1;", "utf-8")
    with pytest.raises(MigrationRefused, match="Two migrations have the number 0002"):
        migrate(empty, shipped)
    (shipped / "0002_again.sql").rename(shipped / "again.sql")
    with pytest.raises(MigrationRefused, match=r"again\.sql is misnamed"):
        migrate(empty, shipped)


def test_an_empty_migrations_folder_is_refused(empty: Connection, tmp_path: Path) -> None:
    with pytest.raises(MigrationRefused, match="no migrations"):
        migrate(empty, tmp_path)


# The last migration of the first release. Later migrations must work with the functions of the release before,
# and the other way round.
FIRST_RELEASE = 5


def test_a_later_migration_only_adds() -> None:
    """The previous release keeps running until the deployment replaces it, and again after a rollback."""
    removing = re.compile(r"^\s*(DROP (?:TABLE|FUNCTION|TYPE)|ALTER TABLE .* (?:DROP|RENAME))", re.MULTILINE)
    later = [file for file in MIGRATIONS.glob("[0-9]*.sql") if int(file.name[:4]) > FIRST_RELEASE]
    assert [file.name for file in later if removing.search(file.read_text("utf-8"))] == []


def test_a_numbered_migration_calls_no_repeatable_function() -> None:
    names = "|".join(path.stem for path in MIGRATIONS.glob("functions/*/*.sql"))
    calling = re.compile(rf"muster\.({names})\(")
    for file in MIGRATIONS.glob("[0-9]*.sql"):
        assert calling.findall(file.read_text("utf-8")) == [], file.name


def test_every_function_has_one_file_and_every_file_one_function(empty: Connection) -> None:
    defined = {path.stem: path.read_text("utf-8") for path in MIGRATIONS.glob("functions/*/*.sql")}
    assert len(defined) == len(list(MIGRATIONS.glob("functions/*/*.sql")))
    for name, text in defined.items():
        assert re.findall(r"^CREATE OR REPLACE FUNCTION muster\.(\w+)\(", text, re.MULTILINE) == [name]
        assert text.startswith("-- "), f"{name} says what it does"
    migrate(empty, MIGRATIONS)
    statement = "SELECT proname FROM pg_proc WHERE pronamespace = 'muster'::regnamespace"
    assert sorted(name for (name,) in empty.execute(statement).fetchall()) == sorted(defined)


def test_a_changed_function_is_replaced_and_its_old_grant_revoked(empty: Connection, shipped: Path) -> None:
    migrate(empty, shipped)
    assert migrate(empty, shipped).functions_replaced == 0
    file = shipped / "functions" / "rollups" / "long_session.sql"
    file.write_text(file.read_text("utf-8").replace("2000", "3000"), "utf-8")
    granted = shipped / "functions" / "auth" / "allowed_origins.sql"
    granted.write_text(granted.read_text("utf-8").partition("\nGRANT")[0], "utf-8")
    report = migrate(empty, shipped)
    assert (report.applied, report.functions_replaced > 1) == ([], True)
    assert empty.execute("SELECT muster.long_session()").fetchone() == (3000,)
    may = "SELECT has_function_privilege('muster_reader', 'muster.allowed_origins(bytea)', 'EXECUTE')"
    assert empty.execute(may).fetchone() == (False,)


def test_a_function_that_cannot_be_created_rolls_everything_back(empty: Connection, shipped: Path) -> None:
    add(shipped, "CREATE TABLE muster.half (id integer);")
    file = shipped / "functions" / "rollups" / "long_session.sql"
    file.write_text(file.read_text("utf-8").replace("SELECT 2000", "SELECT nothing()"), "utf-8")
    with pytest.raises(MigrationRefused, match=r"functions/rollups/long_session\.sql.* failed: "):
        migrate(empty, shipped)
    assert empty.execute("SELECT to_regnamespace('muster')").fetchone() == (None,)


def test_a_database_of_the_layout_before_the_first_release_is_refused(empty: Connection) -> None:
    migrate(empty, MIGRATIONS)
    empty.execute("UPDATE muster.schema_migrations SET name = '0001_foundation' WHERE version = 1")
    with pytest.raises(MigrationRefused, match=r"make run FRESH=1.*docs/operations\.md"):
        migrate(empty, MIGRATIONS)


def test_a_failing_migration_rolls_back_everything_and_says_where(empty: Connection, shipped: Path) -> None:
    add(shipped, "CREATE TABLE muster.half (id integer);\n\nSELECT nothing FROM nowhere;")
    with pytest.raises(MigrationRefused) as refusal:
        migrate(empty, shipped)
    message = refusal.value.message
    assert f"{len(NAMES) + 1:04d}_next.sql, line 3 failed: " in message
    assert "42P01" in message
    assert empty.execute("SELECT to_regnamespace('muster')").fetchone() == (None,)
    # The lock is free again.
    assert migrate(empty, MIGRATIONS).applied == NAMES


@pytest.mark.parametrize("binaries", [None, *SYSTEM_POSTGRES], ids=str)
def test_an_rds_login_can_migrate_a_new_server(binaries: Path | None) -> None:
    with (
        open_folder(in_memory=True) as folder,
        start_postgres(folder / "data", durable=False, binaries=binaries) as server,
    ):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE master LOGIN CREATEROLE PASSWORD 'x'")
            connection.execute("GRANT CREATE ON DATABASE muster TO master")
        with psycopg.connect(f"postgresql://master:x@{server.url.partition('@')[2]}", autocommit=True) as connection:
            assert migrate(connection, MIGRATIONS).applied == NAMES
            assert verify(connection).verified


def test_a_login_without_rights_learns_what_to_grant(empty_url: str, empty: Connection) -> None:
    empty.execute("DO $$ BEGIN CREATE ROLE nobody_much LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN END $$")
    host = empty_url.partition("@")[2]
    with (
        psycopg.connect(f"postgresql://nobody_much:x@{host}", autocommit=True) as connection,
        pytest.raises(MigrationRefused, match="CREATEROLE"),
    ):
        migrate(connection, MIGRATIONS)


def test_events_move_into_their_months_partition_once_it_exists(empty: Connection) -> None:
    migrate(empty, MIGRATIONS)
    empty.execute(
        "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, event_type, area)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), t, gen_random_uuid(), 'a', 'b'"
        " FROM unnest(%s::timestamptz[]) t",
        (["2015-04-30 23:59Z", "2015-05-01 00:00Z", "2015-05-31 23:59Z", "2015-06-01 00:00Z"],),
    )
    before = empty.execute("SELECT xid::text, occurred_at FROM muster.analytics_events ORDER BY 2").fetchall()
    assert empty.execute("SELECT muster.ensure_partitions('2015-05-20', '2015-05-20')").fetchone() == (1,)
    assert empty.execute("SELECT muster.ensure_partitions('2015-05-20', '2015-05-20')").fetchone() == (0,)
    assert empty.execute("SELECT count(*) FROM muster.analytics_events_2015_05").fetchone() == (2,)
    assert empty.execute("SELECT xid::text, occurred_at FROM muster.analytics_events ORDER BY 2").fetchall() == before
    assert verify(empty).verified


def test_the_command_prints_sentences_and_fails_on_errors(empty_url: str, empty: Connection) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "local.cli.migrate", "--database-url", empty_url, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=MIGRATIONS.parent, env=environment
        )

    environment = {"PYTHONPATH": "layers/shared"}
    worked = run()
    assert worked.returncode == 0, worked.stderr
    assert f"{len(NAMES)} migrations applied now" in worked.stdout
    assert "The schema matches the migrations." in worked.stdout
    assert '"verified": true' in run("--action", "verify", "--json").stdout
    empty.execute("DROP TABLE muster.pilot_attempts")
    broken = run("--action", "verify")
    assert broken.returncode == 1
    assert "table muster.pilot_attempts is missing." in broken.stdout
    assert "CREATE TABLE muster.pilot_attempts (" in broken.stdout
