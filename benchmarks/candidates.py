"""The candidates: ways to store a batch, measured interleaved. Those that need tables have their own."""

import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from aws_lambda_powertools import Logger
from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import AwareDatetime, BaseModel, Field

from benchmarks.batches import USERS
from benchmarks.target import Target
from local.gateway.http_api import Request, to_event
from local.sam.template import Route
from muster.api import app as api
from muster.db.client import Database
from muster.platform.settings import load_settings

Connection = psycopg.Connection[tuple[object, ...]]
T = TypeVar("T")
COLUMNS = ("project_id", "session_id", "id", "occurred_at", "batch_id", "user_id", "event_type", "area", "data")


class Candidate(ABC):
    """One way to store batches."""

    name: str

    def __init__(self, target: Target) -> None:
        self.target = target
        self.schema = f"bench_{type(self).__name__.lower()}"
        self.connection = target.connect()

    @property
    def server_pid(self) -> int:
        """The id of the server process that works for it."""
        return self.connection.info.backend_pid

    def prepare(self) -> None:  # noqa: B027 - some candidates have nothing to prepare
        """Create its empty tables or functions."""

    def encode(self, batch: dict[str, Any]) -> Any:
        """The request for a batch. Making it is not measured."""
        return batch

    @abstractmethod
    def send(self, encoded: Any) -> None:
        """Store a batch."""

    def close(self) -> None:
        """Close its connection."""
        self.connection.close()


class Copy(Candidate):
    """The limit: COPY of the same rows into one table without index and checks."""

    name = "COPY, bare table"

    def prepare(self) -> None:
        _fresh_schema(self.connection, self.schema)
        self.connection.execute(
            sql.SQL("CREATE TABLE {}.events (LIKE muster.analytics_events INCLUDING DEFAULTS)").format(
                sql.Identifier(self.schema)
            )
        )

    def encode(self, batch: dict[str, Any]) -> bytes:
        rows = ["\t".join(map(_copy_text, row)) for row in _rows(self.target, batch)]
        return ("\n".join(rows) + "\n").encode()

    def send(self, encoded: bytes) -> None:
        statement = f"COPY {self.schema}.events ({', '.join(COLUMNS)}) FROM STDIN"
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(encoded)


class ExecuteMany(Candidate):
    """A typical backend: one INSERT per event, pipelined in one transaction, on the same index."""

    name = "executemany"

    def prepare(self) -> None:
        _fresh_schema(self.connection, self.schema)
        self.connection.execute(f"""
            CREATE TABLE {self.schema}.events (LIKE muster.analytics_events INCLUDING DEFAULTS);
            ALTER TABLE {self.schema}.events ADD PRIMARY KEY (project_id, session_id, id, occurred_at);
        """)

    def send(self, encoded: dict[str, Any]) -> None:
        places = ", ".join(["%s"] * len(COLUMNS))
        statement = f"INSERT INTO {self.schema}.events ({', '.join(COLUMNS)}) VALUES ({places}) ON CONFLICT DO NOTHING"
        rows = [(*row[:-1], Jsonb(row[-1])) for row in _rows(self.target, encoded)]
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(statement, rows)


class _ReplacedEvent(BaseModel):
    id: uuid.UUID | None = None
    eventType: str = Field(min_length=1, max_length=64)
    area: str = Field(min_length=1, max_length=64)
    timestamp: AwareDatetime
    data: dict[str, Any] = Field(default_factory=dict)


class _ReplacedBatch(BaseModel):
    sessionId: uuid.UUID
    userId: str | None = None
    events: list[_ReplacedEvent] = Field(min_length=1, max_length=500)


class Replaced(Candidate):
    """The whole handler of the service that Muster replaces, from the event's text to the response's text.

    For each event it selects the session, inserts it if there is none, counts the event in it, selects the user and
    inserts the event. Each statement is its own transaction. It logs with Powertools, as its functions do.
    """

    name = "the replaced service"

    def prepare(self) -> None:
        _fresh_schema(self.connection, self.schema)
        self.connection.execute(f"""
            CREATE TABLE {self.schema}.analytics_events (
                id uuid PRIMARY KEY, session_id uuid NOT NULL, user_id text, event_type text NOT NULL,
                area text NOT NULL,
                "timestamp" timestamptz NOT NULL, data jsonb, created_at timestamptz NOT NULL DEFAULT now());
            CREATE INDEX ON {self.schema}.analytics_events (session_id, "timestamp");
            CREATE INDEX ON {self.schema}.analytics_events ("timestamp");
            CREATE TABLE {self.schema}.analytics_sessions (
                id uuid PRIMARY KEY, user_id text, started_at timestamptz, ended_at timestamptz,
                last_seen_at timestamptz,
                duration_ms bigint NOT NULL DEFAULT 0, is_active boolean NOT NULL DEFAULT true,
                events_count integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
                updated_at timestamptz NOT NULL DEFAULT now());
            CREATE TABLE {self.schema}.users (id text PRIMARY KEY, name text);
            INSERT INTO {self.schema}.users
            SELECT 'user-' || lpad(n::text, 5, '0'), 'name' FROM generate_series(0, {USERS - 1}) n;
            ANALYZE {self.schema}.users;
        """)

    def encode(self, batch: dict[str, Any]) -> str:
        return _request_text(self.target, batch)

    def send(self, encoded: str) -> None:
        request = json.loads(encoded)
        batch = _ReplacedBatch.model_validate(json.loads(request["body"]))
        execute: Callable[..., Any] = self.connection.execute
        for event in batch.events:
            columns = "id, user_id, started_at, last_seen_at, events_count"
            session = execute(
                f"SELECT {columns} FROM {self.schema}.analytics_sessions WHERE id = %s", [batch.sessionId]
            ).fetchone()
            if session is None:
                execute(
                    f"INSERT INTO {self.schema}.analytics_sessions (id, user_id, started_at, last_seen_at) "
                    "VALUES (%s, %s, %s, %s)",
                    [batch.sessionId, batch.userId, event.timestamp, event.timestamp],
                )
            execute(
                f"UPDATE {self.schema}.analytics_sessions SET events_count = events_count + 1, last_seen_at = %s, "
                "updated_at = now() WHERE id = %s",
                [event.timestamp, batch.sessionId],
            )
            execute(f"SELECT id, name FROM {self.schema}.users WHERE id = %s", [batch.userId]).fetchone()
            execute(
                f"INSERT INTO {self.schema}.analytics_events (id, session_id, user_id, event_type, area, "
                '"timestamp", data) '
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [
                    event.id,
                    batch.sessionId,
                    batch.userId,
                    event.eventType,
                    event.area,
                    event.timestamp,
                    Jsonb(event.data),
                ],
            )
        _logger().info("events stored", extra={"count": len(batch.events)})
        results = [{"id": str(event.id), "status": "accepted"} for event in batch.events]
        json.dumps({"statusCode": HTTPStatus.OK, "body": json.dumps({"results": results})})


