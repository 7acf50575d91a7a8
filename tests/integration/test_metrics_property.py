"""Every number of a metrics response, compared with a simple computation over the same events."""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.metrics.models import Metrics, Totals
from muster.metrics.overview import get_metrics
from muster.metrics.request import MetricsRequest
from muster.platform.errors import InvalidParameter
from muster.projects.projects import create_project
from tests.support.databases import Cluster, access_to

# Where clocks change, and how: by an hour, by half of one, at midnight, never.
ANCHORS = {
    "UTC": ["2015-05-17T00:00"],
    "Europe/Berlin": ["2015-03-29T01:00", "2015-10-25T01:00"],
    "America/New_York": ["2015-03-08T07:00", "2015-11-01T06:00"],
    "Asia/Kolkata": ["2015-05-16T18:30"],
    "Australia/Lord_Howe": ["2015-04-04T15:00", "2015-10-03T15:30"],
    "America/Sao_Paulo": ["2018-02-18T02:00", "2018-11-04T03:00"],
    "Africa/Cairo": ["2014-05-15T22:00", "2014-09-25T21:00"],
}
ALIKE = [str(uuid.UUID(int=number)) for number in range(1, 5)]
ROLL_UPS = 2
USERS = [None, "ada", "bob", "eve"]
PARTICIPANT_TYPES = ["tester", "control"]
TYPES, AREAS, COLOURS = ["page_view", "sign_up"], ["shop", "home", "unknown"], [None, "red", "blue", ""]


@dataclass(frozen=True)
class Event:
    """A stored event, as far as metrics look at it."""

    at: datetime
    session: str
    user: str | None
    type: str
    area: str
    colour: str | None
    roll_ups: int = 0
    """The number of roll-ups before it was stored."""
    participant: str | None = None
    """Its session's participant type."""

    @property
    def data(self) -> dict[str, str]:
        return {} if self.colour is None else {"colour": self.colour}


@dataclass(frozen=True)
class Redemption:
    """A redemption by a user, a session or both. At equal times, the later in the list counts."""

    type: str
    user: str | None
    session: str | None
    minute: int


def participant_type(session: str, owner: str | None, redemptions: list[Redemption]) -> str | None:
    """A session's participant type: that of the latest redemption by the session or its user."""
    mine = [
        (redemption.minute, number, redemption.type)
        for number, redemption in enumerate(redemptions)
        if redemption.session == session or (owner is not None and redemption.user == owner)
    ]
    return max(mine)[2] if mine else None


def near(anchor: datetime) -> st.SearchStrategy[datetime]:
    minutes = st.integers(-150, 150) | st.integers(-60 * 24 * 40, 60 * 24 * 40)
    return st.builds(
        lambda offset, second: anchor + timedelta(minutes=offset, seconds=second), minutes, st.sampled_from([0, 0, 59])
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, ...]:
    zone = draw(st.sampled_from(sorted(ANCHORS)))
    anchor = datetime.fromisoformat(draw(st.sampled_from(ANCHORS[zone]))).replace(tzinfo=UTC)
    # From a small pool, so that events fall on the very start and end of the range.
    times = st.sampled_from(draw(st.lists(near(anchor), min_size=2, max_size=8, unique=True)))
    event = st.builds(
        Event,
        at=times,
        session=st.sampled_from(ALIKE),
        user=st.sampled_from(USERS),
        type=st.sampled_from(TYPES),
        area=st.sampled_from(AREAS),
        colour=st.sampled_from(COLOURS),
        roll_ups=st.integers(0, ROLL_UPS),
    )
    start, end = sorted(draw(st.lists(times, min_size=2, max_size=2, unique=True)))
    filters = {
        "eventType": draw(st.just([]) | st.lists(st.sampled_from(TYPES), max_size=1)),
        "area": draw(st.just([]) | st.lists(st.sampled_from(AREAS), max_size=2)),
        "userId": draw(st.just([]) | st.lists(st.sampled_from(["ada", "bob"]), max_size=2)),
        "participantType": draw(
            st.just([]) | st.just([]) | st.lists(st.sampled_from([*PARTICIPANT_TYPES, "nothing"]), max_size=2)
        ),
        "data": draw(
            st.just({}) | st.fixed_dictionaries({"colour": st.lists(st.sampled_from(["red", ""]), min_size=1)})
        ),
    }
    request = MetricsRequest(
        timeframe=None,
        start=start,
        end=end,
        timezone=zone,
        granularity=draw(st.sampled_from([None, "minute", "hour", "day", "week", "month"])),
        filters={name: wanted for name, wanted in filters.items() if wanted},
        breakdown=draw(st.sampled_from([None, "eventType", "area", "userId", "participantType", "data.colour"])),
        limit=draw(st.sampled_from([1, 2, 100])),
    )
    few = st.lists(times, max_size=3)
    rollup_settings = draw(st.sampled_from([zone, *sorted(ANCHORS)])), draw(st.sampled_from([[], ["colour"]]))
    owners = {session: draw(st.sampled_from(USERS)) for session in draw(st.sets(st.sampled_from(ALIKE)))}
    redemption = st.builds(
        Redemption,
        type=st.sampled_from(PARTICIPANT_TYPES),
        user=st.sampled_from(["ada", "bob"]),
        session=st.sampled_from([None, *ALIKE]),
        minute=st.integers(0, 1),
    ) | st.builds(
        Redemption,
        type=st.sampled_from(PARTICIPANT_TYPES),
        user=st.none(),
        session=st.sampled_from(ALIKE),
        minute=st.integers(0, 1),
    )
    redemptions = draw(st.lists(redemption, max_size=3))
    events = [
        replace(one, participant=participant_type(one.session, owners.get(one.session), redemptions))
        for one in draw(st.lists(event, max_size=25))
    ]
    pilot = owners, redemptions
    return events, draw(st.lists(event, max_size=5)), draw(few), draw(few), request, rollup_settings, pilot


