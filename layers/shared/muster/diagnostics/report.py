"""Runs the checks and reports the state of the system. It answers within seconds, whatever is broken."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from muster.auth.keys import Access
from muster.db.client import Connection, Database, connect
from muster.db.queries import query
from muster.db.schema import Verification, table_names, verify
from muster.diagnostics import checks
from muster.diagnostics.checks import Check, Context
from muster.http.response import WireModel
from muster.platform.errors import SchemaIncomplete
from muster.platform.logging import log
from muster.platform.settings import Settings

BUDGET_SECONDS = 4.5
# For each address: a host name may resolve to two.
CONNECT_SECONDS = 2
COUNT_SECONDS = 1.0
# How to find a project's rows in tables without a project_id column.
_BY_DIMENSION = "WHERE dimension_id IN (SELECT id FROM muster.rollup_dimensions WHERE project_id = %s)"
_BY_VALUE = f"WHERE value_id IN (SELECT id FROM muster.rollup_dimension_values {_BY_DIMENSION})"
_PROJECT_ROWS = {
    "projects": "WHERE id = %s",
    "schema_migrations": "WHERE %s::uuid IS NOT NULL",
    "schema_functions": "WHERE %s::uuid IS NOT NULL",
    "archive_state": "WHERE %s::uuid IS NOT NULL",
    "rollup_dimension_values": _BY_DIMENSION,
    "rollup_days": _BY_DIMENSION,
    "rollup_returning_activity": _BY_VALUE,
    "rollup_session_spans": _BY_VALUE,
}
Status = Literal["ok", "degraded", "failing"]


class ProjectFacts(WireModel):
    """The project of the key."""

    id: UUID
    name: str
    time_zone: str
    consent_mode: str
    rollup_keys: list[str]
    """The keys of data that are rolled up, so that breakdowns by them are fast for any range."""


class Diagnostics(WireModel):
    """The response to GET /v1/diagnostics."""

    status: Status
    checked_at: datetime
    mode: str
    project: ProjectFacts | None
    """None if the project could not be read."""
    tables_exist: dict[str, bool]
    counts: dict[str, int | None]
    """The number of the project's rows in each table; None if they could not be counted."""
    checks: list[Check]


class Health(WireModel):
    """The response to GET /healthz."""

    status: Literal["ok"]


def run_diagnostics(database: Database, access: Access) -> Diagnostics:
    """Run every check. It opens a new connection, because the warm one says nothing about connecting.

    Raises:
        KeyRefused: the key may not read diagnostics.
    """
    settings, deadline = database.settings, time.monotonic() + BUDGET_SECONDS
    started = time.perf_counter()
    try:
        connection = connect(settings, timeout_seconds=CONNECT_SECONDS)
    except psycopg.Error as error:
        log("ERROR", "diagnostics_cannot_connect", error=type(error).__name__, sqlstate=error.sqlstate)
        return _answer(settings, checks.when_unreachable(error, _since(started)), {}, {})
    try:
        with _cut_off(connection, deadline):
            return _diagnose(settings, connection, access, deadline, _since(started))
    except psycopg.OperationalError as error:
        log("ERROR", "diagnostics_lost_connection", error=type(error).__name__, sqlstate=error.sqlstate)
        return _answer(settings, checks.when_unreachable(error, _since(started)), {}, {})
    finally:
        connection.close()


def check_health(connection: Connection) -> Health:
    """Return {"status": "ok"} if the schema is current. The route needs no key, so there is no access or request.

    Raises:
        SchemaIncomplete: the schema differs from what the migrations create.
    """
    # A missing partition is no fault: events go to the default one until maintenance creates it.
    broken = [
        difference.object
        for difference in verify(connection).differences
        if not difference.object.startswith("partition muster.analytics_events_2")
    ]
    if broken:
        log("ERROR", "schema_is_not_current", objects=broken[:20])
        raise SchemaIncomplete
    return Health(status="ok")


