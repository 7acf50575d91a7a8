"""One warm connection to Postgres: opened on first use, reopened once when the server has dropped it."""

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
from muster.platform.errors import DatabaseUnavailable, MusterError, SchemaIncomplete
from muster.platform.logging import log
from muster.platform.settings import Settings

Connection = psycopg.Connection[Any]
T = TypeVar("T")
P = ParamSpec("P")

CONNECT_TIMEOUT_SECONDS = 3
TOOK_TOO_LONG = (
    "The database took too long and was stopped; nothing was stored. Ask for less at once, such as a shorter range, or "
    "send the same request again."
)
# A dead peer is noticed within about ten seconds, before API Gateway gives up on us.
KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}

# The server, not the statement, is at fault: the same statement may succeed on a new connection.
CONNECTION_LOST = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.ReadOnlySqlTransaction)
MISSING = (
    pg.UndefinedTable,
    pg.UndefinedColumn,
    pg.UndefinedFunction,
    pg.UndefinedObject,
    pg.InvalidSchemaName,
    pg.InsufficientPrivilege,
    pg.CheckViolation,  # no partition takes the row
)


class Database:
    """A database and the one connection that this process keeps to it; not for use by two threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reconnects = 0
        self.connect_ms = 0.0
        self._connection: Connection | None = None
        self._prepared: dict[bytes, bytes] = {}
        """Names by statement, on this connection."""
        self._numbers = count()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now, so that what is only useful need not open one."""
        return self._connection is not None and not self._connection.closed

    def connection(self) -> Connection:
        """The open connection, connecting first if there is none.

        Raises:
            psycopg.OperationalError: when the server cannot be reached.
        """
        if self._connection is None or self._connection.closed:
            started = time.perf_counter()
            self._prepared = {}
            self._connection = connect(self.settings)
            self.connect_ms = (time.perf_counter() - started) * 1000
        return self._connection

    def run(self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(connection, …)`; when the connection was dropped, or a deadlock chose us, once more.

        Everything that is run here must be safe to repeat: it is one statement, or one transaction whose ids
        make it so.

        Raises:
            DatabaseUnavailable: the database cannot do it now; nothing was stored.
            SchemaIncomplete: a table, function or grant is missing.
        """
        try:
            try:
                return work(self.connection(), *args, **kwargs)
            except pg.DeadlockDetected as error:
                log("WARN", "database_deadlock_retried", sqlstate=error.sqlstate)
            except psycopg.OperationalError as error:
                if not self._was_dropped(error):
                    raise
                log("WARN", "database_reconnected", sqlstate=error.sqlstate, error=type(error).__name__)
                self.reconnects += 1
                self.close()
            except pg.ReadOnlySqlTransaction as error:
                # After a failover our address may still lead to the old, now read-only, server.
                log("WARN", "database_reconnected", sqlstate=error.sqlstate, error=type(error).__name__)
                self.reconnects += 1
                self.close()
            return work(self.connection(), *args, **kwargs)
        except psycopg.Error as error:
            raise self._explained(error) from error

    def execute_one(
        self, statement: bytes, values: Sequence[str | None], *, meanwhile: Callable[[], T]
    ) -> tuple[bytes, T]:
        """Run a statement with $1, $2 … that answers one value: its text, and what `meanwhile` made while it ran.

        This is the way of one batch after another: libpq's own calls, without what a cursor does for types and rows,
        which costs a tenth of a batch of fifty. Raises as run does, and may call `meanwhile` twice.
        """
        encoded = [None if value is None else value.encode() for value in values]
        return self.run(self._execute_one, statement, encoded, meanwhile)

    def _execute_one(
        self, connection: Connection, statement: bytes, values: Sequence[bytes | None], meanwhile: Callable[[], T]
    ) -> tuple[bytes, T]:
        name = self._prepare(connection, statement) if self.settings.database_prepares else None
        if name is None:
            connection.pgconn.send_query_params(statement, values)
        else:
            connection.pgconn.send_query_prepared(name, values)
        made = meanwhile()
        try:
            value = _result(connection).get_value(0, 0)
        except pg.FeatureNotSupported:
            # A migration has changed what the statement answers; under a new name it is a new one.
            self._prepared.pop(statement, None)
            raise
        if value is None:
            raise psycopg.InternalError("The statement answered no value.")
        return value, made

    def _prepare(self, connection: Connection, statement: bytes) -> bytes:
        """The name under which the server keeps the statement for this connection."""
        if statement not in self._prepared:
            name = f"muster_{next(self._numbers)}".encode()
            connection.pgconn.send_prepare(name, statement)
            _result(connection)
            self._prepared[statement] = name
        return self._prepared[statement]

    def take_connect_ms(self) -> float:
        """How long the latest connect took, once; 0.0 when it was told already."""
        taken, self.connect_ms = self.connect_ms, 0.0
        return taken

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _was_dropped(self, error: psycopg.OperationalError) -> bool:
        # A failed connect leaves no connection: to try again at once would only double the wait.
        if self._connection is None:
            return False
        return self._connection.closed or isinstance(error, CONNECTION_LOST)

    def _explained(self, error: psycopg.Error) -> MusterError:
        log("ERROR", "database_error", sqlstate=error.sqlstate, error=type(error).__name__)
        if isinstance(error, pg.QueryCanceled):
            return DatabaseUnavailable(TOOK_TOO_LONG, sqlstate=error.sqlstate)
        if self._connection is not None and isinstance(error, (psycopg.OperationalError, *CONNECTION_LOST)):
            self.close()
        if isinstance(error, MISSING):
            return SchemaIncomplete(sqlstate=error.sqlstate)
        return DatabaseUnavailable(sqlstate=error.sqlstate)


def connect(settings: Settings, *, timeout_seconds: int = CONNECT_TIMEOUT_SECONDS) -> Connection:
    """A new autocommit connection that acts as the settings' role.

    Raises:
        psycopg.OperationalError: when the server cannot be reached.
    """
    try:
        connection = _open(settings, login_of(settings), timeout_seconds)
    except psycopg.OperationalError as error:
        if not (may_have_changed(settings) and _is_refused_login(error)):
            raise
        # The secret may have been rotated since we read it, or the token have expired on its way.
        connection = _open(settings, login_of(settings, refetch=True), timeout_seconds)
    role = settings.database_role
    if role is not None and role != connection.info.user:
        try:
            connection.execute(query("db/become_role"), {"role": role})
        except psycopg.Error:
            connection.close()
            raise
    elif settings.database_host is None:
        # On RDS it is off for all. What metrics ask looks expensive, for the planner cannot know how few rows it meets;
        # compiling it takes a hundred times as long as running it.
        connection.execute("SET jit = off")
    return connection


def _open(settings: Settings, login: str, timeout_seconds: int) -> Connection:
    connection = psycopg.connect(
        login,
        autocommit=True,
        connect_timeout=timeout_seconds,
        application_name=settings.service_name,
        # Statements run once each in a short life; unprepared they do not pin an RDS Proxy connection.
        prepare_threshold=None,
        **KEEPALIVE,
    )
    set_json_loads(orjson.loads, connection)
    return connection


def _is_refused_login(error: psycopg.OperationalError) -> bool:
    # libpq gives no SQLSTATE for what the server says before the session begins.
    return "authentication failed" in str(error)


def call(connection: Connection, function: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that the SQL function muster.<function> answers; `parameters` by their names without p_."""
    return cast(dict[str, Any], call_value(connection, function, parameters))


def call_value(connection: Connection, function: str, parameters: dict[str, Any]) -> Any:
    """The value that the SQL function muster.<function> answers; `parameters` by their names without p_."""
    row = connection.execute(call_of(function, tuple(parameters)), parameters).fetchone()
    return row[0] if row else None


def _result(connection: Connection) -> PGresult:
    """The result of what was sent; raises as a cursor would."""
    result = connection.pgconn.get_result()
    # The first says why, where a second one only says that the server is gone.
    while connection.pgconn.get_result() is not None:
        pass
    if result is not None and result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    error = pg.error_from_result(result) if result else psycopg.OperationalError("the connection is lost")
    # Where the connection broke without a word, there is no SQLSTATE to tell the kind of error by.
    raise psycopg.OperationalError(str(error)) if connection.closed and error.sqlstate is None else error