@pytest.fixture(scope="module")
def database(postgres: Cluster) -> Iterator[psycopg.Connection[Any]]:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET jit = off")  # as the functions' connections do
        # The examples repeat the same statements: plan each once.
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


def store(connection: psycopg.Connection[Any], project: uuid.UUID, events: list[Event]) -> None:
    """Store events in groups, each with a transaction number before the next roll-up; the last group is unrolled."""
    for roll_ups in range(ROLL_UPS + 1):
        insert(
            connection,
            project,
            [event for event in events if event.roll_ups == roll_ups],
            2 * roll_ups + 1 if roll_ups < ROLL_UPS else None,
        )
        if roll_ups < ROLL_UPS:
            connection.execute("SELECT muster.roll_up(%s, 10)", (project,))
            connection.execute(
                "UPDATE muster.rollup_state SET watermark = %s WHERE project_id = %s", (2 * roll_ups + 2, project)
            )
    connection.execute(
        "UPDATE muster.rollup_state SET watermark = pg_current_xact_id()::text::bigint WHERE project_id = %s",
        (project,),
    )


def insert(connection: psycopg.Connection[Any], project: uuid.UUID, events: list[Event], xid: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, xid, user_id,"
            " event_type, area, data) VALUES (%s, %s, gen_random_uuid(), %s, gen_random_uuid(),"
            " coalesce(%s, pg_current_xact_id()::text::bigint), %s, %s, %s, %s)",
            [(project, e.session, e.at, xid, e.user, e.type, e.area, json.dumps(e.data)) for e in events],
        )


def store_refused(
    connection: psycopg.Connection[Any], project: uuid.UUID, rejected: list[datetime], ignored: list[datetime]
) -> None:
    for number, at in enumerate(rejected):
        connection.execute(
            "INSERT INTO muster.analytics_rejections (project_id, fingerprint, reason, received_at, occurred_at)"
            " VALUES (%s, %s, 'invalid_event', %s, %s)",
            # Every other one has no time that can be believed: then the time of its receipt counts.
            (project, f"{number}".encode(), at, at if number % 2 else None),
        )
    for at in ignored:
        connection.execute(
            "INSERT INTO muster.analytics_ignored (project_id, occurred_at, id, reason, batch_id)"
            " VALUES (%s, %s, gen_random_uuid(), 'bot', gen_random_uuid())",
            (project, at),
        )


