"""What a check takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import psycopg

from muster.db.client import Connection
from muster.db.schema import Verification
from muster.http.response import WireModel
from muster.platform.settings import Settings

CheckStatus = Literal["pass", "warn", "fail", "skip"]
LISTED = 20
FREE_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid(); "
    "-- then choose a smaller Capacity, or raise max_connections"
)
"""The remedy if the server runs out of connections."""


class Check(WireModel):
    """The result of one check."""

    name: str
    status: CheckStatus
    summary: str
    remedy: str | None
    duration_ms: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    status: CheckStatus
    summary: str
    remedy: str | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str, duration_ms: float) -> Check:
        """The finding as a check's result."""
        return Check(
            name=name,
            status=self.status,
            summary=self.summary,
            remedy=self.remedy,
            duration_ms=duration_ms,
            data=self.data,
        )


@dataclass(frozen=True, slots=True)
class Context:
    """What checks need to know besides the connection."""

    settings: Settings
    connect_ms: float
    verification: Verification | None
    """None if the schema could not be read."""
    project_id: UUID | None
    failed: list[str] = field(default_factory=list)
    """The names of earlier checks that failed."""


Function = Callable[[Connection, Context], Finding]


def refused(error: psycopg.Error) -> Finding:
    """The finding of a check that PostgreSQL interrupted with an error."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        remedy = "SELECT * FROM pg_stat_activity; -- shows what the server is doing"
        return Finding("warn", "The check timed out.", remedy)
    # The checks of the schema name what is missing or forbidden, and its remedy.
    return Finding(
        "skip", f"The check failed with SQLSTATE {error.sqlstate}. See the checks migrations, schema and grants."
    )
