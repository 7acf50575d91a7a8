"""The check of the roll-ups that metrics are read from."""

from muster.db.client import Connection
from muster.db.queries import query
from muster.diagnostics.checks.model import Context, Finding

MANY_UNROLLED = 50_000
# The role's statement timeout is eight seconds. Rolling up a large project takes longer.
_AS_ADMIN = "SET ROLE muster_admin; SET statement_timeout = 0;"
_COLUMNS = ("day", "rolledUpEvents", "rolledUpUsers", "rolledUpSessions", "events", "users", "sessions")


def rollups(connection: Connection, context: Context) -> Finding:
    """Whether the roll-ups are up to date, and equal the events on a sample of days."""
    parameters = {"project_id": context.project_id, "most": MANY_UNROLLED}
    row = connection.execute(query("diagnostics/get_rollup_health"), parameters).fetchone()
    if row is None:
        return Finding("pass", "Nothing is rolled up yet. The first request for metrics does it.")
    watermark, rolled_up_at, is_current, unrolled = row
    data = {"rolledUpAt": rolled_up_at, "unrolled": unrolled}
    roll_up = (
        f"{_AS_ADMIN} SELECT * FROM muster.roll_up('{context.project_id}', 100000000); "
        "RESET statement_timeout; RESET ROLE;"
    )
    if watermark is None:
        summary = "The roll-ups are being rebuilt. Until then, metrics are read from the events and are slow."
        return Finding("warn", summary, roll_up, data)
    if not is_current:
        summary = "The roll-ups are for another server, time zone or set of keys. The next roll-up rebuilds them."
        return Finding("warn", summary, roll_up, data)
    differing = connection.execute(query("diagnostics/get_rollup_differences"), parameters).fetchall()
    if differing:
        days = [dict(zip(_COLUMNS, each, strict=True)) for each in differing]
        remedy = f"{_AS_ADMIN} SELECT muster.reset_rollups('{context.project_id}'); {roll_up}"
        summary = f"The roll-ups differ from the events on {len(days)} of the compared days."
        return Finding("fail", summary, remedy, {**data, "days": days})
    if unrolled == MANY_UNROLLED:
        summary = (
            f"At least {MANY_UNROLLED} events are not rolled up, so metrics are slow. Maintenance may not be running."
        )
        return Finding("warn", summary, roll_up, data)
    return Finding("pass", "The roll-ups equal the events on the compared days.", data=data)
