"""Deletes data that is older than its project's data retention: whole partitions if possible, otherwise days."""

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

# No step begins after the first limit or runs beyond the second: the function times out after 900 seconds. If dropping
# a partition takes longer than the third, its events are deleted by days.
RETENTION_SECONDS, LAST_SECONDS, PARTITION_SECONDS = 600.0, 870.0, 300.0
# A step deletes whole days with at most this many events together, or one larger day. Each step rewrites the roll-ups
# of the users that stay.
EVENTS_AT_ONCE = 200_000
ROWS_AT_ONCE = 20_000
# How long a step waits for a running roll-up.
LOCK_TIMEOUT = "30s"
# Another transaction holds a lock that the step needs, or the step ran out of time. The next run tries again.
_POSTPONED = (pg.LockNotAvailable, pg.ObjectInUse, pg.DeadlockDetected, pg.QueryCanceled)


@dataclass(frozen=True, slots=True)
class Expired:
    """A project's data that is older than its data retention, from get_expired.sql."""

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
        """The number of events of all days."""
        return sum(events for _, events in self.days)

    def steps(self) -> Iterator[date]:
        """The days before which to delete, one for each step."""
        together = 0
        for place, (day, events) in enumerate(self.days, start=1):
            together += events
            if place == len(self.days) or together + self.days[place][1] > EVENTS_AT_ONCE:
                yield date.fromisoformat(day) + timedelta(days=1)
                together = 0


@dataclass(slots=True)
class Deleted:
    """How many rows of a project were deleted, or would be."""

    events: int = 0
    sessions: int = 0
    rejections: int = 0
    ignored: int = 0


class _Run:
    """One run over all projects: what it deleted, and whether it deleted everything that has expired."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._began = time.monotonic()
        self.deleted: dict[UUID, Deleted] = {}
        self.partitions: list[str] = []
        self.is_complete = True

    def drop_partitions(self) -> None:
        """Drop the months that no project keeps. If one cannot be dropped, delete_events deletes its events."""
        for name in get_expired_partitions(self._connection):
            for project_id, events, sessions in self._step("expire_partition", PARTITION_SECONDS, partition=name):
                deleted = self._deleted(project_id)
                deleted.events += events
                deleted.sessions += sessions
            if self._exists(name):
                break  # the next one would wait for the same lock
            self.partitions.append(name)

    def delete_events(self, expired: Expired) -> None:
        """Delete the expired days of a project, oldest first."""
        deleted = self._deleted(expired.project_id)
        for before in expired.steps():
            for events, sessions in self._step("expire_events", project_id=expired.project_id, before=before):
                deleted.events += events
                deleted.sessions += sessions

    def delete_rows(self, project_id: UUID) -> None:
        """Delete the expired sessions without events, rejections and ignored events of a project."""
        deleted = self._deleted(project_id)
        while rows := self._step("expire_rows", project_id=project_id, most=ROWS_AT_ONCE):
            ((sessions, rejections, ignored),) = rows
            deleted.sessions += sessions
            deleted.rejections += rejections
            deleted.ignored += ignored
            if max(sessions, rejections, ignored) < ROWS_AT_ONCE:
                break

    def _deleted(self, project_id: UUID) -> Deleted:
        return self.deleted.setdefault(project_id, Deleted())

    def _step(self, name: str, most_seconds: float = LAST_SECONDS, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as one transaction; returns its rows, or none if it has to wait for the next run."""
        spent = time.monotonic() - self._began
        if spent > RETENTION_SECONDS:
            self.is_complete = False
            return []
        timeout = f"{int(min(LAST_SECONDS - spent, most_seconds) * 1000)}ms"
        self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [timeout])
        try:
            return self._connection.execute(rows_of(name, tuple(parameters)), parameters).fetchall()
        except _POSTPONED as error:
            # If it was a partition, delete_events deletes its events now, and the next run drops it.
            self.is_complete = self.is_complete and name == "expire_partition"
            place = {"project": parameters.get("project_id"), "partition": parameters.get("partition")}
            log("WARN", "retention_step_failed", step=name, sqlstate=error.sqlstate, **place)
            return []

    def _exists(self, name: str) -> bool:
        found = self._connection.execute("SELECT to_regclass('muster.' || %s) IS NOT NULL", [name]).fetchone()
        return bool(found and found[0])


def expire(connection: Connection, settings: Settings, *, dry_run: bool) -> dict[str, Any]:
    """Delete expired data or, with `dry_run`, only report it; `connection` is in autocommit mode.

    Returns:
        {"status", "dryRun", "complete", "partitions": [name…],
        "projects": [{"projectId", "retentionDays", "keptFrom", "events", "sessions", "rejections", "ignored",
        "left": null | {"events", "sessions", "rejections", "ignored"}}…]}, the projects that have a data retention
    """
    expired = get_expired(connection)
    if dry_run:
        names = get_expired_partitions(connection)
        return _report(expired, {each.project_id: _all_of(each) for each in expired}, names, None)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
    run = _Run(connection)
    run.drop_partitions()
    for each in get_expired(connection) if run.partitions else expired:
        run.delete_events(each)
        run.delete_rows(each.project_id)
    left = {} if run.is_complete else {each.project_id: _all_of(each) for each in get_expired(connection)}
    _log(expired, run, left, settings)
    return _report(expired, run.deleted, run.partitions, left)


def get_expired(connection: Connection) -> list[Expired]:
    """Get the expired data of every project that has a data retention."""
    with connection.cursor(row_factory=class_row(Expired)) as cursor:
        return cursor.execute(query("maintenance/get_expired")).fetchall()


def get_expired_partitions(connection: Connection) -> list[str]:
    """Get the names of the partitions that no project keeps, oldest first."""
    return [str(row[0]) for row in connection.execute(rows_of("expired_partitions", ())).fetchall()]


def _all_of(expired: Expired) -> Deleted:
    return Deleted(expired.events, expired.sessions, expired.rejections, expired.ignored)


def _report(
    expired: Sequence[Expired],
    deleted: Mapping[UUID, Deleted],
    partitions: list[str],
    left: Mapping[UUID, Deleted] | None,
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
                **asdict(deleted.get(each.project_id, Deleted())),
                "left": asdict(left[each.project_id]) if left and each.project_id in left else None,
            }
            for each in expired
        ],
    }


def _log(expired: Sequence[Expired], run: _Run, left: Mapping[UUID, Deleted], settings: Settings) -> None:
    for each in expired:
        counts = asdict(run.deleted.get(each.project_id, Deleted()))
        rest = asdict(left[each.project_id]) if each.project_id in left else None
        log("INFO", "project_expired", project=each.project_id, retention_days=each.retention_days, **counts, left=rest)
    metrics: dict[str, float] = {
        "EventsExpired": sum(deleted.events for deleted in run.deleted.values()),
        "SessionsExpired": sum(deleted.sessions for deleted in run.deleted.values()),
        "RejectionsExpired": sum(deleted.rejections for deleted in run.deleted.values()),
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
