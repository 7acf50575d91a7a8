"""docs/architecture.md: the way of an event is the real one, and the example's tables are what the database holds."""

import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from functions.ingest import app as ingest
from muster.api import app as api
from muster.metrics.overview import get_metrics
from muster.metrics.request import parse_metrics_request
from muster.metrics.rollups import roll_up
from muster.projects.projects import create_project
from tests.support.databases import Project, access_to
from tests.support.functions import Caller, a_batch, an_event
from tests.support.requests import a_request

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PACKAGE = "layers/shared/muster/"
MONDAY = date(2026, 3, 2)
DAYS = {"Mon": MONDAY, "Tue": MONDAY + timedelta(days=1), "Wed": MONDAY + timedelta(days=2)}
NAMES = {str(day): name for name, day in DAYS.items()}
# Of the example's values; area and userId have rows too.
SHOWN = ("all", "sign_up", "view")
SHOWN_VALUES = """
    SELECT v.id, coalesce(v.value, d.name) AS name FROM muster.rollup_dimension_values v
      JOIN muster.rollup_dimensions d ON d.id = v.dimension_id WHERE coalesce(v.value, d.name) = ANY (%(shown)s)
"""


def the_way() -> list[str]:
    """The files of "The way of an event", in order; a file that the reader returns to is there again."""
    section = TEXT.split("## The way of an event\n")[1].split("\n### ")[0]
    return re.findall(r"^\d+\. \[(\S+)\]\(\.\./\1\)", section, re.MULTILINE)


def table(first: str, number: int = 0) -> list[list[str]]:
    """The rows of the page's table whose header begins with these names; of several the one with this number."""
    tables = [part.splitlines() for part in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)]
    found = [lines for lines in tables if lines[0].startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[number][2:]]


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch, database_url: str, project: Project) -> Iterator[Caller]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATABASE_ROLE", "muster_ingest")
    api.database.cache_clear()
    yield Caller(ingest.lambda_handler, project, "muster_ingest", monkeypatch)
    api.database().close()
    api.database.cache_clear()


def files_called(post: Caller, batch: dict[str, Any]) -> list[str]:
    """The project's files in the order in which a request first calls something in them."""
    found: dict[str, None] = {}

    def note(frame: Any, event: str, _: Any) -> None:
        name = Path(frame.f_code.co_filename)
        if frame.f_code.co_qualname == "DatabaseTimer.__init__":
            return  # a stopwatch that starts before the log line begins
        if event == "call" and name.is_relative_to(ROOT) and "tests" not in name.parts and ".venv" not in name.parts:
            found.setdefault(name.relative_to(ROOT).as_posix())

    sys.setprofile(note)
    try:
        post("POST /v1/events", batch)
    finally:
        sys.setprofile(None)
    return [name for name in found if name.startswith(("functions/", PACKAGE))]