@cache
def _logger() -> Logger:
    """A logger that discards its lines. There is only one, because each new one adds a handler to the same name."""
    return Logger(service="replaced", stream=Path(os.devnull).open("w", encoding="utf-8"))


class Muster(Candidate):
    """The whole handler of Muster with its log line, from the event's text to the response's text."""

    name = "Muster, whole handler"

    _make_database: type[Database] = Database

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.connection.close()
        os.environ |= {"DATABASE_URL": target.url, "DATABASE_ROLE": "muster_ingest", "DATABASE_PREPARES": "on"}
        from functions.ingest import app  # noqa: PLC0415 - its import reads the environment that is set above

        self._handler = app.lambda_handler
        self._database = self._make_database(load_settings())
        self.connection = self._database.connection()

    def encode(self, batch: dict[str, Any]) -> str:
        return _request_text(self.target, batch)

    def send(self, encoded: str) -> None:
        # Two of these may run interleaved in one process, each with its own database.
        api.database = self._own_database  # type: ignore[assignment]
        response = self._handler(json.loads(encoded), _CONTEXT)
        assert response["statusCode"] == 200, response
        json.dumps(response)

    def _own_database(self) -> Database:
        return self._database


class _OneBranchDatabase(Database):
    """Calls the ablated function instead of ingest_fast_path."""

    def execute_value(
        self, statement: bytes, values: Sequence[str | None], *, while_waiting: Callable[[], T]
    ) -> tuple[bytes, T]:
        ablated = statement.replace(b"muster.ingest_fast_path(", b"muster.ingest_fast_path_ablated(")
        assert ablated != statement, statement
        return super().execute_value(ablated, values, while_waiting=while_waiting)


class OneBranch(Muster):
    """An ablation: the fast path without its branch for one event, so it stores one event like a batch of many."""

    name = "Muster without the branch for one event"
    _make_database = _OneBranchDatabase

    def prepare(self) -> None:
        with self.target.connect() as owner:
            row = owner.execute("SELECT pg_get_functiondef('muster.ingest_fast_path'::regproc)").fetchone()
            definition = str(row[0]) if row else ""
            for old, new in (
                ("muster.ingest_fast_path(", "muster.ingest_fast_path_ablated("),
                ("p_count = 1", "false"),
            ):
                assert definition.count(old) == 1, (old, definition)
                definition = definition.replace(old, new)
            owner.execute(definition.encode())
            owner.execute("GRANT EXECUTE ON FUNCTION muster.ingest_fast_path_ablated TO muster_ingest")


class _Context:
    aws_request_id = "00000000-0000-4000-8000-000000000000"
    function_name = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


_CONTEXT: Any = _Context()


def _rows(target: Target, batch: dict[str, Any]) -> list[tuple[Any, ...]]:
    batch_id = str(uuid.uuid4())
    return [
        (str(target.project_id), batch["sessionId"], event["id"], event["timestamp"], batch_id, batch["userId"],
         event["eventType"], event["area"], event["data"])
        for event in batch["events"]
    ]  # fmt: skip


def _copy_text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.replace("\\", "\\\\")


def _fresh_schema(connection: Connection, name: str) -> None:
    identifier = sql.Identifier(name)
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}").format(identifier))


def _request_text(target: Target, batch: dict[str, Any]) -> str:
    headers = {
        "authorization": f"Bearer {target.write_key}",
        "content-type": "application/json",
        "host": "api.example.com",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36",
    }
    request = Request("POST", "/v1/events", "", list(headers.items()), json.dumps(batch).encode())
    return json.dumps(to_event(request, Route("POST", "/v1/events", "IngestFunction"), {}, request_id="benchmark"))
