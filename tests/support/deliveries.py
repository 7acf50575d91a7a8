"""Delivers batches to ingest in each way that there is, and returns what became of every event."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import dict_row

from functions.consume import app as consume
from functions.ingest import app as ingest
from muster.api import app as api
from muster.ingest import consume as consuming
from muster.ingest import handler as handling
from tests.support.databases import Project
from tests.support.functions import BROWSER, Answer, Caller, Context, a_batch, an_event
from tests.support.golden import written

ROUTE = "POST /v1/events"
Row = dict[str, Any]


class Way(NamedTuple):
    """How the events of a test reach the database."""

    neighbours: int = 0
    """Valid events that are sent along with those of the test."""
    is_queued: bool = False
    """Function ingest queues the batch and function consume stores it."""
    is_full: bool = False
    """The batch names its user agent, which only the full path reads."""


DELIVERIES = {
    "one event": Way(),
    "two events": Way(neighbours=1),
    "from the queue": Way(neighbours=1, is_queued=True),
    "by the full path": Way(neighbours=1, is_full=True),
}


class Delivery(NamedTuple):
    """What became of a batch."""

    answer: Answer
    """Of function ingest."""
    events: list[Row]
    """The result of each event, as stored."""
    path: str | None
    """The log field `path`: fast or full; None if nothing was stored."""
    lines: dict[str, list[Row]]
    """The log lines by message."""

    @property
    def outcomes(self) -> list[str]:
        """The reason of each event, or its status if it has no reason."""
        return [str(event.get("reason", event["status"])) for event in self.events]

    @property
    def outcome(self) -> str:
        """The outcome of the last event."""
        return self.outcomes[-1]


class Deliver:
    """Delivers batches in one way, and checks that response, log and database account for every event."""

    def __init__(
        self,
        way: Way,
        project: Project,
        owner: psycopg.Connection[Any],
        environment: pytest.MonkeyPatch,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.way, self.project, self.owner = way, project, owner
        self._environment, self._capsys = environment, capsys
        self._ingest = Caller(ingest.lambda_handler, project, "muster_ingest", environment)
        self._queued: list[str] = []
        self._results: list[Row] = []
        monkeypatch.setattr("muster.ingest.enqueue.send", lambda _, messages: self._queued.extend(messages))
        store_batch = self._recording(handling.store_batch)
        for module in (handling, consuming):
            monkeypatch.setattr(module, "store_batch", store_batch)

    def batch(self, *events: Mapping[str, Any], **fields: Any) -> Row:
        """A batch of the neighbours of this way and, after them, of the given events, by default one."""
        given = [dict(event) for event in events] or [an_event()]
        batch = a_batch(*(an_event() for _ in range(self.way.neighbours)), *given, **fields)
        if self.way.is_full:
            batch["context"] = {"userAgent": BROWSER, **batch.get("context", {})}
        return batch

    def path(self, expected: str = "fast") -> str:
        """The path that a batch must take, if this way does not force the full path."""
        return "full" if self.way.is_full else expected

    def __call__(
        self, batch: Any, *, change: Callable[[list[str]], list[str]] = lambda messages: messages, **options: Any
    ) -> Delivery:
        """Deliver a batch, or a text in its place; `change` may replace the queued messages."""
        self._results.clear()
        self._queued.clear()
        written(self._capsys)
        if self.way.is_queued:
            self._set_mode("buffered")
        answer = self._ingest(ROUTE, batch, **options)
        if self.way.is_queued:
            self._set_mode("direct")
            if self._queued:
                self.consume(change(list(self._queued)))
        lines = written(self._capsys)
        paths = {
            line["path"]
            for name in ("ingest_result", "consume_result")
            for line in lines.get(name, ())
            if "path" in line
        }
        delivery = Delivery(answer, list(self._results), paths.pop() if len(paths) == 1 else None, lines)
        if delivery.events:
            self._check_accounts(delivery)
        return delivery

    def consume(self, messages: list[str]) -> None:
        """Store queued messages."""
        records = [
            {"messageId": str(number), "body": body, "eventSource": "aws:sqs", "attributes": {}}
            for number, body in enumerate(messages)
        ]
        assert consume.lambda_handler({"Records": records}, Context()) == {"batchItemFailures": []}  # type: ignore[arg-type]  # stands for Lambda's

    def change_project(self, **settings: Any) -> None:
        """Set columns of the project."""
        for name, value in settings.items():
            self.owner.execute(
                f"UPDATE muster.projects SET {name} = %s WHERE id = %s".encode(), (value, self.project.id)
            )

    def decide(self, status: str, *, user_id: str | None = None, session_id: str | None = None) -> None:
        """Record a consent decision."""
        self.owner.execute(
            "INSERT INTO muster.analytics_consent (project_id, user_id, session_id, status) VALUES (%s, %s, %s, %s)",
            (self.project.id, user_id, session_id, status),
        )

    def rows(self, table: str, order: str = "1") -> list[Row]:
        """The project's rows of a table."""
        statement = f"SELECT * FROM muster.{table} WHERE project_id = %s ORDER BY {order}"
        with self.owner.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement.encode(), (self.project.id,)).fetchall()

    def stored(self, event: Mapping[str, Any] | str) -> Row:
        """The one stored row of an event, or of an event's id."""
        event_id = event if isinstance(event, str) else event["id"]
        (row,) = [row for row in self.rows("analytics_events") if row["id"] == uuid.UUID(event_id)]
        return row

    def session(self) -> Row:
        """The project's one session."""
        (row,) = self.rows("analytics_sessions")
        return row

    def _set_mode(self, mode: str) -> None:
        api.database().close()
        api.database.cache_clear()
        self._environment.setenv("INGEST_MODE", mode)
        self._environment.setenv("QUEUE_URL", "https://queue.invalid")

    def _recording(self, store: Callable[..., handling.StoredBatch]) -> Callable[..., handling.StoredBatch]:
        def store_and_record(*arguments: Any, **options: Any) -> handling.StoredBatch:
            stored = store(*arguments, **options)
            events = json.loads(stored.response.text)["events"]
            # A message may hold a later part of its batch.
            first = options.get("first_index", 0)
            self._results += [{**event, "index": index} for index, event in enumerate(events, start=first)]
            return stored

        return store_and_record

    def _check_accounts(self, delivery: Delivery) -> None:
        statuses = Counter(event["status"] for event in delivery.events)
        for line in (*delivery.lines.get("ingest_result", ()), *delivery.lines.get("consume_result", ())):
            assert line["EventsUnaccounted"] == 0
        assert self._counted(delivery.lines) == {
            "EventsAccepted": statuses["accepted"],
            "EventsDuplicate": statuses["duplicate"],
            "EventsIgnored": statuses["ignored"],
            "EventsRejected": statuses["rejected"],
        }
        assert len(delivery.lines.get("event_rejected", ())) == statuses["rejected"]
        if not self.way.is_queued:
            assert delivery.answer.json["events"] == delivery.events
        stored = Counter(row["id"] for row in self.rows("analytics_events"))
        quarantined = {row["event_index"] for row in self.rows("analytics_rejections")}
        ignored = {(row["id"], row["reason"]) for row in self.rows("analytics_ignored")}
        for event in delivery.events:
            if event["status"] in ("accepted", "duplicate"):
                assert stored[uuid.UUID(event["id"])] == 1, event
            elif event["status"] == "rejected":
                assert event["index"] in quarantined, event
            elif event["reason"] != "erased":
                assert (uuid.UUID(event["id"]), event["reason"]) in ignored, event

    def _counted(self, lines: Mapping[str, list[Row]]) -> dict[str, int]:
        """The metrics of both functions. Function ingest says what it rejected, function consume the rest."""
        names = ("EventsAccepted", "EventsDuplicate", "EventsIgnored", "EventsRejected")
        all_lines = [*lines.get("ingest_result", ()), *lines.get("consume_result", ())]
        return {name: sum(line.get(name, 0) for line in all_lines) for name in names}
