"""One warm connection to Postgres: opened on first use, and reopened once if the server has dropped it."""

import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import psycopg
from psycopg import errors as pg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_loads

from muster.db.dsn import login_of, may_have_changed
from muster.db.queries import call_of, query
from muster.platform.errors import AnswerLost, DatabaseUnavailable, MusterError, SchemaIncomplete
from muster.platform.logging import log
from muster.platform.settings import Settings

Connection = psycopg.Connection[Any]
T = TypeVar("T")
P = ParamSpec("P")

CONNECT_TIMEOUT_SECONDS = 3
TOOK_TOO_LONG = (
    "The request took too long in the database and was stopped. Send it again, or ask for less at once, such as a "
    "shorter range."
)
NOT_DONE = "The database could not carry out the request. Send the same request again."
# Detects a dead peer within about ten seconds, before API Gateway times out.
KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}

# The server is at fault, not the statement: it may succeed on a new connection. A server is read-only after a failover,
# when the address still leads to the old one.
CONNECTION_LOST = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.ReadOnlySqlTransaction)
MISSING = (
    pg.UndefinedTable,
    pg.UndefinedColumn,
    pg.UndefinedFunction,
    pg.UndefinedObject,
    pg.InvalidSchemaName,
    pg.InsufficientPrivilege,
    pg.CheckViolation,  # the row has no partition
)

SUCCEEDED = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Database:
    """A database and this process's one connection to it. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reconnects = 0
        self.connect_ms = 0.0
        self._connection: Connection | None = None
        self._prepared: dict[bytes, bytes] = {}
        """The statements prepared on this connection, and their names."""
        self._numbers = count()

    @property
    def is_open(self) -> bool:
        """Whether a connection is open; optional work need not open one."""
        return self._connection is not None and not self._connection.closed

    def connection(self) -> Connection:
        """The connection, opened if necessary.

        Raises:
            psycopg.OperationalError: the server cannot be reached.
        """
        if self._connection is None or self._connection.closed:
            started = time.perf_counter()
            self._prepared, self._connection = {}, None
            self._connection = connect(self.settings)
            self.connect_ms = (time.perf_counter() - started) * 1000
        return self._connection

    def run(self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, …)`, and once more after a dropped connection or a deadlock.

        `work` must be safe to repeat: one statement, or one transaction whose ids make it idempotent.

        Raises:
            DatabaseUnavailable: the database cannot do it now.
            AnswerLost: the connection broke before the database answered.
            SchemaIncomplete: a table, function or grant is missing.
        """
        try:
            return work(self.connection(), *args, **kwargs)
        except psycopg.Error as error:
            is_answer_lost = self._prepare_retry(error)
        try:
            return work(self.connection(), *args, **kwargs)
        except psycopg.Error as error:
            raise self._explained(error, is_answer_lost=is_answer_lost) from error

    def execute_value(
        self, statement: bytes, values: Sequence[str | None], *, while_waiting: Callable[[], T]
    ) -> tuple[bytes, T]:
        """Run a statement with parameters $1, $2 … that returns one value, and call `while_waiting` while it runs.

        Returns the value's text and the result of `while_waiting`, which may be called twice. Raises as `run` does.
        Ingest uses this: it calls libpq directly, because a cursor would cost a tenth of a batch of fifty.
        """
        encoded = [None if value is None else value.encode() for value in values]
        return self.run(self._execute_value, statement, encoded, while_waiting)

    def _execute_value(
        self, connection: Connection, statement: bytes, values: Sequence[bytes | None], while_waiting: Callable[[], T]
    ) -> tuple[bytes, T]:
        name = self._prepare(connection, statement) if self.settings.database_prepares else None
        if name is None:
            connection.pgconn.send_query_params(statement, values)
        else:
            connection.pgconn.send_query_prepared(name, values)
        made = while_waiting()
        try:
            value = _result(connection).get_value(0, 0)
        except pg.FeatureNotSupported:
            # A migration changed the statement's result type. Prepare it under a new name next time.
            self._prepared.pop(statement, None)
            raise
        if value is None:
            raise psycopg.InternalError("The statement returned no value.")
        return value, made

    def _prepare(self, connection: Connection, statement: bytes) -> bytes:
        """The name of the prepared statement on this connection; prepares it if necessary."""
        if statement not in self._prepared:
            name = f"muster_{next(self._numbers)}".encode()
            connection.pgconn.send_prepare(name, statement)
            _result(connection)
            self._prepared[statement] = name
        return self._prepared[statement]

    def take_connect_ms(self) -> float:
        """The duration of the latest connect, or 0.0 if this was read before."""
        taken, self.connect_ms = self.connect_ms, 0.0
        return taken

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _prepare_retry(self, error: psycopg.Error) -> bool:
        """Get ready to run the work again; returns whether the first run's answer was lost.

        Raises:
            DatabaseUnavailable: the work must not run again.
        """
        if isinstance(error, pg.DeadlockDetected):
            log("WARN", "database_deadlock_retried", sqlstate=error.sqlstate)
            return False
        if not self._is_dropped(error):
            raise self._explained(error) from error
        log("WARN", "database_reconnected", sqlstate=error.sqlstate, error=type(error).__name__)
        self.reconnects += 1
        self.close()
        return _is_answer_lost(error)

    def _is_dropped(self, error: psycopg.Error) -> bool:
        # After a failed connect there is no connection. Trying again at once would only double the wait.
        if self._connection is None:
            return False
        if isinstance(error, CONNECTION_LOST):
            return True
        return isinstance(error, psycopg.OperationalError) and self._connection.closed

    def _explained(self, error: psycopg.Error, *, is_answer_lost: bool = False) -> MusterError:
        log("ERROR", "database_error", sqlstate=error.sqlstate, error=type(error).__name__)
        if isinstance(error, pg.QueryCanceled):
            return DatabaseUnavailable(TOOK_TOO_LONG, sqlstate=error.sqlstate)
        is_connected = self._connection is not None
        is_answer_lost = is_answer_lost or (self._is_dropped(error) and _is_answer_lost(error))
        if is_connected and isinstance(error, (psycopg.OperationalError, *CONNECTION_LOST)):
            self.close()
        if isinstance(error, MISSING):
            return SchemaIncomplete(sqlstate=error.sqlstate)
        if is_answer_lost:
            return AnswerLost(sqlstate=error.sqlstate)
        if is_connected:
            return DatabaseUnavailable(NOT_DONE, sqlstate=error.sqlstate)
        return DatabaseUnavailable(sqlstate=error.sqlstate)


