"""Data retention deletes everything older than the project stores, nothing else, and blocks no writer."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from muster.maintenance import data_retention
from muster.maintenance.data_retention import expire
from muster.maintenance.hourly import maintain
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import roll_up
from muster.platform.settings import Settings
from muster.projects.projects import create_project
from tests.support.databases import access_to

ROOT = Path(__file__).resolve().parents[2]
Connection = psycopg.Connection[Any]
SETTINGS = Settings()
# Too old for a project that keeps a year of data, not for one that keeps a hundred.
JANUARY, FEBRUARY, MARCH = (datetime(2021, month, 1, tzinfo=UTC) for month in (1, 2, 3))
YEAR, EVER = 365, None
TABLES = (
    "projects", "analytics_sessions", "analytics_events", "analytics_rejections", "analytics_ignored",
    "analytics_consent", "pilot_tokens", "rollup_state", "rollup_days", "rollup_returning_activity",
    "rollup_session_spans", "rollup_long_sessions", "rollup_session_days", "rollup_user_days", "rollup_user_sessions",
    "rollup_dimension_values",
)  # fmt: skip


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        opened.execute("SET jit = off")  # as the functions' connections have it
        opened.execute("SELECT muster.ensure_partitions(%s, %s)", [JANUARY.date(), FEBRUARY.date()])
        yield opened


@dataclass
class Store:
    """A project that events are written to as ingest does: an event and its session in one transaction."""

    connection: Connection
    days: int | None = YEAR
    zone: str = "UTC"
    id: uuid.UUID = field(init=False)

    def __post_init__(self) -> None:
        self.id = create_project(self.connection, str(uuid.uuid4()))
        self.connection.execute(
            "UPDATE muster.projects SET retention_days = %s, time_zone = %s WHERE id = %s",
            [self.days, self.zone, self.id],
        )

    def write(self, session: int, user: str | None, *times: datetime) -> None:
        with self.connection.transaction():
            for at in times:
                self.connection.execute(
                    "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id,"
                    " event_type, area) VALUES (%s, %s, gen_random_uuid(), %s, gen_random_uuid(), %s, 'view', 'shop')",
                    [self.id, uuid.UUID(int=session), at, user],
                )
            self.connection.execute(
                "INSERT INTO muster.analytics_sessions AS s (project_id, id, user_id, started_at, last_seen_at,"
                " events_count) VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (project_id, id) DO UPDATE SET"
                " started_at = least(s.started_at, excluded.started_at),"
                " last_seen_at = greatest(s.last_seen_at, excluded.last_seen_at),"
                " events_count = s.events_count + excluded.events_count",
                [self.id, uuid.UUID(int=session), user, min(times), max(times), len(times)],
            )

    def reject(self, at: datetime) -> None:
        self.connection.execute(
            "INSERT INTO muster.analytics_rejections (project_id, fingerprint, received_at, last_received_at, reason)"
            " VALUES (%s, sha256(%s), %s, %s, 'invalid_event')",
            [self.id, uuid.uuid4().bytes, at, at],
        )

    def ignore(self, at: datetime) -> None:
        self.connection.execute(
            "INSERT INTO muster.analytics_ignored (project_id, occurred_at, id, reason, batch_id)"
            " VALUES (%s, %s, gen_random_uuid(), 'bot', gen_random_uuid())",
            [self.id, at],
        )

    def sessions(self) -> dict[int, int]:
        """Each session's count of events."""
        rows = self.connection.execute(
            "SELECT id, events_count FROM muster.analytics_sessions WHERE project_id = %s", [self.id]
        ).fetchall()
        return {each.int: count for each, count in rows}

    def events(self) -> list[datetime]:
        rows = self.connection.execute(
            "SELECT occurred_at FROM muster.analytics_events WHERE project_id = %s ORDER BY 1", [self.id]
        ).fetchall()
        return [row[0] for row in rows]

    def roll_up(self) -> None:
        while not roll_up(self.connection, self.id, 100_000)[1]:
            pass

    def answers(self) -> list[dict[str, Any]]:
        """The metrics from rollups, after comparing them with the metrics from events."""
        found = []
        for start, end in ((JANUARY, MARCH), (FEBRUARY, MARCH), (FEBRUARY, datetime.now(UTC))):
            request = MetricsRequest(timeframe=None, start=start, end=end, granularity="week", breakdown="userId")
            rolled = get_metrics(self.connection, access_to(self.id), request)
            raw = get_raw_metrics(self.connection, access_to(self.id), request)
            assert rolled.explain.source == "rollups"
            assert (rolled.totals, rolled.previous, rolled.series, rolled.breakdown) == (
                raw.totals,
                raw.previous,
                raw.series,
                raw.breakdown,
            )
            assert rolled.explain.last_event_at == raw.explain.last_event_at
            found.append(
                {
                    "totals": rolled.totals,
                    "series": rolled.series,
                    "by": [(b.value, b.events) for b in rolled.breakdown],
                }
            )
        return found


