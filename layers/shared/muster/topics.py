"""The topics, each imported when it is first used (a bridge while the house is rebuilt)."""

from importlib import import_module
from types import ModuleType

_MODULES = {
    "buffered": "muster.ingest.buffered",
    "consent": "muster.privacy.consent",
    "diagnostics": "muster.diagnostics.report",
    "events": "muster.ingest.handler",
    "export": "muster.metrics.export",
    "funnel": "muster.metrics.funnel",
    "funnel_requests": "muster.metrics.funnel",
    "ledger": "muster.diagnostics.delivery",
    "metrics": "muster.metrics.overview",
    "metrics_requests": "muster.metrics.request",
    "pilot": "muster.pilot.tokens",
    "pilot_requests": "muster.pilot.tokens",
    "quarantine": "muster.quarantine.rejections",
    "quarantine_requests": "muster.quarantine.rejections",
    "recent_events": "muster.metrics.events",
    "recent_sessions": "muster.metrics.sessions",
    "replay": "muster.quarantine.replay",
    "retention": "muster.metrics.cohorts",
    "sessions": "muster.sessions",
    "subjects": "muster.privacy.subjects",
    "traces": "muster.diagnostics.event_trace",
    "users": "muster.metrics.user_profile",
}


def __getattr__(name: str) -> ModuleType:
    if name not in _MODULES:
        raise AttributeError(name)
    return import_module(_MODULES[name])
