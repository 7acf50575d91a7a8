"""Computes retention: of the users who first came in a period, how many were active in each later period."""

from psycopg.rows import dict_row

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.db.queries import query
from muster.metrics.models import Cohort, Retention
from muster.metrics.overview import current_state, time_range_of
from muster.metrics.request import MetricsRequest
from muster.metrics.rollups import one_snapshot
from muster.metrics.time_ranges import boundaries


def get_retention(connection: Connection, access: Access, request: MetricsRequest) -> Retention:
    """Get the range's cohorts by day or week, the request's granularity. The cost grows with the range's events."""
    current_state(connection, access.project_id)
    time_range = time_range_of(connection, access.project_id, request)
    period = request.granularity or "day"
    starts = boundaries(time_range, period, request.zone)
    with one_snapshot(connection, access.project_id) as state, connection.cursor(row_factory=dict_row) as cursor:
        parameters = {
            "project_id": access.project_id,
            "watermark": state.watermark or 0,
            # The roll-ups hold days in the project's time zone. For another zone the days are counted from the events.
            "is_rolled_up": state.watermark is not None and state.time_zone == request.timezone,
            "timezone": request.timezone,
            "starts": starts[:-1],
            "start": starts[0],
            "end": starts[-1],
        }
        rows = cursor.execute(query("metrics/get_retention"), parameters).fetchall()
    counted = {(row["cohort"], row["period"]): row["users"] for row in rows}
    periods = len(starts) - 1
    return Retention(
        period=period,
        timezone=request.timezone,
        cohorts=[
            Cohort(
                start=starts[number].astimezone(request.zone),
                users=counted.get((number + 1, 0), 0),
                retained=[counted.get((number + 1, after), 0) for after in range(periods - number)],
            )
            for number in range(periods)
        ],
    )
