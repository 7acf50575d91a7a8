"""The copies of a project's settings that its keys have for the fast path."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from muster.projects.projects import create_key, create_project, update_project
from tests.support.databases import Cluster

COPIES = (
    "SELECT k.event_window, k.redacted_keys, k.may_need_full_path FROM muster.api_keys k "
    "WHERE k.project_id = %s ORDER BY k.created_at"
)
NAMES = ("event_window", "redacted_keys", "may_need_full_path")


@pytest.fixture(scope="module")
def url(postgres: Cluster) -> Iterator[str]:
    with postgres.database() as database:
        yield database


def copies(connection: psycopg.Connection[Any], project_id: UUID) -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in connection.execute(COPIES, (project_id,)).fetchall()]


@pytest.mark.parametrize(
    ("change", "copied"),
    [
        ({"event_window_days": 10}, {"event_window": timedelta(days=10)}),
        ({"retention_days": 7}, {"event_window": timedelta(days=7)}),
        ({"redacted_keys": ["iban"]}, {"redacted_keys": ["iban"]}),
        ({"consent_mode": "opt_in"}, {"may_need_full_path": True}),
        ({"consent_mode": "off"}, {"may_need_full_path": False}),
        ({"identifies_backwards": True}, {"may_need_full_path": True}),
    ],
    ids=lambda value: ", ".join(f"{name} {setting}" for name, setting in value.items()),
)
def test_a_changed_setting_is_copied_to_all_keys(url: str, change: dict[str, Any], copied: dict[str, Any]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        project_id = create_project(connection, f"changed {change}")
        before = create_key(connection, project_id, "write"), copies(connection, project_id)[0]
        update_project(connection, project_id, change)
        create_key(connection, project_id, "read")
        assert copies(connection, project_id) == [{**before[1], **copied}] * 2


def test_events_of_an_admin_key_may_be_older_than_the_event_window(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        project_id = create_project(connection, "imports")
        create_key(connection, project_id, "admin")
        update_project(connection, project_id, {"event_window_days": 10})
        assert copies(connection, project_id)[0]["event_window"] == timedelta(days=14610)


def test_a_key_needs_a_project(url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(
            psycopg.errors.ForeignKeyViolation, match=r"there is no project 00000000-0000-0000-0000-00000000000a"
        ),
    ):
        create_key(connection, UUID(int=10), "write")


@pytest.mark.parametrize("flag", ["has_decisions", "has_erasures"])
def test_a_project_with_decisions_or_erasures_may_need_the_full_path(url: str, flag: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        project_id, other = create_project(connection, flag), create_project(connection, f"not {flag}")
        for project in (project_id, other):
            create_key(connection, project, "write")
        # The flag's own statements are in muster.note_decisions and muster.begin_erasure.
        connection.execute(f"UPDATE muster.projects SET {flag} = true WHERE id = %s", (project_id,))
        flags = [copies(connection, project)[0]["may_need_full_path"] for project in (project_id, other)]
        assert flags == [True, False]


def test_a_key_that_is_created_during_a_change_has_the_new_setting(url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as connection,
        psycopg.connect(url) as creator,
        ThreadPoolExecutor(1) as threads,
    ):
        project_id = create_project(connection, "created during a change")
        create_key(creator, project_id, "write")
        change = threads.submit(
            connection.execute, "UPDATE muster.projects SET consent_mode = 'opt_in' WHERE id = %s", (project_id,)
        )
        with psycopg.connect(url, autocommit=True) as watcher:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
            while watcher.execute(waits, (creator.info.backend_pid,)).fetchone() == (0,):
                assert not change.done(), "the change did not wait for the new key"
        creator.commit()
        change.result(timeout=60)
        assert [copy["may_need_full_path"] for copy in copies(connection, project_id)] == [True]