def store_pilot(
    connection: psycopg.Connection[Any],
    project: uuid.UUID,
    events: list[Event],
    owners: dict[str, str | None],
    redemptions: list[Redemption],
) -> None:
    for session, owner in owners.items():
        times = [event.at for event in events if event.session == session]
        connection.execute(
            "INSERT INTO muster.analytics_sessions (project_id, id, user_id, started_at, last_seen_at)"
            " SELECT %s, %s, %s, min(t), max(t) FROM unnest(%s::timestamptz[]) t HAVING count(*) > 0",
            (project, session, owner, times),
        )
    for number, redemption in enumerate(redemptions):
        connection.execute(
            "WITH token AS (INSERT INTO muster.pilot_tokens (project_id, token_hash, prefix, participant_type)"
            " VALUES (%(project)s, sha256(convert_to(%(project)s::text || %(number)s::text, 'UTF8')), 'mp_', %(type)s)"
            " RETURNING id)"
            " INSERT INTO muster.pilot_redemptions"
            " (project_id, token_id, participant_type, user_id, session_id, redeemed_at)"
            " SELECT %(project)s, id, %(type)s, %(user)s, %(session)s, now() + make_interval(mins => %(minute)s)"
            " FROM token",
            {"project": project, "number": number, **asdict(redemption)},
        )


def matches(event: Event, request: MetricsRequest) -> bool:
    values = {"eventType": event.type, "area": event.area, "userId": event.user, "participantType": event.participant}
    return all(
        all(event.data.get(key) in texts for key, texts in wanted.items()) if name == "data" else values[name] in wanted
        for name, wanted in request.filters.items()
    )


def totals(chosen: list[Event], everything: list[Event], start: datetime) -> dict[str, float]:
    users = {event.user for event in chosen if event.user is not None}
    by_session: dict[str, list[datetime]] = {}
    for event in chosen:
        by_session.setdefault(event.session, []).append(event.at)
    spans = [(max(times) - min(times)).total_seconds() for times in by_session.values()]
    sessions = len(by_session)
    return {
        "events": len(chosen),
        "users": len(users),
        "sessions": sessions,
        "new_users": sum(min(event.at for event in everything if event.user == user) >= start for user in users),
        "average_session_seconds": sum(spans) / sessions if sessions else 0,
        "bounce_rate": sum(len(times) == 1 for times in by_session.values()) / sessions if sessions else 0,
        "events_per_session": len(chosen) / sessions if sessions else 0,
    }


def label_of(granularity: str, zone: ZoneInfo) -> Callable[[datetime], Hashable]:
    """What a person calls a bucket: local time and, where an hour repeats, the UTC offset."""

    def label(when: datetime) -> Hashable:
        local = when.astimezone(zone)
        day = (local.year, local.month, local.day)
        return {
            "minute": (*day, local.hour, local.minute, local.utcoffset()),
            "hour": (*day, local.hour, local.utcoffset()),
            "day": day,
            "week": local.isocalendar()[:2],
            "month": day[:2],
        }[granularity]

    return label


def counts(events: list[Event]) -> tuple[int, int, int]:
    return (
        len(events),
        len({event.user for event in events if event.user is not None}),
        len({event.session for event in events}),
    )


def assert_series(answer: Metrics, chosen: list[Event], start: datetime, end: datetime) -> None:
    granularity = answer.range.granularity
    label = label_of(granularity, ZoneInfo(answer.range.timezone))
    step = timedelta(minutes=1 if granularity == "minute" else 30)
    # The range as a clock shows it, minute by minute: no bucket may be missing, double or of another range.
    instants = [start + number * step for number in range(int((end - start) / step) + 1)]
    seen = dict.fromkeys(label(instant) for instant in [*instants, end - timedelta(seconds=1)] if instant < end)
    starts = [bucket.bucket.astimezone(UTC) for bucket in answer.series]
    assert starts == sorted(starts)
    labels = [label(bucket) for bucket in starts]
    assert len(set(labels)) == len(labels)
    assert set(seen) <= set(labels)
    by_label: defaultdict[Hashable, list[Event]] = defaultdict(list)
    for event in chosen:
        by_label[label(event.at)].append(event)
    for bucket_label, bucket in zip(labels, answer.series, strict=True):
        assert (bucket.events, bucket.users, bucket.sessions) == counts(by_label[bucket_label])
    assert sum(bucket.events for bucket in answer.series) == len(chosen)