def _is_answer_lost(error: psycopg.Error) -> bool:
    """Whether a dropped connection leaves it open what the database did; a read-only server did nothing."""
    return not isinstance(error, pg.ReadOnlySqlTransaction)


def connect(settings: Settings, *, timeout_seconds: int = CONNECT_TIMEOUT_SECONDS) -> Connection:
    """A new autocommit connection that acts as the settings' role.

    Raises:
        psycopg.OperationalError: the server cannot be reached.
    """
    try:
        connection = _open(settings, login_of(settings), timeout_seconds)
    except psycopg.OperationalError as error:
        if not (may_have_changed(settings) and _is_refused_login(error)):
            raise
        # The secret may have been rotated since it was read, or the token may have expired.
        connection = _open(settings, login_of(settings, refetch=True), timeout_seconds)
    role = settings.database_role
    if role is not None and role != connection.info.user:
        try:
            connection.execute(query("db/become_role"), {"role": role})
        except psycopg.Error:
            connection.close()
            raise
    elif settings.database_host is None:
        # RDS has it off already. The planner overestimates the rows of metrics queries; compiling them takes a hundred
        # times as long as running them.
        connection.execute("SET jit = off")
    return connection


def _open(settings: Settings, login: str, timeout_seconds: int) -> Connection:
    connection = psycopg.connect(
        login,
        autocommit=True,
        connect_timeout=timeout_seconds,
        application_name=settings.service_name,
        # Most statements run once per connection, and prepared statements would pin an RDS Proxy connection.
        prepare_threshold=None,
        **KEEPALIVE,
    )
    set_json_loads(orjson.loads, connection)
    return connection


def _is_refused_login(error: psycopg.OperationalError) -> bool:
    # libpq has no SQLSTATE for errors before the session begins.
    return "authentication failed" in str(error)


def call(connection: Connection, function: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that the SQL function muster.<function> returns; `parameters` are named without p_."""
    return cast(dict[str, Any], call_value(connection, function, parameters))


def call_value(connection: Connection, function: str, parameters: dict[str, Any]) -> Any:
    """The value that the SQL function muster.<function> returns; `parameters` are named without p_."""
    row = connection.execute(call_of(function, tuple(parameters)), parameters).fetchone()
    return row[0] if row else None


def _result(connection: Connection) -> PGresult:
    """The result of the statement that was sent; raises as a cursor would.

    The server commits after it has sent the statement's row. If the commit fails, an error follows the row.
    """
    get_result = connection.pgconn.get_result
    result = failed = get_result()
    while failed is not None and failed.status in SUCCEEDED:
        failed = get_result()
    if result is not None and failed is None:
        return result
    # The first error has the cause; if the connection broke, a second one only says that the server is gone.
    while get_result() is not None:
        pass
    error = pg.error_from_result(failed) if failed else psycopg.OperationalError("the connection is lost")
    # A connection that broke without a message from the server has no SQLSTATE, so error has no specific type.
    raise psycopg.OperationalError(str(error)) if connection.closed and error.sqlstate is None else error
