"""Makes up the history of a product: users who come, come back and leave, with sessions and events in order of time."""

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.batches import AREAS, TYPES, make_event

Connection = psycopg.Connection[Any]

DAYS = 730
EVENTS_PER_SESSION = 10
EVENTS_PER_USER = 100
# About what ingest stores between two roll-ups.
CHUNK_SESSIONS = 4_000
_EVENTS = (
    "COPY muster.analytics_events (project_id, session_id, id, occurred_at, received_at, batch_id, user_id, event_type,"
    " area, data) FROM STDIN"
)
_SESSIONS = (
    "COPY muster.analytics_sessions (project_id, id, user_id, started_at, last_seen_at, events_count, batches)"
    " FROM STDIN"
)


@dataclass
class Seeded:
    """The progress of a seed."""

    events: int = 0
    sessions: int = 0
    rollup_seconds: float = 0.0
    """The part of `seconds` that the roll-ups took."""
    seconds: float = 0.0


def seed(
    connection: Connection, project_id: UUID, events: int, *, days: int = DAYS, rng_seed: int = 1
) -> Iterator[Seeded]:
    """Store about `events` events of the last `days` days and roll them up. Yield the progress."""
    end = datetime.now(UTC) - timedelta(hours=1)
    start = end - timedelta(days=days)
    connection.execute("SELECT muster.ensure_partitions(%s, %s)", (start.date(), end.date()))
    done, began = Seeded(), time.monotonic()
    chunk: list[tuple[str, str]] = []
    for event_lines, session_line, count in _sessions(random.Random(rng_seed), project_id, events, start, end):
        chunk.append((event_lines, session_line))
        done.events, done.sessions = done.events + count, done.sessions + 1
        if len(chunk) == CHUNK_SESSIONS:
            _store(connection, project_id, chunk, done)
            done.seconds = time.monotonic() - began
            yield done
    _store(connection, project_id, chunk, done)
    done.seconds = time.monotonic() - began
    yield done


def _store(connection: Connection, project_id: UUID, chunk: list[tuple[str, str]], done: Seeded) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        for statement, place in ((_EVENTS, 0), (_SESSIONS, 1)):
            with cursor.copy(statement) as copy:
                copy.write("".join(lines[place] for lines in chunk))
    chunk.clear()
    started = time.monotonic()
    connection.execute("SELECT muster.roll_up(%s, 100000)", (project_id,))
    done.rollup_seconds += time.monotonic() - started


def _sessions(
    rng: random.Random, project_id: UUID, events: int, start: datetime, end: datetime
) -> Iterator[tuple[str, str, int]]:
    """Sessions ordered by their start: the COPY lines of the events, that of the session, and the number of events."""
    project = project_id.hex
    datas = [json.dumps(make_event(rng, start)["data"]).replace("\\", "\\\\") for _ in range(2_000)]
    types, weights = list(TYPES), list(TYPES.values())
    kinds = list(_kinds(rng, rng.choices(types, weights, k=4_000)))
    users = max(events // EVENTS_PER_USER, 5)
    count = max(events // EVENTS_PER_SESSION, 1)
    length = (end - start) / count
    for number in range(count):
        # More sessions by day than by night.
        at = start + (number + rng.random()) * length
        at += timedelta(hours=2.5 * math.sin((at.hour + at.minute / 60) / 24 * 2 * math.pi))
        known = users * (0.2 + 0.8 * number / count)
        user = "\\N" if rng.random() < 0.15 else f"user-{int(known * rng.random() ** 2):07d}"
        session, batch = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(128):032x}"
        first_kind, first_data = rng.randrange(len(kinds) - 80), rng.randrange(len(datas) - 80)
        size = min(1 + int(rng.expovariate(1 / (EVENTS_PER_SESSION - 0.5))), 75)
        lines, first = [], min(at, end)
        when = first
        for place in range(size):
            text = f"{when:%Y-%m-%d %H:%M:%S.%f+00}"
            lines.append(
                f"{project}\t{session}\t{rng.getrandbits(128):032x}\t{text}\t{text}\t{batch}\t{user}\t"
                f"{kinds[first_kind + place]}\t{datas[first_data + place]}\n"
            )
            last, when = when, min(when + timedelta(seconds=rng.expovariate(1 / 40)), end)
        session_line = f"{project}\t{session}\t{user}\t{first}\t{last}\t{size}\t{{[1,2)}}\n"
        yield "".join(lines), session_line, size


def _kinds(rng: random.Random, types: list[str]) -> Iterator[str]:
    """Event types with areas. A user stays in an area for a while."""
    area = rng.choice(AREAS)
    for kind in types:
        if rng.random() < 0.2:
            area = rng.choice(AREAS)
        yield f"{kind}\t{area}"