def fill(store: Store) -> None:
    """Store two old months, sessions that continue into the next month or until today, and recent events."""
    now = datetime.now(UTC) - timedelta(hours=2)
    store.write(1, "ada", JANUARY + timedelta(days=2), JANUARY + timedelta(days=2, minutes=5))
    store.write(2, "bob", FEBRUARY - timedelta(minutes=5), FEBRUARY + timedelta(minutes=5))
    store.write(3, "ada", FEBRUARY + timedelta(days=9))
    store.write(4, "eve", JANUARY + timedelta(days=5), FEBRUARY + timedelta(days=7), now)
    store.write(5, "ada", now, now + timedelta(minutes=1))
    store.write(6, None, datetime(2019, 7, 1, tzinfo=UTC))  # of the default partition
    store.reject(JANUARY)
    store.reject(now)
    store.ignore(FEBRUARY)
    store.ignore(now)


def digest(connection: Connection) -> dict[str, Any]:
    """All rows of all tables."""
    found = {}
    for table in TABLES:
        statement = sql.SQL("SELECT coalesce(array_agg(t::text ORDER BY t::text), '{{}}') FROM muster.{} t")
        row = connection.execute(statement.format(sql.Identifier(table))).fetchone()
        found[table] = row[0] if row else None
    return found


def partitions(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'muster.analytics_events'::regclass"
    ).fetchall()
    return {row[0].removeprefix("muster.") for row in rows}


def users_of(store: Store) -> set[tuple[str, int]]:
    """The users in the rollups, with their sessions."""
    rows = store.connection.execute(
        "SELECT user_id, session_id FROM muster.rollup_user_sessions FULL JOIN (SELECT DISTINCT project_id, user_id"
        " FROM muster.rollup_user_days) d USING (project_id, user_id) WHERE project_id = %s",
        [store.id],
    ).fetchall()
    return {(user, session.int) for user, session in rows}


def scopes_of(store: Store) -> set[tuple[str, str | None]]:
    """The values in the rollups, with their dimensions."""
    rows = store.connection.execute(
        "SELECT d.name, v.value FROM muster.rollup_dimension_values v"
        " JOIN muster.rollup_dimensions d ON d.id = v.dimension_id"
        " WHERE d.project_id = %s",
        [store.id],
    ).fetchall()
    return {(name, value) for name, value in rows}


OLD_MONTHS = ["analytics_events_2021_01", "analytics_events_2021_02"]


def test_old_data_is_deleted_and_nothing_else(connection: Connection) -> None:
    store, keeps_all = Store(connection), Store(connection, days=EVER)
    fill(store)
    fill(keeps_all)
    connection.execute(
        "INSERT INTO muster.analytics_consent (project_id, user_id, status, decided_at)"
        " VALUES (%s, 'ada', 'granted', %s)",
        [store.id, JANUARY],
    )
    # Known by PUT /v1/sessions alone.
    connection.execute(
        "INSERT INTO muster.analytics_sessions (project_id, id, started_at, last_seen_at) VALUES (%s, %s, %s, %s)",
        [store.id, uuid.UUID(int=7), JANUARY, JANUARY],
    )
    store.roll_up()
    keeps_all.roll_up()
    untouched = (keeps_all.events(), keeps_all.sessions(), keeps_all.answers())
    answer = expire(connection, SETTINGS, dry_run=False)
    assert answer["complete"]
    assert (answer["partitions"], OLD_MONTHS[0] in partitions(connection)) == ([], True)
    (deleted,) = answer["projects"]
    assert {name: deleted[name] for name in ("events", "sessions", "rejections", "ignored", "left")} == {
        "events": 8, "sessions": 5, "rejections": 1, "ignored": 1, "left": None,
    }  # fmt: skip
    assert len(store.events()) == 3
    assert store.sessions() == {4: 1, 5: 2}
    store.answers()
    assert (keeps_all.events(), keeps_all.sessions(), keeps_all.answers()) == untouched
    # Who was there before alone is nowhere any more, nor is what no event that is left says.
    assert users_of(store) == {("ada", 5), ("eve", 4)}
    assert users_of(keeps_all) == {("ada", 1), ("bob", 2), ("ada", 3), ("eve", 4), ("ada", 5)}
    assert scopes_of(store) == {("all", None), ("eventType", "view"), ("area", "shop")}
    assert scopes_of(keeps_all) == {("all", None), ("eventType", "view"), ("area", "shop"), ("userId", None)}
    kept = connection.execute("SELECT count(*) FROM muster.analytics_consent").fetchone()
    assert kept == (1,)
    assert maintain(connection, SETTINGS)["reconciled"]["differing"] == 0


