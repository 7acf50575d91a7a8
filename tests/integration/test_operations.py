"""docs/operations.md: its commands move a database of either layout, today's or that before the first release."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import sql

from local.postgres import find_binaries
from muster.db.client import Database
from muster.db.migrate import Applied, compare, read_migrations
from muster.db.schema import table_names, verify
from muster.maintenance.hourly import maintain
from muster.metrics.overview import get_metrics
from muster.metrics.request import MetricsRequest
from muster.pilot.tokens import IssueIn, RedeemIn
from muster.platform.settings import Settings
from muster.privacy.consent import DecisionIn
from muster.service import AnalyticsService
from tests.support.databases import MIGRATIONS, Cluster, Project, access_to, make_project

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/operations.md"
SECTION = "Move the data to another database"
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
REBUILT = ("schema_", "rollup_")
SESSION, ANONYMOUS = uuid.uuid4(), uuid.uuid4()
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# What differs in the layout from before the first release, outside the tables that are rebuilt.
OLD_LAYOUT = """
    ALTER TABLE muster.analytics_consent RENAME COLUMN carried_over_from TO followed_from;
    ALTER TABLE muster.analytics_sessions ADD COLUMN participant_type text;
"""
# In place of the Makefile, which would look after the virtual environment first.
MAKE = """
import sys
from local.cli.migrate import main
target, url = sys.argv[1:]
assert target == "migrate"
raise SystemExit(main(["--database-url", url.removeprefix("DATABASE_URL=")]))
"""


def blocks() -> list[str]:
    """The commands of the section, in their order."""
    section = (ROOT / PAGE).read_text("utf-8").split(f"\n## {SECTION}\n")[1].split("\n## ")[0]
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in _BLOCK.findall(section)]


def run(commands: list[str], folder: Path, old: str, new: str) -> str:
    """What the commands print, with the programs of the tests' server."""
    make = folder / "make"
    make.write_text(f"#!{sys.executable}\n{MAKE}", "utf-8")
    make.chmod(0o755)
    binaries = os.environ.get("POSTGRES") or find_binaries()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        env={
            "PATH": f"{folder}:{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'shared'}",
            "OLD": old,
            "NEW": new,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@contextmanager
def service(url: str, project: Project, kind: str = "write") -> Iterator[AnalyticsService]:
    database = Database(Settings(database_url=url))
    try:
        yield AnalyticsService(database, key=project.keys[kind])
    finally:
        database.close()


def events(*days: int) -> list[dict[str, Any]]:
    """An event on each day, counted back from today; the same each time."""
    return [{"event_type": "view", "timestamp": TODAY - timedelta(days=day), "data": {"plan": "pro"}} for day in days]


def fill(url: str, project: Project) -> None:
    """A row for every table that is copied, and roll-ups."""
    with service(url, project) as write, service(url, project, "admin") as admin:
        write.save_events("ada", SESSION, events(1, 40, 80))
        write.save_events("eve", uuid.uuid4(), events(3))
        write.save_events(None, ANONYMOUS, events(2))
        write.save_events("ada", SESSION, [{"event_type": "", "timestamp": TODAY}])
        write.put_consent(DecisionIn(status="denied", session_id=str(ANONYMOUS)))
        write.save_events("ben", ANONYMOUS, events(1))
        (token,) = admin.issue_pilot_tokens(IssueIn(participant_type="tester")).tokens
        write.redeem_pilot_token(RedeemIn(token=token.token, user_id="ada"))
        admin.erase_subject("eve")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO muster.pilot_attempts SELECT id FROM muster.projects")
        connection.execute("SELECT muster.next_archive_window(1)")
        maintain(connection, Settings())


def rows(url: str, table: str) -> list[bytes]:
    """A table's rows as JSON, with the names of today's columns."""
    statement = sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier("muster", table))
    with psycopg.connect(url) as connection:
        found = [row[0] for row in connection.execute(statement)]
    for row in found:
        if table == "analytics_sessions":
            row.pop("participant_type", None)
        if "followed_from" in row:
            row["carried_over_from"] = row.pop("followed_from")
    return sorted(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in found)


def totals(url: str, project: Project) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        answer = get_metrics(connection, access_to(project.id), MetricsRequest(timeframe="year", breakdown="area"))
        return answer.explain.source, answer.totals, answer.breakdown


@pytest.mark.parametrize("layout", ["today's", "before the first release"])
def test_a_database_is_moved_by_the_pages_commands(layout: str, postgres: Cluster, tmp_path: Path) -> None:
    _, prepare, dump, copy, copy_old, roll_up, compare_rows = blocks()
    with postgres.database() as old, postgres.database(template="template0") as new:
        project = make_project(old)
        fill(old, project)
        before = totals(old, project)
        if layout != "today's":
            copy = copy_old
            with psycopg.connect(old) as connection:
                connection.execute(OLD_LAYOUT)
        with psycopg.connect(old) as connection:  # only now, for a reader of metrics settles what is pending
            connection.execute(
                "INSERT INTO muster.pending_identities SELECT id, gen_random_uuid(), 'ada' FROM muster.projects"
            )
        answer = run([prepare, dump, copy, roll_up, compare_rows], tmp_path, old, new)
        assert "| t\n" in answer
        assert "The databases hold the same." in answer
        assert "The schema matches the migrations." in answer
        copied = [name for name in table_names() if not name.startswith(REBUILT)]
        assert [name for name in copied if not rows(old, name)] == []
        assert [name for name in copied if rows(old, name) != rows(new, name)] == []
        assert totals(new, project) == before
        with psycopg.connect(new) as connection:
            assert connection.execute("SELECT count(*) FROM muster.analytics_events_default").fetchone() == (0,)
            found = verify(connection)
            assert (found.differences, found.unexpected) == ([], [])
        with service(new, project) as write:
            again = write.save_events("ada", SESSION, events(1, 40, 80))
            erased = write.save_events("eve", uuid.uuid4(), events(3))
            assert (again["duplicates"], erased["ignored"]) == (3, 1)


def test_a_difference_is_shown_by_the_pages_comparison(postgres: Cluster, tmp_path: Path) -> None:
    *_, compare_rows = blocks()
    with postgres.database() as old, postgres.database() as new:
        make_project(old)
        answer = run([compare_rows], tmp_path, old, new)
        assert "projects|1" in answer
        assert "projects|0" in answer
        assert "hold the same" not in answer


def test_the_refusal_of_the_old_layout_names_the_page() -> None:
    (sentence,) = compare(read_migrations(MIGRATIONS), [Applied(1, "0001_foundation", "")])
    assert PAGE in sentence
    assert "the layout from before the first release" in sentence
    assert "the layout from before the first release" in (ROOT / PAGE).read_text("utf-8").replace("\n", " ")