def _diagnose(
    settings: Settings,
    connection: Connection,
    access: Access,
    deadline: float,
    connect_ms: float,
) -> Diagnostics:
    found = _bounded(connection, deadline, verify)
    project_id = _project(connection, access, deadline)
    context = Context(
        settings=settings,
        connect_ms=connect_ms,
        verification=found if isinstance(found, Verification) else None,
        project_id=project_id,
    )
    listed: list[Check] = []
    for name, check in checks.CHECKS.items():
        if project_id is not None or name in checks.WITHOUT_A_PROJECT:
            listed.append(_run(name, check, connection, context, deadline))
            if listed[-1].status == "fail":
                context.failed.append(name)
    missing = {difference.object for difference in context.verification.differences} if context.verification else set()
    exist = {name: context.verification is not None and f"table muster.{name}" not in missing for name in table_names()}
    counts = {name: _count(connection, name, project_id, deadline) if exist[name] else None for name in exist}
    return _answer(settings, listed, exist, counts, _facts(connection, project_id, deadline))


@contextmanager
def _cut_off(connection: Connection, deadline: float) -> Iterator[None]:
    """Close the connection at the deadline. A server timeout does not help if its response never arrives."""
    duplicate = socket.socket(fileno=os.dup(connection.pgconn.socket))
    timer = threading.Timer(max(deadline - time.monotonic(), 0.1), duplicate.shutdown, (socket.SHUT_RDWR,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        duplicate.close()


def _project(connection: Connection, access: Access, deadline: float) -> UUID | None:
    """The key's project; None if the schema is too broken to look a key up."""
    found = _bounded(connection, deadline, access.look_up)
    return found.project_id if isinstance(found, Access) else None


def _facts(connection: Connection, project_id: UUID | None, deadline: float) -> ProjectFacts | None:
    def read(open_connection: Connection) -> ProjectFacts | None:
        with open_connection.cursor(row_factory=class_row(ProjectFacts)) as cursor:
            return cursor.execute(query("diagnostics/get_project"), {"project_id": project_id}).fetchone()

    found = None if project_id is None else _bounded(connection, deadline, read)
    return found if isinstance(found, ProjectFacts) else None


def _bounded(connection: Connection, deadline: float, work: Callable[[Connection], Any]) -> Any:
    """Run `work` in a transaction that ends at the deadline; returns its result or PostgreSQL's error."""
    try:
        with connection.transaction():
            left = max(int((deadline - time.monotonic()) * 1000), 1)
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(left))
            return work(connection)
    except psycopg.OperationalError as error:
        if connection.closed:
            raise
        return error
    except psycopg.Error as error:
        return error


def _run(name: str, check: checks.Function, connection: Connection, context: Context, deadline: float) -> Check:
    started = time.perf_counter()
    finding = _bounded(connection, deadline, lambda open_connection: check(open_connection, context))
    if isinstance(finding, psycopg.Error):
        finding = checks.refused(finding)
    named: Check = finding.named(name, _since(started))
    return named


def _count(connection: Connection, table: str, project_id: UUID | None, deadline: float) -> int | None:
    if project_id is None:
        return None
    where = _PROJECT_ROWS.get(table, "WHERE project_id = %s")
    statement = sql.SQL("SELECT count(*) FROM muster.{} " + where).format(sql.Identifier(table))
    soon = min(deadline, time.monotonic() + COUNT_SECONDS)
    row = _bounded(
        connection, soon, lambda open_connection: open_connection.execute(statement, (project_id,)).fetchone()
    )
    return None if row is None or isinstance(row, psycopg.Error) else int(row[0])


def _answer(
    settings: Settings,
    listed: list[Check],
    exist: dict[str, bool],
    counts: dict[str, int | None],
    project: ProjectFacts | None = None,
) -> Diagnostics:
    statuses = {check.status for check in listed}
    status: Status = "failing" if "fail" in statuses else "degraded" if "warn" in statuses else "ok"
    return Diagnostics(
        status=status,
        checked_at=datetime.now(UTC),
        mode=settings.ingest_mode,
        project=project,
        tables_exist=exist,
        counts=counts,
        checks=listed,
    )


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
