"""The checks of a project: events, rejections, lost batches, consent, pilot tokens and reconciliation."""

from datetime import UTC, datetime, timedelta

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

RECONCILED_WITHIN = timedelta(hours=3)
_REPLAY = (
    'curl -X POST "$URL/v1/diagnostics/rejections/replay" -H "authorization: Bearer $ADMIN" '
    "# after fixing the cause of the rejections"
)


def ingest_recent(connection: Connection, context: Context) -> Finding:
    """When the latest event was received."""
    row = connection.execute(query("diagnostics/get_last_event"), {"project_id": context.project_id}).fetchone()
    if row is None:
        return Finding("pass", "No event has been received yet.", "Post an event: the README shows how with curl.")
    last, recent = row
    data = {"lastReceivedAt": last}
    if recent:
        return Finding("pass", "Events were received in the last 24 hours.", data=data)
    remedy = (
        'curl -sS "$URL/healthz" # run it where the app runs; it must answer {"status":"ok"}. Then check that the app '
        "sends to $URL/v1/events with a valid write key"
    )
    return Finding("warn", "No event was received in the last 24 hours.", remedy, data)


def rejections(connection: Connection, context: Context) -> Finding:
    """What was rejected in the last 24 hours and not replayed."""
    rows = connection.execute(query("diagnostics/get_recent_rejections"), {"project_id": context.project_id}).fetchall()
    reasons = {str(reason): int(str(count)) for reason, count in rows}
    if not reasons:
        return Finding("pass", "No rejections of the last 24 hours are pending.")
    show = 'curl -sS "$URL/v1/diagnostics/rejections?limit=20" -H "authorization: Bearer $READ" # shows why'
    summary = f"{sum(reasons.values())} events or requests were rejected in the last 24 hours."
    return Finding("warn", summary, f"{show}\n{_REPLAY}", {"byReason": reasons})


def consent(connection: Connection, context: Context) -> Finding:
    """Whether consent decisions are applied, and whether they exclude every event."""
    row = connection.execute(query("diagnostics/get_consent_state"), {"project_id": context.project_id}).fetchone()
    mode, granted, ignored, is_skipped = row if row else ("off", 0, 0, False)
    data = {"mode": mode, "granted": granted, "ignoredWithinADay": ignored}
    if is_skipped:
        remedy = (
            "SET ROLE muster_owner; UPDATE muster.projects SET has_decisions = true "
            f"WHERE id = '{context.project_id}'; RESET ROLE;"
        )
        summary = (
            "Ingest does not apply the recorded consent decisions, because the trigger note_decisions was missing when "
            "they were recorded."
        )
        return Finding("fail", summary, remedy, data)
    if mode == "opt_in" and not granted:
        remedy = (
            f"UPDATE muster.projects SET consent_mode = 'opt_out' WHERE id = '{context.project_id}'; "
            "-- or record consent before events are sent"
        )
        summary = "All events are ignored: the consent mode is opt_in, and no user has granted consent."
        return Finding("warn", summary, remedy, data)
    return Finding("pass", f"The consent mode is {mode}, and ingest applies it.", data=data)


def pilot_tokens(connection: Connection, context: Context) -> Finding:
    """The state of the pilot tokens, and whether someone is guessing them."""
    row = connection.execute(query("diagnostics/get_pilot_state"), {"project_id": context.project_id}).fetchone()
    active, revoked, redemptions, unknown, is_limited = row if row else (0, 0, 0, 0, False)
    data = {"active": active, "revoked": revoked, "redemptions": redemptions, "unknownInAMinute": unknown}
    if is_limited:
        remedy = (
            'fields @timestamp, request_id, code | filter code in ["token_not_found", "too_many_attempts"] # in Logs '
            "Insights, on the log group of PilotFunction. Fix the client that sends these tokens or, if it is not "
            "yours, replace the write key that it uses. Valid tokens still work"
        )
        return Finding("warn", "In the last hour, unknown pilot tokens were tried up to the limit.", remedy, data)
    return Finding("pass", f"{active} pilot tokens can be redeemed.", data=data)


def losses(connection: Connection, context: Context) -> Finding:
    """Which batches of the last 24 hours are missing, by the clients' sequence numbers."""
    row = connection.execute(query("diagnostics/get_losses"), {"project_id": context.project_id}).fetchone()
    sessions, batches, dropped, examples = row if row else (0, 0, 0, [])
    data = {"sessionsWithGaps": sessions, "batchesMissing": batches, "eventsDropped": dropped, "examples": examples}
    if not batches and not dropped:
        return Finding("pass", "Every batch that clients numbered in the last 24 hours has arrived.", data=data)
    listed = examples if isinstance(examples, list) else []
    example = listed[0] if listed else "SESSION-ID"
    remedy = (
        f'curl -sS "$URL/v1/diagnostics/sessions/{example}" -H "authorization: Bearer $READ" # lists the missing '
        "batches. A client that still has them resends them by itself"
    )
    summary = f"{batches} batches of {sessions} sessions have not arrived, and clients dropped {dropped} events."
    return Finding("warn", summary, remedy, data)


def reconciliation(connection: Connection, context: Context) -> Finding:
    """Whether the sessions' event counters equal the number of stored events, as of the last maintenance."""
    row = connection.execute(query("diagnostics/get_reconciliation"), {"project_id": context.project_id}).fetchone()
    if row is None:
        return Finding("skip", "Maintenance has not run yet. It runs once an hour.")
    checked_at, sessions, differing, apart, examples = row
    data = {"checkedAt": checked_at, "sessions": sessions, "differing": differing, "examples": examples}
    if differing:
        remedy = (
            "SET ROLE muster_owner; UPDATE muster.analytics_sessions s SET events_count = (SELECT count(*) FROM "
            "muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id) WHERE s.project_id = "
            f"'{context.project_id}' AND s.id = ANY ((SELECT examples FROM muster.reconciliations WHERE project_id = "
            f"'{context.project_id}')::uuid[]); SELECT muster.reconcile_sessions(10000); RESET ROLE;"
        )
        summary = f"The event counters of {differing} sessions differ from their stored events, by {apart} in total."
        return Finding("fail", summary, remedy, data)
    if isinstance(checked_at, datetime) and datetime.now(UTC) - checked_at > RECONCILED_WITHIN:
        remedy = "sam remote invoke MaintainFunction # then read its log group to see why the schedule failed"
        return Finding("warn", "Maintenance has not run for three hours.", remedy, data)
    return Finding("pass", "The sessions' event counters equal their stored events.", data=data)