@pytest.mark.parametrize("keeper", [True, False], ids=["by steps", "by partitions"])
def test_a_dry_run_changes_nothing_and_reports_what_it_would_delete(
    connection: Connection, keeper: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    store, other = Store(connection), Store(connection, days=EVER if keeper else YEAR, zone="Europe/Berlin")
    for each in (store, other):
        fill(each)
    store.roll_up()
    before = digest(connection)
    capsys.readouterr()
    said = expire(connection, SETTINGS, dry_run=True)
    assert digest(connection) == before
    assert capsys.readouterr().out == ""
    assert said["partitions"] == ([] if keeper else OLD_MONTHS)
    done = expire(connection, SETTINGS, dry_run=False)
    assert {**done, "dryRun": True} == said
    again = expire(connection, SETTINGS, dry_run=True)
    assert again["partitions"] == []
    names = ("events", "sessions", "rejections", "ignored")
    assert all(project[name] == 0 for project in again["projects"] for name in names)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_dropping_partitions_has_the_same_result_as_deleting_in_steps(connection: Connection, zone: str) -> None:
    store = Store(connection, zone=zone)
    fill(store)
    store.roll_up()
    keeper = Store(connection, days=EVER)
    keeper.write(1, "ada", JANUARY, FEBRUARY)
    steps = Store(connection, zone=zone)
    fill(steps)
    steps.roll_up()
    # First one project still needs the months, so they are deleted in steps; then no project needs them.
    connection.execute("UPDATE muster.projects SET retention_days = NULL WHERE id = %s", [store.id])
    assert expire(connection, SETTINGS, dry_run=False)["partitions"] == []
    connection.execute("UPDATE muster.projects SET retention_days = 365")
    answer = expire(connection, SETTINGS, dry_run=False)
    assert answer["partitions"] == OLD_MONTHS
    assert partitions(connection).isdisjoint(OLD_MONTHS)
    assert store.answers() == steps.answers()
    assert store.sessions() == steps.sessions() == {4: 1, 5: 2}
    assert len(store.events()) == len(steps.events()) == 3


def test_projects_that_share_a_month_keep_their_own_events(connection: Connection) -> None:
    short, long = Store(connection), Store(connection, days=36_500)
    fill(short)
    fill(long)
    short.roll_up()
    long.roll_up()
    assert connection.execute("SELECT name FROM muster.expired_partitions()").fetchall() == []
    assert expire(connection, SETTINGS, dry_run=False)["partitions"] == []
    assert (len(short.events()), len(long.events())) == (3, 11)
    short.answers()
    assert sum(series.events for series in long.answers()[0]["series"]) == 7


def test_whole_days_in_the_projects_time_zone_are_deleted(connection: Connection) -> None:
    store = Store(connection, days=30, zone="Pacific/Auckland")
    midnight = connection.execute("SELECT keep_from FROM muster.retention_limits()").fetchone()
    assert midnight is not None
    (kept_from,) = midnight
    assert kept_from <= datetime.now(UTC) - timedelta(days=30) < kept_from + timedelta(hours=25)
    store.write(1, "ada", kept_from - timedelta(microseconds=1), kept_from)
    store.roll_up()
    expire(connection, SETTINGS, dry_run=False)
    assert store.events() == [kept_from]
    assert store.sessions() == {1: 1}


def test_work_that_exceeds_the_time_limit_is_left_for_the_next_run(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, keeper = Store(connection), Store(connection, days=EVER)
    keeper.write(1, "ada", JANUARY, FEBRUARY)
    fill(store)
    store.roll_up()
    monkeypatch.setattr(data_retention, "EVENTS_AT_ONCE", 3)
    spent = iter([0.0, 1.0, 2.0])
    with monkeypatch.context() as hurried:
        # Not time.monotonic itself: the event loop of a server in this process would sleep for hours.
        clock = SimpleNamespace(monotonic=lambda: next(spent, 1_000.0))
        hurried.setattr("muster.maintenance.data_retention.time", clock)
        answer = expire(connection, SETTINGS, dry_run=False)
    assert not answer["complete"]
    (deleted,) = answer["projects"]
    assert (deleted["events"], deleted["left"]["events"]) == (6, 2)
    assert deleted["left"]["rejections"] == 1
    store.answers()
    assert expire(connection, SETTINGS, dry_run=False)["complete"]
    assert len(store.events()) == 3
    store.answers()


def test_imported_old_events_are_deleted_by_the_next_run(connection: Connection) -> None:
    store = Store(connection)
    fill(store)
    store.roll_up()
    expire(connection, SETTINGS, dry_run=False)
    store.write(1, "ada", JANUARY + timedelta(days=2))
    store.write(4, "eve", JANUARY + timedelta(days=5))
    store.roll_up()
    store.answers()
    assert store.sessions() == {1: 1, 4: 2, 5: 2}
    expire(connection, SETTINGS, dry_run=False)
    store.answers()
    assert store.sessions() == {4: 1, 5: 2}


def test_events_older_than_the_data_retention_are_refused(connection: Connection) -> None:
    store = Store(connection, days=30)

    def window() -> Any:
        row = connection.execute("SELECT event_window_days FROM muster.projects WHERE id = %s", [store.id]).fetchone()
        return row and row[0]

    assert window() == 30
    connection.execute("UPDATE muster.projects SET event_window_days = 90 WHERE id = %s", [store.id])
    assert window() == 30
    connection.execute("UPDATE muster.projects SET retention_days = 7 WHERE id = %s", [store.id])
    assert window() == 7
    connection.execute(
        "UPDATE muster.projects SET retention_days = NULL, event_window_days = 90 WHERE id = %s", [store.id]
    )
    assert window() == 90


def test_a_long_read_does_not_block_writers(connection: Connection, database_url: str) -> None:
    store = Store(connection)
    fill(store)
    store.roll_up()
    with (
        psycopg.connect(database_url) as reader,
        psycopg.connect(database_url, autocommit=True) as ingest,
        psycopg.connect(database_url, autocommit=True) as retention,
    ):
        assert reader.execute("SELECT count(*) FROM muster.analytics_events").fetchone() == (11,)
        answers: list[dict[str, Any]] = []
        runs = threading.Thread(target=lambda: answers.append(expire(retention, SETTINGS, dry_run=False)))
        runs.start()
        ingest.execute("SET lock_timeout = '1s'")  # of what would be minutes
        writer, written = Store(ingest, days=EVER), 0
        goes_on = copy(store)
        goes_on.connection = ingest
        while runs.is_alive():
            writer.write(written, "ada", datetime.now(UTC))
            goes_on.write(4, "eve", datetime.now(UTC))
            written += 1
        runs.join()
        assert len(writer.events()) == written
        # What it could not drop it has deleted.
        assert (answers[0]["complete"], answers[0]["partitions"]) == (True, [])
        assert answers[0]["projects"][0]["events"] == 8
        assert partitions(connection) >= set(OLD_MONTHS)
        reader.rollback()
    store.roll_up()
    store.answers()
    assert store.sessions() == {4: 1 + written, 5: 2}
    assert expire(connection, SETTINGS, dry_run=False)["partitions"] == OLD_MONTHS


def test_a_run_that_dies_halfway_has_changed_nothing(connection: Connection, database_url: str) -> None:
    store = Store(connection)
    fill(store)
    store.roll_up()
    before = digest(connection)
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url, autocommit=True) as retention:
        reader.execute("SELECT FROM muster.analytics_events")
        errors: list[psycopg.Error] = []

        def drop() -> None:
            try:
                retention.execute("SELECT * FROM muster.expire_partition(%s)", [OLD_MONTHS[0]])
            except psycopg.Error as error:
                errors.append(error)

        runs = threading.Thread(target=drop)
        runs.start()
        # All is done but for the drop: it waits for the reader.
        waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event IN ('PgSleep', 'relation')"
        while connection.execute(waits, [retention.info.backend_pid]).fetchone() is None:
            assert runs.is_alive()
        # What is counted of the month stays so: who would add to it has to wait.
        with psycopg.connect(database_url, autocommit=True) as importer:
            importer.execute("SET lock_timeout = '100ms'")
            late = copy(store)
            late.connection = importer
            with pytest.raises(psycopg.errors.LockNotAvailable):
                late.write(9, "ada", JANUARY + timedelta(days=1))
        connection.execute("SELECT pg_terminate_backend(%s)", [retention.info.backend_pid])
        runs.join()
        assert [error.sqlstate for error in errors] == ["57P01"]
    assert digest(connection) == before
    store.answers()
    expire(connection, SETTINGS, dry_run=False)
    assert store.sessions() == {4: 1, 5: 2}


def test_a_month_is_not_dropped_during_a_write(connection: Connection, database_url: str) -> None:
    store = Store(connection)
    fill(store)
    with psycopg.connect(database_url) as importer, psycopg.connect(database_url, autocommit=True) as retention:
        late = Store(connection)
        late.connection = importer
        importer.execute("SELECT 1")
        late.write(1, "ada", JANUARY + timedelta(days=1))
        retention.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            retention.execute("SELECT * FROM muster.expire_partition(%s)", [OLD_MONTHS[0]])
        connection.execute("UPDATE muster.projects SET retention_days = NULL WHERE id = %s", [late.id])
        importer.commit()
    late.connection = connection
    assert expire(connection, SETTINGS, dry_run=False)["partitions"] == [OLD_MONTHS[1]]
    assert late.sessions() == {1: 1}
    assert len(late.events()) == 1


def test_a_session_stays_if_an_import_adds_an_event_to_it(connection: Connection, database_url: str) -> None:
    store = Store(connection)
    connection.execute(
        "INSERT INTO muster.analytics_sessions (project_id, id, started_at, last_seen_at) VALUES (%s, %s, %s, %s)",
        [store.id, uuid.UUID(int=7), JANUARY, JANUARY],
    )
    with psycopg.connect(database_url) as importer, psycopg.connect(database_url, autocommit=True) as retention:
        importer.execute("SELECT 1")
        late = copy(store)
        late.connection = importer
        late.write(7, "ada", JANUARY)
        step = "SELECT * FROM muster.expire_rows(%s, 100)"
        runs = threading.Thread(target=lambda: retention.execute(step, [store.id]))
        runs.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while connection.execute(waits, [retention.info.backend_pid]).fetchone() is None:
            assert runs.is_alive()
        importer.commit()
        runs.join()
    assert store.sessions() == {7: 1}
    expire(connection, SETTINGS, dry_run=False)
    assert store.sessions() == {}


def test_months_that_would_be_created_again_stay(connection: Connection) -> None:
    store = Store(connection, days=1)
    before = partitions(connection)
    store.write(1, "ada", datetime.now(UTC))
    assert expire(connection, SETTINGS, dry_run=False)["partitions"] == OLD_MONTHS
    assert partitions(connection) == before - set(OLD_MONTHS)
    assert maintain(connection, SETTINGS)["partitionsCreated"] == 0


def test_the_maintenance_role_may_delete_and_the_ingest_role_may_not(connection: Connection, database_url: str) -> None:
    store = Store(connection)
    fill(store)
    with psycopg.connect(database_url, autocommit=True) as other:
        for role in ("muster_ingest", "muster_people", "muster_reader"):
            other.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute("SELECT * FROM muster.expire_events(%s, now()::date)", [store.id])
            other.execute("RESET ROLE")
        other.execute("SET ROLE muster_admin")
        assert expire(other, SETTINGS, dry_run=False)["projects"][0]["events"] == 8


def test_the_command_deletes_only_with_apply(connection: Connection, database_url: str) -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "local.cli.data_retention", "--database-url", database_url, *arguments]
        environment = {"PYTHONPATH": "layers/shared"}
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    assert said().startswith("No project has a data retention period.")
    store = Store(connection)
    fill(store)
    for _ in range(2):
        text = said()
        assert "To delete: 8 events, 4 sessions, 1 rejections, 1 ignored." in text
        assert f"Partitions to delete: {', '.join(OLD_MONTHS)}." in text
        assert "make retention APPLY=1" in text
    assert "Deleted: 8 events, 4 sessions, 1 rejections, 1 ignored." in said("--apply")
    assert "To delete: 0 events, 0 sessions, 0 rejections, 0 ignored." in said()
