"""When a key was last used: known to the hour, and no request waits for it."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import psycopg
import pytest

from muster.auth import keys
from muster.auth.keys import hash_key
from muster.db.client import Database
from muster.platform.settings import Settings
from muster.service import AnalyticsService
from tests.support.databases import Project
from tests.support.functions import Answer, Caller, a_batch, an_event

POST, SESSION = "POST /v1/events", "PUT /v1/sessions/{sessionId}"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has not noted any key yet."""
    keys._noted.clear()
    yield
    keys._noted.clear()


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def last_used(owner: psycopg.Connection[Any], kind: str) -> datetime | None:
    row = owner.execute("SELECT last_used_at FROM muster.api_keys WHERE kind = %s", [kind]).fetchone()
    assert row is not None
    found: datetime | None = row[0]
    return found


def long_ago(owner: psycopg.Connection[Any], since: str) -> None:
    owner.execute("UPDATE muster.api_keys SET last_used_at = now() - %s::interval", [since])


def test_every_use_of_a_key_is_noted(
    post: Caller, on_sessions: Caller, on_metrics: Caller, on_diagnostics: Caller, owner: psycopg.Connection[Any]
) -> None:
    session = f"/v1/sessions/{uuid.uuid4()}"
    uses: tuple[tuple[str, Callable[[], Answer]], ...] = (
        ("write", lambda: post(POST, a_batch())),
        ("write", lambda: post(POST, a_batch(an_event(timestamp="2001-01-01T00:00:00Z")))),
        ("write", lambda: on_sessions(SESSION, {}, path=session)),
        ("read", lambda: on_metrics("GET /v1/metrics", kind="read")),
        ("read", lambda: on_diagnostics("GET /v1/diagnostics", kind="read")),
        ("admin", lambda: on_diagnostics("POST /v1/diagnostics/rejections/replay", kind="admin")),
    )
    for kind, use in uses:
        keys._noted.clear()
        long_ago(owner, "2 hours")
        before = last_used(owner, kind)
        assert use().status == 200
        after = last_used(owner, kind)
        assert before is not None
        assert after is not None
        assert after > before, (kind, use)


def test_within_the_hour_nothing_is_written(post: Caller, owner: psycopg.Connection[Any]) -> None:
    assert last_used(owner, "write") is None
    post(POST, a_batch())
    first = last_used(owner, "write")
    # This process remembers the key. Another one asks the database.
    post(POST, a_batch())
    keys._noted.clear()
    post(POST, a_batch())
    assert first is not None
    assert last_used(owner, "write") == first


def test_a_refused_request_is_no_use(post: Caller, on_diagnostics: Caller, owner: psycopg.Connection[Any]) -> None:
    assert post(POST, a_batch(), kind="read").status == 403
    assert post(POST, "not json").status == 400
    assert on_diagnostics("GET /healthz", kind="read").status == 200
    assert [last_used(owner, kind) for kind in ("write", "read", "admin")] == [None, None, None]


def test_a_revoked_key_is_not_noted(post: Caller, owner: psycopg.Connection[Any]) -> None:
    owner.execute("UPDATE muster.api_keys SET revoked_at = now()")
    assert post(POST, a_batch()).status == 401
    assert last_used(owner, "write") is None


def test_ingest_does_not_wait_for_a_lock_on_the_keys_row(
    post: Caller, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with owner.transaction():
        owner.execute("SELECT FROM muster.api_keys FOR UPDATE")
        assert post(POST, a_batch()).status == 200
    # A request that waited would end at the role's lock_timeout and log this.
    assert "key_use_not_noted" not in capsys.readouterr().out
    assert last_used(owner, "write") is None


def test_requests_at_once_note_a_key_without_waiting(
    database_url: str, project: Project, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ready = threading.Barrier(8)

    def work(_: int) -> int:
        settings = Settings(database_url=database_url, database_role="muster_ingest")
        database = Database(settings)
        try:
            connection = database.connection()
            ready.wait(60)
            keys._noted.clear()
            keys.note_use(connection, hash_key(project.keys["write"]))
            saved = AnalyticsService(database, key=project.keys["write"]).save_events("ada", uuid.uuid4(), [an_event()])
            return saved["accepted"]
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [1] * 8
    assert last_used(owner, "write") is not None
    assert "key_use_not_noted" not in capsys.readouterr().out


def test_a_use_that_cannot_be_noted_fails_no_request(
    post: Caller, owner: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    # As before a migration, or after a failover to a read-only server.
    owner.execute("DROP FUNCTION muster.note_key_use")
    assert post(POST, a_batch()).status == 200
    assert '"message":"key_use_not_noted"' in capsys.readouterr().out
    assert owner.execute("SELECT count(*) FROM muster.analytics_events").fetchone() == (2,)
