"""Whether what metrics are answered from is what was stored."""

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

LONG_TAIL = 50_000
# Administrators' statements may take eight seconds; to fold a large project anew takes longer.
_AS_ADMIN = "SET ROLE muster_admin; SET statement_timeout = 0;"


def rollups(connection: Connection, context: Context) -> Finding:
    """Whether they are up to date, of this server, and on some days exactly what the events are."""
    parameters = {"project_id": context.project_id, "most": LONG_TAIL}
    row = connection.execute(query("diagnostics/get_rollup_health"), parameters).fetchone()
    if row is None:
        return Finding("pass", "Nothing is folded yet; the first reader of metrics does it.")
    watermark, folded_at, is_current, tail = row
    data = {"foldedAt": folded_at, "tail": tail}
    fold = (
        f"{_AS_ADMIN} SELECT * FROM muster.roll_forward('{context.project_id}', 100000000); "
        "RESET statement_timeout; RESET ROLE;"
    )
    if watermark is None:
        return Finding("warn", "They are being made anew; until then metrics read the events.", fold, data)
    if not is_current:
        summary = "They are of another server, time zone or data keys than the project's; the next fold begins anew."
        return Finding("warn", summary, fold, data)
    differing = connection.execute(query("diagnostics/get_rollup_differences"), parameters).fetchall()
    if differing:
        days = [dict(zip(_COLUMNS, each, strict=True)) for each in differing]
        remedy = f"{_AS_ADMIN} SELECT muster.reset_rollups('{context.project_id}'); {fold}"
        summary = f"On {len(days)} of the days looked at they are not what the events are."
        return Finding("fail", summary, remedy, {**data, "days": days})
    if tail == LONG_TAIL:
        summary = f"{LONG_TAIL} events or more are not folded yet, so that metrics are slow; maintenance may not run."
        return Finding("warn", summary, fold, data)
    return Finding("pass", "On the days looked at they are what the events are.", data=data)


_COLUMNS = ("day", "foldedEvents", "foldedUsers", "foldedSessions", "events", "users", "sessions")
