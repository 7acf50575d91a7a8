"""Computes absolute times: a range from a timeframe, and the boundaries of its buckets in a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, get_args

from muster.platform.errors import InvalidParameter

Timeframe = Literal["hour", "day", "week", "month", "quarter", "year", "all"]
Granularity = Literal["minute", "hour", "day", "week", "month"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
TIMEFRAMES: tuple[Timeframe, ...] = get_args(Timeframe)
MAX_BUCKETS = 2_000

_DEFAULT_GRANULARITY: dict[Timeframe, Granularity] = {
    "hour": "minute",
    "day": "hour",
    "week": "day",
    "month": "day",
    "quarter": "day",
    "year": "month",
}
_DAYS: dict[Timeframe, int] = {"week": 7, "month": 30, "quarter": 90}
# The longest range that gets each granularity by default. Longer ranges get months.
_BY_LENGTH: tuple[tuple[timedelta, Granularity], ...] = (
    (timedelta(hours=2), "minute"),
    (timedelta(days=3), "hour"),
    (timedelta(days=100), "day"),
    (timedelta(days=731), "week"),
)
_STEP: dict[Granularity, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From start (inclusive) to end (exclusive), both in UTC."""

    start: datetime
    end: datetime
    granularity: Granularity

    @property
    def before(self) -> datetime:
        """The start of the previous range, which has the same length."""
        return self.start - (self.end - self.start)


def timeframe_range(timeframe: Timeframe, zone: tzinfo, now: datetime, events: tuple[datetime, datetime]) -> TimeRange:
    """Get a timeframe's range. It ends with the bucket of `now`; `events` are the times of the first and last event."""
    if timeframe == "all":
        first, last = min(events[0], now), max(events[1], now)
        granularity = by_length(last - first)
        return TimeRange(bucket_start(first, granularity, zone), bucket_end(last, granularity, zone), granularity)
    granularity = _DEFAULT_GRANULARITY[timeframe]
    end = bucket_end(now, granularity, zone)
    if timeframe in _DAYS:
        start = day_start(end.astimezone(zone).date() - timedelta(days=_DAYS[timeframe]), zone)
    elif timeframe == "year":
        local = end.astimezone(zone)
        start = day_start(date(local.year - 1, local.month, 1), zone)
    else:
        start = end - (timedelta(hours=1) if timeframe == "hour" else timedelta(days=1))
    return TimeRange(start, end, granularity)


def by_length(length: timedelta) -> Granularity:
    """Get the default granularity of a range of that length."""
    return next((granularity for longest, granularity in _BY_LENGTH if length <= longest), "month")


def boundaries(time_range: TimeRange, granularity: Granularity, zone: tzinfo) -> list[datetime]:
    """Get the start of every bucket that overlaps the range, then the end of the last one.

    Raises:
        InvalidParameter: there would be more than 2,000 buckets.
    """
    if (time_range.end - time_range.start) / _STEP[granularity] > MAX_BUCKETS:
        length = time_range.end - time_range.start
        fitting = [name for name in GRANULARITIES if length / _STEP[name] <= MAX_BUCKETS]
        advice = f"Send {' or '.join(fitting)}" if fitting else "Send a shorter range"
        raise InvalidParameter("granularity", f"The range has more than {MAX_BUCKETS} {granularity}s. {advice}.")
    found = [bucket_start(time_range.start, granularity, zone)]
    for start in _following(found[0], granularity, zone):
        found.append(start)
        if start >= time_range.end:
            return found
    raise AssertionError("unreachable: buckets have no end")


def bucket_start(when: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    """Get the start of the bucket that holds a time."""
    local = when.astimezone(zone)
    if granularity in ("minute", "hour"):
        zeros = {"second": 0, "microsecond": 0} | ({"minute": 0} if granularity == "hour" else {})
        floor = local.replace(**zeros).astimezone(UTC)  # type: ignore[arg-type]  # keywords of replace, not a tzinfo
        return max(floor, _transition_between(floor, when, zone) or floor)
    return day_start(_first_day(local.date(), granularity), zone)


def bucket_end(when: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    """Get the end of the bucket that holds a time."""
    return next(_following(bucket_start(when, granularity, zone), granularity, zone))


def instant(when: datetime | date, zone: tzinfo) -> datetime:
    """Get the instant of a time, or of the start of a local day, in UTC."""
    return when.astimezone(UTC) if isinstance(when, datetime) else day_start(when, zone)


def day_start(day: date, zone: tzinfo) -> datetime:
    """Get the first instant of a local day, in UTC. If the clock skips midnight, it is the instant of the change."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    if midnight.astimezone(zone).date() == day and midnight.astimezone(zone).hour == 0:
        return midnight
    return _transition_between(midnight - timedelta(hours=3), midnight + timedelta(hours=3), zone) or midnight


def _following(start: datetime, granularity: Granularity, zone: tzinfo) -> Iterator[datetime]:
    while True:
        if granularity in ("minute", "hour"):
            following = start + _STEP[granularity]
            # A clock change within a bucket begins a new bucket.
            change = _transition_between(start, following, zone)
            floor = bucket_start(following, granularity, zone)
            start = (
                change
                if change is not None and start < change < following
                else max(floor, start + timedelta(seconds=1))
            )
        else:
            start = day_start(_next_day(_local_day(start, zone), granularity), zone)
        yield start


def _local_day(start: datetime, zone: tzinfo) -> date:
    return start.astimezone(zone).date()


def _first_day(day: date, granularity: Granularity) -> date:
    if granularity == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if granularity == "month" else day


def _next_day(day: date, granularity: Granularity) -> date:
    if granularity == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return _first_day(day, granularity) + timedelta(days=7 if granularity == "week" else 1)


def _transition_between(early: datetime, late: datetime, zone: tzinfo) -> datetime | None:
    """The instant after `early`, up to `late`, at which the zone's offset changes; None if it does not change."""
    offset = early.astimezone(zone).utcoffset()
    if late.astimezone(zone).utcoffset() == offset:
        return None
    before, after = early.replace(microsecond=0), late
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