def sql_functions_called(url: str) -> set[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT funcname FROM pg_stat_user_functions WHERE calls > 0")}


def test_the_way_of_an_event_opens_twelve_files_and_returns_four_times() -> None:
    way = the_way()
    assert len(set(way)) <= 12
    assert len(way) - len(set(way)) <= 4
    assert way[0] == "functions/ingest/app.py"


def test_a_request_passes_the_files_that_the_page_lists(post: Caller, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET track_functions = 'all'").format(name))
    post("POST /v1/events", a_batch())  # connects
    called = files_called(post, a_batch(an_event(), an_event()))
    api.database().close()  # so that its statistics are written
    listed = list(dict.fromkeys(the_way()))
    python = [name for name in listed if name.endswith(".py") and name != "functions/ingest/app.py"]
    assert [name for name in called if name in python] == python
    called_too = set(re.findall(r"`(\w+/\w+\.py)`", TEXT.split("are called on the way too")[1].split("\n\n")[0]))
    assert {name.removeprefix(PACKAGE) for name in called if name not in python} == called_too
    functions = {Path(name).stem for name in listed if name.endswith(".sql")}
    assert functions == {"ingest_fast_path", "upsert_session"}
    assert functions <= sql_functions_called(database_url)


def test_the_full_path_passes_the_files_that_the_page_lists(post: Caller) -> None:
    post("POST /v1/events", a_batch(an_event(eventType="")))
    called = files_called(post, a_batch(an_event(), an_event(eventType="")))
    section = TEXT.split("### The full path\n")[1].split("\n### ")[0]
    listed = re.findall(r"^- \[(\S+\.py)\]", section, re.MULTILINE)
    assert listed == [f"{PACKAGE}ingest/parse.py", f"{PACKAGE}ingest/full_path.py"]
    assert [name for name in called if name in listed] == listed


def add(connection: psycopg.Connection[Any], project_id: uuid.UUID, row: Sequence[str], events: str) -> None:
    day, user, session = row
    for event in events.split(", "):
        event_type, time = event.split()
        connection.execute(
            "INSERT INTO muster.analytics_events (project_id, session_id, id, occurred_at, batch_id, user_id,"
            " event_type, area) VALUES (%s, md5(%s)::uuid, gen_random_uuid(), %s, gen_random_uuid(), %s, %s, 'site')",
            [project_id, session, f"{DAYS[day]}T{time}Z", user, event_type],
        )


def rows(connection: psycopg.Connection[Any], statement: str) -> list[list[str]]:
    found = connection.execute(f"WITH v AS ({SHOWN_VALUES}) {statement}".encode(), {"shown": list(SHOWN)})
    return [[NAMES.get(str(value), str(value)) for value in row] for row in found]


def answers(connection: psycopg.Connection[Any], project_id: uuid.UUID, asked: list[list[str]]) -> list[list[str]]:
    """The rows of a table of answers, as the database answers now."""
    found = []
    for days, kind, *_ in asked:
        first, last = (DAYS[name] for name in days.split(" to "))
        query = {"start": [str(first)], "end": [str(last + timedelta(days=1))], "eventType": [kind]}
        request = parse_metrics_request(a_request({name: value for name, value in query.items() if value != [""]}))
        answer = get_metrics(connection, access_to(project_id), request)
        assert answer.explain.source == "rollups"
        totals = answer.totals
        numbers = [totals.events, totals.users, totals.sessions, totals.new_users]
        seconds, rate = totals.average_session_seconds, totals.bounce_rate
        assert seconds is not None
        assert rate is not None
        found.append([days, kind, *map(str, numbers), f"{seconds:.0f} s", f"{rate:.0%}".replace("%", " %")])
    return found


def test_the_rollups_hold_what_the_example_shows(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        project_id = create_project(connection, "example")
        for day, user, session, events in table("day"):
            add(connection, project_id, (day, user, session), events)
        assert roll_up(connection, project_id, 1_000) == (10, True)
        assert table("value | day | events") == rows(
            connection,
            "SELECT name, day, events, users, sessions FROM muster.rollup_days JOIN v ON v.id = value_id ORDER BY 1, 2",
        )
        assert table("value | day | previous day") == rows(
            connection,
            "SELECT name, day, CASE WHEN previous_day = '-infinity' THEN 'never' ELSE previous_day::text END, entities"
            " FROM muster.rollup_returning_activity JOIN v ON v.id = value_id"
            " WHERE kind = 'u' AND name = 'all' ORDER BY day, previous_day = '-infinity', previous_day",
        )
        assert table("value | first day") == rows(
            connection,
            "SELECT name, first_day, last_day, sessions, micros / 60000000, bounces FROM muster.rollup_session_spans"
            " JOIN v ON v.id = value_id WHERE name = 'all' ORDER BY first_day",
        )
        users = connection.execute(
            f"WITH v AS ({SHOWN_VALUES}) SELECT u.user_id, u.day, u.events, (SELECT array_agg(ROW(v.name, l.day)::text"
            " ORDER BY v.name) FROM unnest(u.value_ids, u.last_days) l(id, day) JOIN v ON v.id = l.id)"
            " FROM muster.rollup_user_days u ORDER BY u.user_id, u.day".encode(),
            {"shown": list(SHOWN)},
        ).fetchall()
        assert table("user | day") == [
            [user, NAMES[str(day)], str(events), ", ".join(_value_and_day(value) for value in values)]
            for user, day, events, values in users
        ]
        before, after = table("range"), table("range", 1)
        assert answers(connection, project_id, before) == before
        add(connection, project_id, ("Wed", "Cleo", "c2"), "view 15:00")
        assert answers(connection, project_id, after) == after


def _value_and_day(row: str) -> str:
    name, day = row.strip("()").split(",")
    return f"{name} {NAMES[day]}"
