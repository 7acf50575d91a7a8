"""Whether the books are balanced: what clients were told against what is stored."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from muster.metrics.overview import get_metrics, get_raw_metrics
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import roll_up
from tests.faults.clients import Ledger
from tests.support.databases import access_to

LISTED = 5
PARTS = ("totals", "previous", "series", "breakdown")


def imbalances(connection: psycopg.Connection[Any], ledgers: Sequence[Ledger]) -> list[str]:
    """A sentence for each way in which they are not; none when every event is where its client was told it is."""
    sent, acknowledged = _merged(each.sent for each in ledgers), _merged(each.acknowledged for each in ledgers)
    rows = connection.execute("SELECT id::text, session_id::text FROM muster.analytics_events").fetchall()
    stored = Counter(event_id for event_id, _ in rows)
    sessions = dict(rows)
    found = [sentence for each in ledgers for sentence in each.violations]
    found += _named("acknowledged and not stored", set(acknowledged) - set(stored))
    found += _named("stored and never acknowledged", set(stored) - set(acknowledged))
    found += _named("stored and never sent", set(stored) - set(sent))
    found += _named("sent and never acknowledged", set(sent) - set(acknowledged))
    found += _named("stored more than once", {event_id for event_id, times in stored.items() if times > 1})
    found += _named("of another session", {event_id for event_id in stored if sent.get(event_id) != sessions[event_id]})
    found += _named(
        "sessions that count otherwise than they hold",
        _column(
            connection,
            "SELECT s.id::text FROM muster.analytics_sessions s FULL JOIN (SELECT session_id, count(*) AS events "
            "FROM muster.analytics_events GROUP BY session_id) e ON e.session_id = s.id "
            "WHERE s.events_count IS DISTINCT FROM coalesce(e.events, 0)",
        ),
    )
    found += _batches(connection, ledgers)
    rejected = sum(_column(connection, "SELECT events FROM muster.analytics_rejections"))
    if rejected != (spoilt := sum(each.spoilt for each in ledgers)):
        found.append(f"{spoilt} events were spoilt, and {rejected} are in the quarantine")
    return found + _rollups(connection)


def _rollups(connection: psycopg.Connection[Any]) -> list[str]:
    """What metrics are answered from, as it was folded while all broke, and after the rest is folded too."""
    found = []
    # Whole days, which are answered from what is folded; all that clients send is of these minutes.
    everything = MetricsRequest(timeframe="month", breakdown="eventType")
    for (project_id,) in connection.execute("SELECT id FROM muster.projects").fetchall():
        access = access_to(project_id)
        for when in ("before the last fold", "after it"):
            rolled, raw = (read(connection, access, everything) for read in (get_metrics, get_raw_metrics))
            if any(
                getattr(rolled, part) != getattr(raw, part) for part in ("totals", "previous", "series", "breakdown")
            ):
                found.append(f"rollups are not what the events are, {when}")
            roll_up(connection, project_id, 10_000_000)
    return found


def _batches(connection: psycopg.Connection[Any], ledgers: Sequence[Ledger]) -> list[str]:
    expected = {session: f"{{[1,{last + 1})}}" for each in ledgers for session, last in each.batches.items()}
    held = dict(connection.execute("SELECT id::text, batches::text FROM muster.analytics_sessions").fetchall())
    # A session of which every event was spoilt, or another session's, is known by its numbers all the same.
    return _named("sessions with gaps", {session for session, whole in expected.items() if held.get(session) != whole})


def _merged(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    return {name: value for part in parts for name, value in part.items()}


def _column(connection: psycopg.Connection[Any], statement: str) -> list[Any]:
    return [row[0] for row in connection.execute(statement.encode())]


def _named(what: str, which: Iterable[str]) -> list[str]:
    listed = sorted(str(each) for each in which)
    return [f"{len(listed)} {what}: {', '.join(listed[:LISTED])}"] if listed else []
