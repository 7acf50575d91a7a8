"""Compares what clients were answered with what the database holds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from muster.diagnostics.delivery import find_delivery_report
from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import roll_up
from tests.faults.record import ClientRecord
from tests.support.databases import access_to

LISTED = 5
METRICS_PARTS = ("totals", "previous", "series", "breakdown")

_EVENTS = "SELECT id::text, session_id::text FROM muster.analytics_events"
_MISCOUNTED_SESSIONS = """
    SELECT coalesce(s.id, e.session_id)::text
      FROM muster.analytics_sessions s
      FULL JOIN (SELECT session_id, count(*) AS events FROM muster.analytics_events GROUP BY session_id) e
           ON e.session_id = s.id
     WHERE s.events_count IS DISTINCT FROM coalesce(e.events, 0)
"""


def find_broken_invariants(connection: psycopg.Connection[Any], records: Sequence[ClientRecord]) -> list[str]:
    """A sentence for each broken invariant. It is empty if every event is stored as its client was answered."""
    return [
        *(violation for each in records for violation in each.violations),
        *_compare_events(connection, records),
        *_named("sessions have a wrong events_count", _column(connection, _MISCOUNTED_SESSIONS)),
        *_compare_rejections(connection, records),
        *_compare_delivery_reports(connection, records),
        *_compare_rollups(connection),
    ]


def _compare_events(connection: psycopg.Connection[Any], records: Sequence[ClientRecord]) -> list[str]:
    sent = {event_id: session for each in records for event_id, session in each.sent.items()}
    acknowledged = {event_id for each in records for event_id in each.acknowledged}
    rows = connection.execute(_EVENTS).fetchall()
    times_stored, sessions = Counter(event_id for event_id, _ in rows), dict(rows)
    stored = set(times_stored)
    return [
        *_named("events were acknowledged but are not stored", acknowledged - stored),
        *_named("events are stored but were never acknowledged", stored - acknowledged),
        *_named("events are stored but were never sent", stored - set(sent)),
        *_named("events were sent but never acknowledged", set(sent) - acknowledged),
        *_named("events are stored more than once", {each for each, times in times_stored.items() if times > 1}),
        *_named("events are stored in another session", {each for each in stored if sent.get(each) != sessions[each]}),
    ]


def _compare_rejections(connection: psycopg.Connection[Any], records: Sequence[ClientRecord]) -> list[str]:
    rejected = sum(_column(connection, "SELECT events FROM muster.analytics_rejections"))
    invalid = sum(each.invalid.total() for each in records)
    return [] if rejected == invalid else [f"{invalid} invalid events were sent, but the quarantine has {rejected}"]


def _compare_delivery_reports(connection: psycopg.Connection[Any], records: Sequence[ClientRecord]) -> list[str]:
    """Compare the delivery report of every session that numbers its batches."""
    (project_id,) = _column(connection, "SELECT id FROM muster.projects")
    stored = Counter(session for _, session in connection.execute(_EVENTS))
    found = []
    for record in records:
        for session, last in record.last_sequences.items():
            report = find_delivery_report(connection, project_id, UUID(session))
            if report is None:
                found.append(f"session {session} has no delivery report")
                continue
            reported = {
                "received batches": report.batches.received,
                "missing batches": report.batches.missing,
                "stored events": report.events_stored,
                "rejected events": report.rejected,
                "dropped events": report.dropped,
            }
            expected = {
                "received batches": [[1, last]],
                "missing batches": 0,
                "stored events": stored[session],
                "rejected events": record.invalid[session],
                "dropped events": 0,
            }
            found += [
                f"the delivery report of session {session} says {reported[name]} {name}, not {expected[name]}"
                for name in reported
                if reported[name] != expected[name]
            ]
    return found


def _compare_rollups(connection: psycopg.Connection[Any]) -> list[str]:
    """Compare metrics from roll-ups with metrics from events, before and after the last events are rolled up."""
    found = []
    # Whole days are answered from roll-ups, and clients send only events of the last minutes.
    everything = MetricsRequest(timeframe="month", breakdown="eventType")
    for project_id in _column(connection, "SELECT id FROM muster.projects"):
        access = access_to(project_id)
        for when in ("before", "after"):
            rolled_up, raw = (read(connection, access, everything) for read in (get_metrics, get_raw_metrics))
            if any(getattr(rolled_up, part) != getattr(raw, part) for part in METRICS_PARTS):
                found.append(f"the roll-ups differ from the events {when} the last roll-up")
            roll_up(connection, project_id, 10_000_000)
    return found


def _column(connection: psycopg.Connection[Any], statement: str) -> list[Any]:
    return [row[0] for row in connection.execute(statement.encode())]


def _named(what: str, which: Iterable[str]) -> list[str]:
    listed = sorted(which)
    return [f"{len(listed)} {what}: {', '.join(listed[:LISTED])}"] if listed else []
