"""Says why a view of metrics does not show an event."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from muster.metrics.request import MetricsRequest
from muster.metrics.time_ranges import TimeRange


def hidden_by(
    request: MetricsRequest,
    time_range: TimeRange,
    *,
    occurred_at: datetime,
    values: Mapping[str, str | None],
    data: Mapping[str, Any],
) -> tuple[list[str], str | None]:
    """A sentence for each range or filter that leaves the event out, and what to ask for instead."""
    reasons, remedies = [], []
    if not time_range.start <= occurred_at < time_range.end:
        reasons.append(_out_of_range(request, time_range, occurred_at))
        day = occurred_at.astimezone(request.zone).date()
        remedies.append(f"timeframe=all, or start={day}&end={day + timedelta(days=1)}&timezone={request.timezone}")
    for name, wanted in (
        ("eventType", request.event_types),
        ("area", request.areas),
        ("userId", request.user_ids),
        ("participantType", request.participant_types),
    ):
        if wanted and values[name] not in wanted:
            reasons.append(f"The filter {name} leaves it out: the event's is {_said(values[name])}.")
            remedies.append(f"another {name}, or none")
    for key, texts in request.data.items():
        found = _text_of(data.get(key))
        if found not in texts:
            reasons.append(f"The filter data.{key} leaves it out: the event's is {_said(found)}.")
            remedies.append(f"another data.{key}, or none")
    return reasons, f"Ask for {'; and '.join(remedies)}." if remedies else None


def _out_of_range(request: MetricsRequest, time_range: TimeRange, occurred_at: datetime) -> str:
    zone = request.zone
    start, end, when = (
        time.astimezone(zone).isoformat(timespec="seconds") for time in (time_range.start, time_range.end, occurred_at)
    )
    side = "before" if occurred_at < time_range.start else "after"
    sentence = f"The range leaves it out: it is of {when}, {side} {start} to {end}."
    # Where the range is of whole days, another time zone's days may hold it.
    if request.timezone != "UTC" and _in_days_of_utc(time_range, occurred_at, request):
        return f"{sentence} The days are those of {request.timezone}; those of UTC would hold it."
    if side == "after":
        return f"{sentence} Its client's clock may be ahead."
    return sentence


def _in_days_of_utc(time_range: TimeRange, occurred_at: datetime, request: MetricsRequest) -> bool:
    start, end = (time.astimezone(request.zone).replace(tzinfo=UTC) for time in (time_range.start, time_range.end))
    return start <= occurred_at < end


def _text_of(value: Any) -> str | None:
    """A value as PostgreSQL's ->> has it, as far as texts, numbers and booleans go."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(value: str | None) -> str:
    return "none" if value is None else f"'{value}'"
