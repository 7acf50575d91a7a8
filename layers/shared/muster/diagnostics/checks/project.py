"""The checks of a project: what arrives, what does not, and whether the books are balanced."""

from datetime import UTC, datetime, timedelta

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

RECONCILED_WITHIN = timedelta(hours=3)
_REPLAY = (
    'curl -X POST "$URL/v1/diagnostics/rejections/replay" -H "authorization: Bearer $ADMIN" '
    "# once what they were rejected for is mended"
)


def ingest_recent(connection: Connection, context: Context) -> Finding:
    """When the latest event came."""
    row = connection.execute(query("diagnostics/get_last_event"), {"project_id": context.project_id}).fetchone()
    if row is None:
        return Finding("pass", "No event has arrived yet.", "Post one: the README shows how with curl.")
    last, recent = row
    data = {"lastReceivedAt": last}
    if recent:
        return Finding("pass", "Events have arrived within a day.", data=data)
    remedy = (
        'curl -sS "$URL/healthz" # from where the app runs: it must answer {"status":"ok"}; then see that the app '
        "sends to $URL/v1/events with a current write key"
    )
    return Finding("warn", "No event has arrived for a day.", remedy, data)


def rejections(connection: Connection, context: Context) -> Finding:
    """What was rejected within a day."""
    rows = connection.execute(query("diagnostics/get_recent_rejections"), {"project_id": context.project_id}).fetchall()
    reasons = {str(reason): int(str(count)) for reason, count in rows}
    if not reasons:
        return Finding("pass", "Nothing that was rejected within a day is waiting.")
    see = (
        'curl -sS "$URL/v1/diagnostics/rejections?limit=20" -H "authorization: Bearer $READ" # says where each is wrong'
    )
    summary = f"{sum(reasons.values())} events or requests were rejected within a day."
    return Finding("warn", summary, f"{see}\n{_REPLAY}", {"byReason": reasons})


def consent(connection: Connection, context: Context) -> Finding:
    """Whether consent keeps every event out."""
    row = connection.execute(query("diagnostics/get_consent_state"), {"project_id": context.project_id}).fetchone()
    mode, granted, ignored, is_unnoticed = row if row else ("off", 0, 0, False)
    data = {"mode": mode, "granted": granted, "ignoredWithinADay": ignored}
    if is_unnoticed:
        remedy = (
            "SET ROLE muster_owner; UPDATE muster.projects SET has_decisions = true "
            f"WHERE id = '{context.project_id}'; RESET ROLE;"
        )
        summary = (
            "Consent decisions are recorded, but ingest does not look for them: the trigger note_decisions was missing."
        )
        return Finding("fail", summary, remedy, data)
    if mode == "opt_in" and not granted:
        remedy = (
            f"UPDATE muster.projects SET consent_mode = 'opt_out' WHERE id = '{context.project_id}'; "
            "-- or record consent before events are sent"
        )
        return Finding("warn", "Events need consent, and nobody has given it: all are ignored.", remedy, data)
    return Finding("pass", f"Consent mode is {mode}; what it forbids is ignored.", data=data)


def pilot_tokens(connection: Connection, context: Context) -> Finding:
    """What has become of the tokens of pilot studies, and whether somebody guesses them."""
    row = connection.execute(query("diagnostics/get_pilot_state"), {"project_id": context.project_id}).fetchone()
    active, revoked, redemptions, unknown, is_guessed = row if row else (0, 0, 0, 0, False)
    data = {"active": active, "revoked": revoked, "redemptions": redemptions, "unknownInAMinute": unknown}
    if is_guessed:
        remedy = (
            'fields @timestamp, request_id, code | filter code in ["token_not_found", "too_many_attempts"] # in Logs '
            "Insights, on the log group of PilotFunction: mend the client that sends them, or give the project another "
            "write key where it is nobody's; right tokens are redeemed meanwhile"
        )
        return Finding(
            "warn", "Within the hour, unknown pilot tokens were tried as often as we let them.", remedy, data
        )
    return Finding("pass", f"{active} pilot tokens can be redeemed.", data=data)


def losses(connection: Connection, context: Context) -> Finding:
    """What clients sent within a day and did not arrive, by their own numbering."""
    row = connection.execute(query("diagnostics/get_losses"), {"project_id": context.project_id}).fetchone()
    sessions, batches, dropped, examples = row if row else (0, 0, 0, [])
    data = {"sessionsWithGaps": sessions, "batchesMissing": batches, "eventsDropped": dropped, "examples": examples}
    if not batches and not dropped:
        return Finding("pass", "Every batch that clients numbered within a day has arrived.", data=data)
    listed = examples if isinstance(examples, list) else []
    example = listed[0] if listed else "SESSION-ID"
    remedy = (
        f'curl -sS "$URL/v1/diagnostics/sessions/{example}" -H "authorization: Bearer $READ" # lists the missing '
        "batches; a client that still has them sends them again by itself"
    )
    summary = f"{batches} batches of {sessions} sessions have not arrived, and clients gave up {dropped} events."
    return Finding("warn", summary, remedy, data)


def reconciliation(connection: Connection, context: Context) -> Finding:
    """Whether the sessions' counters are the numbers of their events, as maintenance last found."""
    row = connection.execute(query("diagnostics/get_reconciliation"), {"project_id": context.project_id}).fetchone()
    if row is None:
        return Finding("skip", "Maintenance has not run yet: it does once an hour.")
    checked_at, sessions, differing, apart, examples = row
    data = {"checkedAt": checked_at, "sessions": sessions, "differing": differing, "examples": examples}
    if differing:
        remedy = (
            "SET ROLE muster_owner; UPDATE muster.analytics_sessions s SET events_count = (SELECT count(*) FROM "
            "muster.analytics_events e WHERE e.project_id = s.project_id AND e.session_id = s.id) WHERE s.project_id = "
            f"'{context.project_id}' AND s.id = ANY ((SELECT examples FROM muster.reconciliations WHERE project_id = "
            f"'{context.project_id}')::uuid[]); SELECT muster.reconcile_sessions(10000); RESET ROLE;"
        )
        return Finding("fail", f"{differing} sessions count {apart} events otherwise than they hold.", remedy, data)
    if isinstance(checked_at, datetime) and datetime.now(UTC) - checked_at > RECONCILED_WITHIN:
        remedy = "sam remote invoke MaintainFunction # then see why its schedule does not: its log group says"
        return Finding("warn", "Maintenance has not run for three hours.", remedy, data)
    return Finding("pass", "Sessions count what they hold.", data=data)
