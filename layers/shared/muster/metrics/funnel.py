"""Computes funnels: how many users or sessions complete each step within a window, and how long each step takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta
from psycopg import sql
from psycopg.types.json import Jsonb

from muster.auth.keys import Access
from muster.db.client import Connection
from muster.http.body import read_text
from muster.http.params import read_query
from muster.http.request import Request
from muster.metrics.models import Funnel, FunnelStep, Range
from muster.metrics.overview import time_range_of
from muster.metrics.request import MetricsRequest, RangeQuery, range_request
from muster.platform.errors import InvalidParameter
from muster.validation.error_details import decode_model, place_of
from muster.validation.unstorable import find_unstorable

_DURATION = r"P([0-9]+W)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?"
_LONGEST_TEXT = 40
_LONGEST = timedelta(days=366)
_UNITS = ("weeks", "days", "", "hours", "minutes", "seconds")
_RANGE = ("timeframe", "start", "end", "timezone")


class StepIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One step as sent: events of a type, optionally in an area and with values in their data."""

    event_type: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\S")]
    area: Annotated[str, Meta(max_length=100, pattern=r"^$|\S")] | None = None
    data: dict[str, Any] | None = None


class FunnelIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A funnel as sent."""

    steps: Annotated[list[StepIn], Meta(min_length=2, max_length=10)]
    window: str = "PT1H"
    by: str = "user"
    timeframe: str | None = None
    start: str | None = None
    end: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class FunnelRequest:
    """The steps in order. All must happen within the window, which starts at the first step."""

    steps: Sequence[StepIn]
    range: MetricsRequest
    window: timedelta = timedelta(hours=1)
    by: Literal["user", "session"] = "user"


def parse_funnel_request(request: Request) -> FunnelRequest:
    """Read a funnel request from the body.

    Raises:
        InvalidParameter: the message names the first invalid field.
    """
    sent = decode_model(read_text(request.body), FunnelIn)
    if not isinstance(sent, FunnelIn):
        raise InvalidParameter(place_of([sent]), sent["message"])
    for number, step in enumerate(sent.steps):
        for fault in find_unstorable(msgspec.to_builtins(step), ["steps", number]):
            raise InvalidParameter(place_of([fault]), fault["message"])
    if sent.by not in ("user", "session"):
        raise InvalidParameter("by", "Send user or session.")
    given = {name: [text] for name in _RANGE if (text := getattr(sent, name)) is not None}
    return FunnelRequest(
        steps=sent.steps,
        range=range_request(read_query(given, RangeQuery)),
        window=_duration(sent.window),
        by=cast("Literal['user', 'session']", sent.by),
    )


def _duration(text: str) -> timedelta:
    found = re.fullmatch(_DURATION, text) if len(text) <= _LONGEST_TEXT else None
    parts = zip(_UNITS, found.groups() if found else (), strict=False)
    try:
        length = timedelta(**{unit: int(part[:-1]) for unit, part in parts if unit and part})
    except OverflowError:
        length = _LONGEST * 2
    if not timedelta(0) < length <= _LONGEST:
        raise InvalidParameter("window", "Send a duration of up to 366 days, such as PT1H or P7D.")
    return length


# An entity is a user or a session. m1…mn say which steps an event matches.
#
#   matched   the events that match any step
#   ordered   the same with place: each entity's events numbered from its latest, so a larger place is an earlier event.
#             n2…nn are the places of the next event of each step. Among events of one moment, those of later steps
#             count as later, because their order is unknown.
#   chain     for each event of step 1, the times t1…tn of the steps that follow it in order
#   reached   each entity's best chain: the one that completes the most steps within the window
#
# Returns one row: for each step the number of entities that completed it, and the median seconds since the step before.
_FUNNEL = """
WITH matched AS MATERIALIZED (
    SELECT {entity} AS entity, e.occurred_at AS at, e.id, {matches}
      FROM muster.analytics_events e
     WHERE e.project_id = %(project_id)s AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
       AND {entity} IS NOT NULL AND ({any_match})
), ordered AS MATERIALIZED (
    -- The next event of a step has the largest of the smaller places.
    SELECT entity, at, {names}, place, {nexts}
      FROM (SELECT m.*, row_number() OVER (PARTITION BY entity ORDER BY at DESC, {highest} DESC, id) AS place
              FROM matched m) m
    WINDOW later AS (PARTITION BY entity ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), chain AS (
    SELECT s1.entity, s1.at AS t1, {times} FROM ordered s1 {joins} WHERE s1.m1
), reached AS (
    SELECT DISTINCT ON (entity) * FROM (SELECT *, {reached} AS steps FROM chain) c
     ORDER BY entity, steps DESC, t1
)
SELECT {counts} FROM reached
"""


def get_funnel(connection: Connection, access: Access, request: FunnelRequest) -> Funnel:
    """Count the users or sessions that completed each step. The cost grows with the range's events."""
    time_range = time_range_of(connection, access.project_id, request.range)
    parameters: dict[str, Any] = {
        "project_id": access.project_id, "start": time_range.start, "end": time_range.end, "window": request.window,
    }  # fmt: skip
    for number, step in enumerate(request.steps, start=1):
        parameters |= {f"type{number}": step.event_type, f"area{number}": step.area or None}
        parameters[f"data{number}"] = Jsonb(step.data or {})
    row = connection.execute(_statement(request), parameters).fetchone() or ()
    counts = [int(str(value)) for value in row[::2]]
    medians = [None if value is None else float(str(value)) for value in row[1::2]]
    zone = request.range.zone
    return Funnel(
        range=Range(
            start=time_range.start.astimezone(zone),
            end=time_range.end.astimezone(zone),
            timezone=request.range.timezone,
            granularity=time_range.granularity,
        ),
        steps=[
            _step(step, counts, number, medians[number] if number else None)
            for number, step in enumerate(request.steps)
        ],
    )


def _step(step: StepIn, counts: list[int], number: int, median: float | None) -> FunnelStep:
    before = counts[number - 1] if number else counts[0]
    return FunnelStep(
        event_type=step.event_type,
        area=step.area or None,
        count=counts[number],
        from_previous=counts[number] / before if before else 0.0,
        from_start=counts[number] / counts[0] if counts[0] else 0.0,
        median_seconds=median,
    )


def _statement(request: FunnelRequest) -> sql.Composed:
    numbers = range(1, len(request.steps) + 1)
    later = numbers[1:]
    match = (
        "(e.event_type = %(type{n})s AND (%(area{n})s::text IS NULL OR e.area = %(area{n})s::text) "
        "AND e.data @> %(data{n})s)"
    )
    join = "LEFT JOIN ordered s{n} ON s{n}.entity = s1.entity AND s{n}.place = s{before}.n{n}"
    parts = {
        "entity": "e.user_id" if request.by == "user" else "e.session_id",
        "matches": ", ".join(f"{match.format(n=n)} AS m{n}" for n in numbers),
        "any_match": " OR ".join(match.format(n=n) for n in numbers),
        "names": ", ".join(f"m{n}" for n in numbers),
        "nexts": ", ".join(f"max(place) FILTER (WHERE m{n}) OVER later AS n{n}" for n in later),
        "highest": "CASE " + " ".join(f"WHEN m{n} THEN {n}" for n in reversed(numbers)) + " END",
        "times": ", ".join(f"s{n}.at AS t{n}" for n in later),
        "joins": " ".join(join.format(n=n, before=n - 1) for n in later),
        "reached": "1 + " + " + ".join(f"coalesce(t{n} <= t1 + %(window)s, false)::integer" for n in later),
        "counts": ", ".join(
            f"count(*) FILTER (WHERE steps >= {n}), percentile_cont(0.5) WITHIN GROUP (ORDER BY "
            f"extract(epoch FROM t{n} - t{max(n - 1, 1)})) FILTER (WHERE steps >= {n})"
            for n in numbers
        ),
    }
    # Safe to format: the parts are numbers and column names, never client values.
    return sql.SQL(_FUNNEL).format(**{name: sql.SQL(part) for name, part in parts.items()})
