"""What metrics are answered from: how far it is folded, and folding on."""

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

# A reader who finds so many events since the last fold, or any after a minute, folds them for those who come after.
LONG_TAIL = 1_000
FOLDED_BY_A_READER = 20_000
# What keeps a reader from folding keeps nobody from an answer.
_NOT_NOW = (pg.ReadOnlySqlTransaction, pg.QueryCanceled, pg.LockNotAvailable, pg.DeadlockDetected, pg.DiskFull)


@dataclass(frozen=True, slots=True)
class RollupState:
    """How far a project is folded; source is muster.rollup_state."""

    now: datetime
    watermark: int | None
    """Every event of an earlier transaction is folded; None while they are folded anew, or never were."""
    keys: list[str]
    time_zone: str | None
    first_at: datetime | None
    last_at: datetime | None
    is_old: bool | None
    """Whether that was more than a minute ago."""
    has_pending: bool
    """Whether sessions wait for their earlier events to become their users'."""


def get_state(connection: Connection, project_id: UUID) -> RollupState:
    """How far the project is folded."""
    with connection.cursor(row_factory=class_row(RollupState)) as cursor:
        state = cursor.execute(query("metrics/get_rollup_state"), {"project_id": project_id}).fetchone()
    assert state is not None  # noqa: S101 - the statement answers one row, whatever there is
    return state


def settle_identities(connection: Connection, project_id: UUID, state: RollupState) -> RollupState:
    """Let sessions claim their earlier events, that had to wait for who folded; the state thereafter."""
    if not state.has_pending:
        return state
    call_value(connection, "settle_identities", {"project_id": project_id})
    return get_state(connection, project_id)


@contextmanager
def one_snapshot(connection: Connection, project_id: UUID) -> Iterator[RollupState]:
    """All that is asked in this context sees the rollups as of this state, whoever folds or begins anew meanwhile."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield get_state(connection, project_id)


def fold_if_due(connection: Connection, project_id: UUID, state: RollupState, tail: int) -> bool:
    """Fold some events on, where it is time to; whether anything was folded."""
    if tail < LONG_TAIL and not (tail and state.is_old) and state.watermark is not None:
        return False
    try:
        with connection.transaction():
            return bool(roll_forward(connection, project_id, FOLDED_BY_A_READER)[0])
    except _NOT_NOW as error:
        log("WARN", "rollup_not_folded", project=project_id, sqlstate=error.sqlstate)
        return False


def roll_forward(connection: Connection, project_id: UUID, most: int) -> tuple[int, bool]:
    """Fold about `most` events at most; how many, and whether that is all. (0, False) while another folds."""
    parameters = {"project_id": project_id, "most": most}
    row = connection.execute(rows_of("roll_forward", tuple(parameters)), parameters).fetchone()
    return cast(tuple[int, bool], row) if row else (0, False)
