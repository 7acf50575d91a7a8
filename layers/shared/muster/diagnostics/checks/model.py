"""What a check is, what it needs to know, and what it finds."""

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


class Check(WireModel):
    """One part's state."""

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
    """What checks need to know beside the connection."""

    settings: Settings
    connect_ms: float
    verification: Verification | None
    """None when the schema could not be read."""
    project_id: UUID | None
    failed: list[str] = field(default_factory=list)
    """The checks before that failed."""


Function = Callable[[Connection, Context], Finding]


def refused(error: psycopg.Error) -> Finding:
    """What a check found that PostgreSQL did not let finish."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Finding(
            "warn", "It took too long to tell.", "Look at the server's load: SELECT * FROM pg_stat_activity;"
        )
    # What is missing or forbidden is named, and mended, by the checks of the schema.
    return Finding("skip", f"It cannot be told: SQLSTATE {error.sqlstate}. See migrations, schema and grants.")
