"""The roll-ups that metrics are answered from: how far they are, and rolling up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import class_row

from muster.db.client import Connection, call_value
from muster.db.queries import query, rows_of
from muster.platform.logging import log

# A reader that finds so many unrolled events, or any after a minute, rolls them up for the readers after it.
MANY_UNROLLED = 1_000
ROLLED_UP_BY_A_READER = 20_000
# A reader that cannot roll up answers all the same.
_NOT_NOW = (pg.ReadOnlySqlTransaction, pg.QueryCanceled, pg.LockNotAvailable, pg.DeadlockDetected, pg.DiskFull)


@dataclass(frozen=True, slots=True)
class RollupState:
    """How far a project is rolled up; the source is muster.rollup_state."""

    now: datetime
    watermark: int | None
    """Events of earlier transactions are rolled up; None before the first roll-up and during a rebuild."""
    keys: list[str]
    time_zone: str | None
    first_at: datetime | None
    last_at: datetime | None
    is_old: bool | None
    """Whether the last roll-up was more than a minute ago."""
    has_pending: bool
    """Whether sessions wait for their anonymous events to become their users'."""


def get_state(connection: Connection, project_id: UUID) -> RollupState:
    """How far the project is rolled up."""
    with connection.cursor(row_factory=class_row(RollupState)) as cursor:
        state = cursor.execute(query("metrics/get_rollup_state"), {"project_id": project_id}).fetchone()
    assert state is not None  # noqa: S101 - the statement answers one row, whatever there is
    return state


def claim_pending_events(connection: Connection, project_id: UUID, state: RollupState) -> RollupState:
    """Give sessions that had to wait for a roll-up their anonymous events; the state afterwards."""
    if not state.has_pending:
        return state
    call_value(connection, "claim_pending_events", {"project_id": project_id})
    return get_state(connection, project_id)


@contextmanager
def one_snapshot(connection: Connection, project_id: UUID) -> Iterator[RollupState]:
    """Everything in this context sees the roll-ups as of this state, even while a roll-up runs."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield get_state(connection, project_id)


def roll_up_if_due(connection: Connection, project_id: UUID, state: RollupState, unrolled: int) -> bool:
    """Roll up some events if it is time to; whether any were rolled up."""
    if unrolled < MANY_UNROLLED and not (unrolled and state.is_old) and state.watermark is not None:
        return False
    try:
        with connection.transaction():
            return bool(roll_up(connection, project_id, ROLLED_UP_BY_A_READER)[0])
    except _NOT_NOW as error:
        log("WARN", "rollup_postponed", project=project_id, sqlstate=error.sqlstate)
        return False


def roll_up(connection: Connection, project_id: UUID, most: int) -> tuple[int, bool]:
    """Roll up about `most` events; how many, and whether that is all. (0, False) while another roll-up is running."""
    parameters = {"project_id": project_id, "most": most}
    row = connection.execute(rows_of("roll_up", tuple(parameters)), parameters).fetchone()
    return cast(tuple[int, bool], row) if row else (0, False)
