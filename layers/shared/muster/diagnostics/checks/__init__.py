"""The checks of diagnostics. Each examines one part: its summary says the state, its remedy the command to run."""

from muster.diagnostics.checks import project, queue, schema, server
from muster.diagnostics.checks.model import Check, Context, Finding, Function, refused
from muster.diagnostics.checks.rollups import rollups
from muster.diagnostics.checks.unreachable import when_unreachable

__all__ = ["CHECKS", "WITHOUT_A_PROJECT", "Check", "Context", "Finding", "Function", "refused", "when_unreachable"]

CHECKS: dict[str, Function] = {
    "connection": server.connection,
    "tls": server.tls,
    "server": server.server,
    "migrations": schema.migrations,
    "schema": schema.schema,
    "grants": schema.grants,
    "write_canary": schema.write_canary,
    "partitions": schema.partitions,
    "ingest_recent": project.ingest_recent,
    "rejections": project.rejections,
    "losses": project.losses,
    "reconciliation": project.reconciliation,
    "consent": project.consent,
    "pilot_tokens": project.pilot_tokens,
    "queue": queue.queue,
    "rollups": rollups,
    "connections": server.connections,
    "clock": server.clock,
}
# The checks that run even if the key cannot be looked up. They reveal nothing about any project.
WITHOUT_A_PROJECT = ("connection", "tls", "server", "migrations", "schema", "grants", "partitions")
