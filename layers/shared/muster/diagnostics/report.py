"""Says what works and what does not, and how to mend it; whatever is broken, it answers, and within seconds."""

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
# A name may stand for two addresses, and each is given this long.
CONNECT_SECONDS = 2
COUNT_SECONDS = 1.0
# Of the tables that do not name the project in each row.
_BY_DIMENSION = "WHERE dimension_id IN (SELECT id FROM muster.rollup_dimensions WHERE project_id = %s)"
_BY_VALUE = f"WHERE value_id IN (SELECT id FROM muster.rollup_dimension_values {_BY_DIMENSION})"
_ROWS_OF_A_PROJECT = {
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
    """Whose key asks."""

    id: UUID
    name: str
    time_zone: str
    consent_mode: str
    rollup_keys: list[str]
    """Keys of data whose breakdowns cost nothing, whatever the range."""


class Diagnostics(WireModel):
    """The state of the whole."""

    status: Status
    checked_at: datetime
    mode: str
    project: ProjectFacts | None
    """None where the database could not say."""
    tables_exist: dict[str, bool]
    counts: dict[str, int | None]
    """The project's rows by table; None where they could not be counted."""
    checks: list[Check]


class Health(WireModel):
    """The answer of GET /healthz."""

    status: Literal["ok"]


def run_diagnostics(database: Database, access: Access) -> Diagnostics:
    """Every check on a connection of its own, since the warm one says nothing about connecting.

    Raises:
        KeyRefused: the key is known not to be allowed.
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
    """{"status": "ok"}, when the schema is current. Nobody asks: this one topic takes neither access nor request.

    Raises:
        SchemaIncomplete: the schema is not what the migrations create.
    """
    # The partition of a month to come is maintenance's business: without it events go to the default one.
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
    """Break the connection when the time is up: no timeout of the server's helps where its answers do not arrive."""
    end = socket.socket(fileno=os.dup(connection.pgconn.socket))
    timer = threading.Timer(max(deadline - time.monotonic(), 0.1), end.shutdown, (socket.SHUT_RDWR,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        end.close()


def _project(connection: Connection, access: Access, deadline: float) -> UUID | None:
    """The key's project; None where the schema is too broken to look a key up."""
    found = _bounded(connection, deadline, access.look_up)
    return found.project_id if isinstance(found, Access) else None


def _facts(connection: Connection, project_id: UUID | None, deadline: float) -> ProjectFacts | None:
    def look(open_connection: Connection) -> ProjectFacts | None:
        with open_connection.cursor(row_factory=class_row(ProjectFacts)) as cursor:
            return cursor.execute(query("diagnostics/get_project"), {"project_id": project_id}).fetchone()

    found = None if project_id is None else _bounded(connection, deadline, look)
    return found if isinstance(found, ProjectFacts) else None


def _bounded(connection: Connection, deadline: float, work: Callable[[Connection], Any]) -> Any:
    """What `work` returns, or the error with which PostgreSQL refused it."""
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
    where = _ROWS_OF_A_PROJECT.get(table, "WHERE project_id = %s")
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
