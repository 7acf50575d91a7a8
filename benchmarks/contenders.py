"""The ways to store a batch that are measured side by side, each with tables of its own where it needs any."""

import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

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
COLUMNS = ("project_id", "session_id", "id", "occurred_at", "batch_id", "user_id", "event_type", "area", "data")


class Contender(ABC):
    """One way to store batches."""

    name: str

    def __init__(self, target: Target, number: int = 0) -> None:
        self.target = target
        self.schema = f"bench_{type(self).__name__.lower()}"
        self.connection = target.connect()
        self.number = number

    @property
    def server_pid(self) -> int:
        """Of the server process that does its work."""
        return self.connection.info.backend_pid

    def prepare(self) -> None:  # noqa: B027 - nothing to prepare is a valid answer
        """Make its tables, empty."""

    def encode(self, batch: dict[str, Any]) -> Any:
        """What comes in over the wire: not part of what is measured."""
        return batch

    @abstractmethod
    def send(self, encoded: Any) -> None:
        """Store a batch."""

    def close(self) -> None:
        """Close its connection."""
        self.connection.close()


class Copy(Contender):
    """The limit: COPY of the same rows, with no index and no check, into one table."""

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


class ExecuteMany(Contender):
    """What a careful backend does: one INSERT for each event, pipelined, in one transaction, on the same index."""

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


class _OldEvent(BaseModel):
    id: uuid.UUID | None = None
    eventType: str = Field(min_length=1, max_length=64)
    area: str = Field(min_length=1, max_length=64)
    timestamp: AwareDatetime
    data: dict[str, Any] = Field(default_factory=dict)


class _OldBatch(BaseModel):
    sessionId: uuid.UUID
    userId: str | None = None
    events: list[_OldEvent] = Field(min_length=1, max_length=500)


class Replaced(Contender):
    """The service that Muster replaces: for each event select the session, insert it where there is none, count the
    event in it, select the user, insert the event; each statement its own transaction. The whole handler too: the
    event's text in, a log line by the logger that functions of its kind use, the response's text out."""

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
        batch = _OldBatch.model_validate(json.loads(request["body"]))
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
    """Whose lines go to nowhere, as ours do; one for all, since each that is made adds a handler to the same name."""
    return Logger(service="replaced", stream=Path(os.devnull).open("w", encoding="utf-8"))


class Muster(Contender):
    """The whole handler: the event's text in, the response's text out, its log line included."""

    name = "Muster, whole handler"

    def __init__(self, target: Target, number: int = 0) -> None:
        super().__init__(target, number)
        self.connection.close()
        os.environ |= {"DATABASE_URL": target.url, "DATABASE_ROLE": "muster_ingest", "DATABASE_PREPARES": "on"}
        from functions.ingest import app  # noqa: PLC0415 - it reads the environment that is set above

        self._handler = app.lambda_handler
        self._database = Database(load_settings())
        self.connection = self._database.connection()

    def encode(self, batch: dict[str, Any]) -> str:
        return _request_text(self.target, batch)

    def send(self, encoded: str) -> None:
        # Two of us may take turns in one process, each with a database of its own.
        api.database = self._own_database  # type: ignore[assignment]
        response = self._handler(json.loads(encoded), _CONTEXT)
        assert response["statusCode"] == 200, response
        json.dumps(response)

    def _own_database(self) -> Database:
        return self._database


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