def assert_breakdown(answer: Metrics, chosen: list[Event], request: MetricsRequest) -> None:
    value_of: dict[Any, Callable[[Event], str | None]] = {
        "eventType": lambda event: event.type,
        "area": lambda event: event.area,
        "userId": lambda event: event.user,
        "participantType": lambda event: event.participant,
        "data.colour": lambda event: event.colour,
    }
    if request.breakdown is None:
        assert answer.breakdown == []
        return
    value = value_of[request.breakdown]
    found = Counter(value(event) for event in chosen)
    ordered = sorted(found, key=lambda each: (-found[each], each is None, each or ""))[: request.limit]
    expected = [(each, *counts([event for event in chosen if value(event) == each])) for each in ordered]
    assert [(each.value, each.events, each.users, each.sessions) for each in answer.breakdown] == expected


def without_now(found: Totals) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(found).items() if name != "active_users_now"}


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=cases())
def test_every_number_equals_a_simple_computation(database: psycopg.Connection[Any], case: Any) -> None:
    events, others, rejected, ignored, request, (zone, keys), (owners, redemptions) = case
    start, end = request.start, request.end
    with database.transaction(force_rollback=True):
        project, another = create_project(database, "one"), create_project(database, "another")
        database.execute("UPDATE muster.projects SET time_zone = %s, rollup_keys = %s", (zone, keys))
        store(database, project, events)
        store(database, another, others)
        store_pilot(database, project, events, owners, redemptions)
        store_pilot(database, another, others, owners, [Redemption("tester", "eve", None, 0)])
        store_refused(database, project, rejected, ignored)
        store_refused(database, another, rejected, ignored)
        try:
            answer = get_metrics(database, access_to(project), request)
        except InvalidParameter:
            assert (end - start) / timedelta(minutes=1) > 2000
            return
    matching = [event for event in events if matches(event, request)]
    chosen = [event for event in matching if start <= event.at < end]
    before = [event for event in matching if start - (end - start) <= event.at < start]
    assert without_now(answer.totals) == pytest.approx(totals(chosen, events, start))
    assert without_now(answer.previous) == pytest.approx(totals(before, events, start - (end - start)))
    # Python calls two times of different zones unequal where clocks repeat an hour: compare in UTC.
    assert (answer.range.start.astimezone(UTC), answer.range.end.astimezone(UTC)) == (start, end)
    assert_series(answer, chosen, start, end)
    assert_breakdown(answer, chosen, request)
    assert answer.explain.rows_outside_range == len(matching) - len(chosen)
    assert answer.explain.rejected_in_range == sum(start <= at < end for at in rejected)
    assert answer.explain.ignored_in_range == sum(start <= at < end for at in ignored)
    assert answer.explain.last_event_at == max((event.at for event in events), default=None)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(st.tuples(st.integers(-26 * 60, 400 * 24 * 60), st.sampled_from(USERS)), max_size=15),
    timeframe=st.sampled_from(["hour", "day", "week", "month", "quarter", "year", "all"]),
    zone=st.sampled_from(sorted(ANCHORS)),
)
def test_a_timeframe_ends_with_the_bucket_of_now(
    database: psycopg.Connection[Any], ages: list[tuple[int, str | None]], timeframe: Any, zone: str
) -> None:
    with database.transaction(force_rollback=True):
        row = database.execute("SELECT now()").fetchone()
        assert row is not None
        now: datetime = row[0]
        project = create_project(database, "one")
        events = [Event(now - timedelta(minutes=age), ALIKE[0], user, "a", "b", None) for age, user in ages]
        store(database, project, events)
        answer = get_metrics(database, access_to(project), MetricsRequest(timeframe=timeframe, timezone=zone))
    start, end = answer.range.start, answer.range.end
    assert start <= now < end
    assert answer.totals.events == sum(start <= event.at < end for event in events)
    recent = {e.user for e in events if e.user and now - timedelta(minutes=30) < e.at <= now + timedelta(hours=24)}
    assert answer.totals.active_users_now == len(recent)
    assert sum(bucket.events for bucket in answer.series) == answer.totals.events
    if timeframe == "all":
        assert answer.totals.events == len(events)
    else:
        length = {"hour": 1 / 24, "day": 1, "week": 7, "month": 30, "quarter": 90, "year": 365}[timeframe]
        assert abs((end - start) / timedelta(days=1) - length) <= (1.1 if timeframe == "year" else 0.05)
