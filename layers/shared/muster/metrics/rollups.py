"""The roll-ups: how far a project is rolled up, and rolling up more."""

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

# A reader rolls up if it finds this many unrolled events, or any after a minute. Later readers then answer faster.
MANY_UNROLLED = 1_000
ROLLED_UP_BY_A_READER = 20_000
# A reader that cannot roll up still answers.
_POSTPONED = (pg.ReadOnlySqlTransaction, pg.QueryCanceled, pg.LockNotAvailable, pg.DeadlockDetected, pg.DiskFull)


@dataclass(frozen=True, slots=True)
class RollupState:
    """How far a project is rolled up, from muster.rollup_state."""

    now: datetime
    watermark: int | None
    """Events of transactions before this id are rolled up; None before the first roll-up and during a rebuild."""
    keys: list[str]
    time_zone: str | None
    first_at: datetime | None
    last_at: datetime | None
    is_old: bool | None
    """Whether the last roll-up was more than a minute ago."""
    has_pending: bool
    """Whether anonymous events of identified sessions still have to be assigned to their users."""


def get_state(connection: Connection, project_id: UUID) -> RollupState:
    """Get how far the project is rolled up."""
    with connection.cursor(row_factory=class_row(RollupState)) as cursor:
        state = cursor.execute(query("metrics/get_rollup_state"), {"project_id": project_id}).fetchone()
    assert state is not None  # noqa: S101 - the statement always returns one row
    return state


def claim_pending_events(connection: Connection, project_id: UUID, state: RollupState) -> RollupState:
    """Assign the anonymous events that waited for a roll-up to their users; returns the state afterwards."""
    if not state.has_pending:
        return state
    call_value(connection, "claim_pending_events", {"project_id": project_id})
    return get_state(connection, project_id)


@contextmanager
def one_snapshot(connection: Connection, project_id: UUID) -> Iterator[RollupState]:
    """Run the statements of this context in one snapshot; yields the state of the roll-ups in it."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield get_state(connection, project_id)


def roll_up_if_due(connection: Connection, project_id: UUID, state: RollupState, unrolled: int) -> bool:
    """Roll up some events if a roll-up is due; returns whether any were rolled up."""
    if unrolled < MANY_UNROLLED and not (unrolled and state.is_old) and state.watermark is not None:
        return False
    try:
        with connection.transaction():
            return bool(roll_up(connection, project_id, ROLLED_UP_BY_A_READER)[0])
    except _POSTPONED as error:
        log("WARN", "rollup_postponed", project=project_id, sqlstate=error.sqlstate)
        return False


def roll_up(connection: Connection, project_id: UUID, most: int) -> tuple[int, bool]:
    """Roll up about `most` events; returns how many, and whether all are rolled up.

    While another roll-up is running it returns (0, False).
    """
    parameters = {"project_id": project_id, "most": most}
    row = connection.execute(rows_of("roll_up", tuple(parameters)), parameters).fetchone()
    return cast(tuple[int, bool], row) if row else (0, False)
