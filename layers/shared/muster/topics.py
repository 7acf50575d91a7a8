"""The topics and the readers of their requests, each imported when it is first used.

A cold start pays for what its route needs, and for nothing else.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster import (
        buffered,
        consent,
        diagnostics,
        events,
        export,
        funnel,
        funnel_requests,
        ledger,
        metrics,
        metrics_requests,
        pilot,
        pilot_requests,
        quarantine,
        quarantine_requests,
        recent_events,
        recent_sessions,
        replay,
        retention,
        sessions,
        subjects,
        traces,
        users,
    )

__all__ = [
    "buffered",
    "consent",
    "diagnostics",
    "events",
    "export",
    "funnel",
    "funnel_requests",
    "ledger",
    "metrics",
    "metrics_requests",
    "pilot",
    "pilot_requests",
    "quarantine",
    "quarantine_requests",
    "recent_events",
    "recent_sessions",
    "replay",
    "retention",
    "sessions",
    "subjects",
    "traces",
    "users",
]


def __getattr__(name: str) -> ModuleType:
    # https://scientific-python.org/specs/spec-0001/
    if name not in __all__:
        raise AttributeError(name)
    module = globals()[name] = import_module(f"muster.{name}")
    return module
