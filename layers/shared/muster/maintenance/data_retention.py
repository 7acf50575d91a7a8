"""Retention per project: what is older than a project keeps goes, by partitions where it can, else by days."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import class_row

from muster.db.client import Connection
from muster.db.queries import query, rows_of
from muster.platform.logging import log, log_with_metrics
from muster.platform.settings import Settings

# No step begins after the first of these, and none goes on after the second: the function has 900. A partition that
# takes longer than its share is left to the steps, of which each gets on by some days.
RETENTION_SECONDS, LAST_SECONDS, PARTITION_SECONDS = 600.0, 870.0, 300.0
# Of days together, at most so many; a day is taken as a whole. Each step writes again the days of users who go on.
EVENTS_AT_ONCE = 200_000
ROWS_AT_ONCE = 20_000
# Of a fold that is going on.
LOCK_TIMEOUT = "30s"
# Others hold what a step needs, or it takes longer than there is time: the next run tries again.
_NOT_NOW = (pg.LockNotAvailable, pg.ObjectInUse, pg.DeadlockDetected, pg.QueryCanceled)


@dataclass(frozen=True, slots=True)
class Expired:
    """What is older than a project keeps it; source is get_expired.sql."""

    project_id: UUID
    retention_days: int
    keep_from: datetime
    days: list[tuple[str, int]]
    """Each day with its number of events."""
    sessions: int
    rejections: int
    ignored: int

    @property
    def events(self) -> int:
        """Of all days."""
        return sum(events for _, events in self.days)

    def steps(self) -> Iterator[date]:
        """The days before which to delete, one after the other."""
        together = 0
        for place, (day, events) in enumerate(self.days, start=1):
            together += events
            if place == len(self.days) or together + self.days[place][1] > EVENTS_AT_ONCE:
                yield date.fromisoformat(day) + timedelta(days=1)
                together = 0


@dataclass(slots=True)
class Gone:
    """What went of a project, or would go."""

    events: int = 0
    sessions: int = 0
    rejections: int = 0
    ignored: int = 0


class _Run:
    """One run over all projects: what went, and whether it came to its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._began = time.monotonic()
        self.gone: dict[UUID, Gone] = {}
        self.partitions: list[str] = []
        self.is_complete = True

    def drop_partitions(self) -> None:
        """Drop the months that no project keeps; what stands in the way leaves their events to the steps."""
        for name in get_expired_partitions(self._connection):
            for project_id, events, sessions in self._step("expire_partition", PARTITION_SECONDS, partition=name):
                gone = self.gone.setdefault(project_id, Gone())
                gone.events += events
                gone.sessions += sessions
            if self._exists(name):
                break  # what was in the way of one is in the way of the next
            self.partitions.append(name)

    def delete_events(self, expired: Expired) -> None:
        """Delete the old days of a project, the oldest first."""
        gone = self.gone.setdefault(expired.project_id, Gone())
        for before in expired.steps():
            for events, sessions in self._step("expire_events", project_id=expired.project_id, before=before):
                gone.events += events
                gone.sessions += sessions

    def delete_rows(self, project_id: UUID) -> None:
        """Delete what else is old."""
        gone = self.gone.setdefault(project_id, Gone())
        while rows := self._step("expire_rows", project_id=project_id, most=ROWS_AT_ONCE):
            ((sessions, rejections, ignored),) = rows
            gone.sessions += sessions
            gone.rejections += rejections
            gone.ignored += ignored
            if max(sessions, rejections, ignored) < ROWS_AT_ONCE:
                break

    def _step(self, name: str, most_seconds: float = LAST_SECONDS, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement and transaction; none where there is no time left, or others do not let it be."""
        spent = time.monotonic() - self._began
        if spent > RETENTION_SECONDS:
            self.is_complete = False
            return []
        timeout = f"{int(min(LAST_SECONDS - spent, most_seconds) * 1000)}ms"
        self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [timeout])
        try:
            return self._connection.execute(rows_of(name, tuple(parameters)), parameters).fetchall()
        except _NOT_NOW as error:
            # Of a partition the steps after it delete the events; it is dropped the next time.
            self.is_complete = self.is_complete and name == "expire_partition"
            place = {"project": parameters.get("project_id"), "partition": parameters.get("partition")}
            log("WARN", "retention_step_failed", step=name, sqlstate=error.sqlstate, **place)
            return []

    def _exists(self, name: str) -> bool:
        found = self._connection.execute("SELECT to_regclass('muster.' || %s) IS NOT NULL", [name]).fetchone()
        return bool(found and found[0])


def expire(connection: Connection, settings: Settings, *, dry_run: bool) -> dict[str, Any]:
    """Take away what is older than its project keeps it, or only say what that is; `connection` is in autocommit mode.

    Returns:
        {"status", "dryRun", "complete", "partitions": [name…],
        "projects": [{"projectId", "retentionDays", "keptFrom", "events", "sessions", "rejections", "ignored",
        "left": null | {"events", "sessions", "rejections", "ignored"}}…]}, of the projects that do not keep all
    """
    expired = get_expired(connection)
    if dry_run:
        names = get_expired_partitions(connection)
        return _answer(expired, {each.project_id: _whole(each) for each in expired}, names, None)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    run = _Run(connection)
    run.drop_partitions()
    for each in get_expired(connection) if run.partitions else expired:
        run.delete_events(each)
        run.delete_rows(each.project_id)
    left = {} if run.is_complete else {each.project_id: _whole(each) for each in get_expired(connection)}
    _log(expired, run, left, settings)
    return _answer(expired, run.gone, run.partitions, left)


def get_expired(connection: Connection) -> list[Expired]:
    """What is older than its project keeps it, of every project that does not keep all."""
    with connection.cursor(row_factory=class_row(Expired)) as cursor:
        return cursor.execute(query("maintenance/get_expired")).fetchall()


def get_expired_partitions(connection: Connection) -> list[str]:
    """The names of the months of which no project keeps anything, the oldest first."""
    return [str(row[0]) for row in connection.execute(rows_of("expired_partitions", ())).fetchall()]


def _whole(expired: Expired) -> Gone:
    return Gone(expired.events, expired.sessions, expired.rejections, expired.ignored)


def _answer(
    expired: Sequence[Expired], gone: Mapping[UUID, Gone], partitions: list[str], left: Mapping[UUID, Gone] | None
) -> dict[str, Any]:
    return {
        "status": "ok",
        "dryRun": left is None,
        "complete": not left,
        "partitions": partitions,
        "projects": [
            {
                "projectId": str(each.project_id),
                "retentionDays": each.retention_days,
                "keptFrom": each.keep_from.astimezone(UTC).isoformat(),
                **asdict(gone.get(each.project_id, Gone())),
                "left": asdict(left[each.project_id]) if left and each.project_id in left else None,
            }
            for each in expired
        ],
    }


def _log(expired: Sequence[Expired], run: _Run, left: Mapping[UUID, Gone], settings: Settings) -> None:
    for each in expired:
        gone = asdict(run.gone.get(each.project_id, Gone()))
        rest = asdict(left[each.project_id]) if each.project_id in left else None
        log("INFO", "project_expired", project=each.project_id, retention_days=each.retention_days, **gone, left=rest)
    metrics: dict[str, float] = {
        "EventsExpired": sum(gone.events for gone in run.gone.values()),
        "SessionsExpired": sum(gone.sessions for gone in run.gone.values()),
        "RejectionsExpired": sum(gone.rejections for gone in run.gone.values()),
        "PartitionsDropped": len(run.partitions),
    }
    log_with_metrics(
        "retention_result",
        metrics,
        service=settings.service_name,
        stage=settings.stage,
        complete=run.is_complete,
        partitions=run.partitions,
    )
