"""The check of the roll-ups that metrics are answered from."""

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

MANY_UNROLLED = 50_000
# An administrator's statement may take eight seconds. Rolling up a large project takes longer.
_AS_ADMIN = "SET ROLE muster_admin; SET statement_timeout = 0;"
_COLUMNS = ("day", "rolledUpEvents", "rolledUpUsers", "rolledUpSessions", "events", "users", "sessions")


def rollups(connection: Connection, context: Context) -> Finding:
    """Whether the roll-ups are up to date, and equal to the events on the days that are compared."""
    parameters = {"project_id": context.project_id, "most": MANY_UNROLLED}
    row = connection.execute(query("diagnostics/get_rollup_health"), parameters).fetchone()
    if row is None:
        return Finding("pass", "Nothing is rolled up yet; the first reader of metrics rolls up.")
    watermark, rolled_up_at, is_current, unrolled = row
    data = {"rolledUpAt": rolled_up_at, "unrolled": unrolled}
    roll_up = (
        f"{_AS_ADMIN} SELECT * FROM muster.roll_up('{context.project_id}', 100000000); "
        "RESET statement_timeout; RESET ROLE;"
    )
    if watermark is None:
        return Finding("warn", "The roll-ups are being rebuilt; until then metrics read the events.", roll_up, data)
    if not is_current:
        summary = "The roll-ups were made for another server, time zone or data keys. The next roll-up rebuilds them."
        return Finding("warn", summary, roll_up, data)
    differing = connection.execute(query("diagnostics/get_rollup_differences"), parameters).fetchall()
    if differing:
        days = [dict(zip(_COLUMNS, each, strict=True)) for each in differing]
        remedy = f"{_AS_ADMIN} SELECT muster.reset_rollups('{context.project_id}'); {roll_up}"
        summary = f"The roll-ups differ from the events on {len(days)} of the days that were compared."
        return Finding("fail", summary, remedy, {**data, "days": days})
    if unrolled == MANY_UNROLLED:
        summary = (
            f"{MANY_UNROLLED} events or more are not rolled up, so metrics are slow. Maintenance may not be running."
        )
        return Finding("warn", summary, roll_up, data)
    return Finding("pass", "The roll-ups equal the events on the days that were compared.", data=data)
