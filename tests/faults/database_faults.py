"""Faults inside the database: lost sessions, locks, timeouts, logins and migrations."""

import random
import threading
from contextlib import ExitStack, suppress

import psycopg

from muster.db.migrate import migrate
from muster.platform.errors import MigrationRefused
from tests.faults.batches import SHARED_SESSION_SUFFIX
from tests.faults.environment import LOCK_TIMEOUT, LOGIN, FaultEnvironment
from tests.faults.waiting import wait_until
from tests.support.databases import MIGRATIONS

# These faults last until a function has failed with their SQLSTATE.
READ_ONLY, LOCK_TIMED_OUT, STATEMENT_TIMED_OUT, COMMIT_FAILED = "25006", "55P03", "57014", "58030"
EXPECTED_SQLSTATES = {
    "read_only": READ_ONLY,
    "lock_sessions": LOCK_TIMED_OUT,
    "time_out_statements": STATEMENT_TIMED_OUT,
    "fail_commits": COMMIT_FAILED,
}
TOO_MANY_CONNECTIONS, DEADLOCK = "53300", "40P01"

_HOLDER = "connection_holder"
_BACKENDS = f"FROM pg_stat_activity WHERE usename = '{LOGIN}' AND application_name <> '{_HOLDER}'"
_TERMINATE = f"SELECT pg_terminate_backend(pid) {_BACKENDS}"
_LOCK_SESSIONS = "LOCK TABLE muster.analytics_sessions IN ACCESS EXCLUSIVE MODE"
_SHARED_SESSIONS = f"SELECT id FROM muster.analytics_sessions WHERE id::text LIKE '%{SHARED_SESSION_SUFFIX}'"
_FAIL_COMMITS = f"""
    CREATE FUNCTION public.fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the commit failed' USING ERRCODE = '{COMMIT_FAILED}';
    END $$;
    CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT OR UPDATE ON muster.analytics_sessions
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.fail_commit();
"""
_WAITS_FOR_US = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"


def wait_for_backends(environment: FaultEnvironment) -> list[int]:
    """The processes of the server that serve functions; at least one."""
    found: list[int] = []

    def find() -> list[int]:
        with environment.connect() as connection:
            found.extend(pid for (pid,) in connection.execute(f"SELECT pid {_BACKENDS} ORDER BY pid"))
        return found

    wait_until(find, "No function opened a connection")
    return found


def terminate_backends(environment: FaultEnvironment, _: random.Random) -> None:
    """End all connections on the server's side, as a restart or a failover does."""
    wait_for_backends(environment)
    environment.execute(_TERMINATE)


def read_only(environment: FaultEnvironment, _: random.Random) -> None:
    """Refuse writes with 25006, as the old primary does after a failover."""
    environment.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    environment.execute("SELECT pg_reload_conf()")
    environment.wait_for_database_error(READ_ONLY)
    with environment.connect(options="-c default_transaction_read_only=off") as connection:
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")


def take_all_connections(environment: FaultEnvironment, _: random.Random) -> None:
    """Leave no connection, until the server has refused a function with 53300."""
    before = environment.link.sqlstates[TOO_MANY_CONNECTIONS]
    with environment.connect() as owner, ExitStack() as held:

        def take_one() -> bool:
            try:
                held.enter_context(
                    psycopg.connect(
                        environment.login_url(environment.server.port), autocommit=True, connect_timeout=5,
                        application_name=_HOLDER,
                    )
                )  # fmt: skip
            except psycopg.OperationalError:
                owner.execute(_TERMINATE.encode())
            return environment.link.sqlstates[TOO_MANY_CONNECTIONS] > before

        wait_until(take_one, "The server refused no connection of a function")


def lock_sessions(environment: FaultEnvironment, _: random.Random) -> None:
    """Lock a table for longer than functions wait for a lock: 55P03."""
    with environment.connect() as connection, connection.transaction():
        connection.execute(_LOCK_SESSIONS)
        environment.wait_for_database_error(LOCK_TIMED_OUT)


def time_out_statements(environment: FaultEnvironment, _: random.Random) -> None:
    """Lock a table for longer than a statement may take: 57014."""
    environment.execute("ALTER ROLE muster_ingest SET lock_timeout = '0'")
    environment.execute(_TERMINATE)
    with environment.connect() as connection, connection.transaction():
        connection.execute(_LOCK_SESSIONS)
        environment.wait_for_database_error(STATEMENT_TIMED_OUT)
    environment.execute(f"ALTER ROLE muster_ingest SET lock_timeout = '{LOCK_TIMEOUT}'")
    environment.execute(_TERMINATE)


def fail_commits(environment: FaultEnvironment, _: random.Random) -> None:
    """Let commits fail after the server has sent the answer of the statement: 58030."""
    environment.execute(_FAIL_COMMITS)
    environment.wait_for_database_error(COMMIT_FAILED)
    environment.execute("DROP FUNCTION public.fail_commit CASCADE")


def deadlock(environment: FaultEnvironment, _: random.Random) -> None:
    """Lock sessions in the opposite order of ingest, until it meets a deadlock (40P01). It then retries."""
    start = environment.log.length

    def cross_locks() -> bool:
        with (
            environment.connect() as observer,
            environment.connect() as connection,
            suppress(psycopg.errors.DeadlockDetected),
            connection.transaction(),
        ):
            # Ingest notices the deadlock first, so the server ends its transaction and not this one.
            connection.execute("SET LOCAL deadlock_timeout = '5s'")
            connection.execute(f"{_SHARED_SESSIONS} ORDER BY id DESC LIMIT 3 FOR UPDATE")
            us = [connection.info.backend_pid]
            wait_until(lambda: observer.execute(_WAITS_FOR_US, us).fetchone() != (0,), "No batch waited for a lock")
            connection.execute(f"{_SHARED_SESSIONS} ORDER BY id LIMIT 3 FOR UPDATE")
        return any(line["sqlstate"] == DEADLOCK for line in environment.log.database_failures(start))

    wait_until(cross_locks, "No function met a deadlock")


def rotate_credentials(environment: FaultEnvironment, rng: random.Random) -> None:
    """Change the password and end the connections that used the old one."""
    environment.change_password(rng)
    environment.execute(_TERMINATE)


def migrate_twice(environment: FaultEnvironment, _: random.Random) -> None:
    """Run two migrations at the same time."""

    def work() -> None:
        with suppress(psycopg.OperationalError, MigrationRefused), environment.connect() as connection:
            migrate(connection, MIGRATIONS)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
