"""The faults: each strikes for a while and is mended again. Their names are those of the report."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil
import psycopg

from muster.db.migrate import migrate
from muster.platform.errors import MigrationRefused
from tests.faults.world import World
from tests.support.databases import MIGRATIONS

Strike = Callable[[World, float], None]


def kill_server(world: World, seconds: float) -> None:
    """Kill -9 of all its processes, perhaps in mid-commit, and a start from what is on disk."""
    world.server.kill()
    time.sleep(seconds / 4)
    world.server.start()


def kill_one_backend(world: World, _: float) -> None:
    """Kill -9 of one backend: the server ends them all and recovers by itself."""
    with world.connect() as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'app'").fetchall()
    if found:
        with suppress(ProcessLookupError):
            os.kill(world.chance.choice(found)[0], signal.SIGKILL)
        wait_until_up(world)


def immediate_shutdown(world: World, seconds: float) -> None:
    """What a failing host does."""
    world.server.stop(immediate=True)
    time.sleep(seconds / 4)
    world.server.start()


def terminate_backends(world: World, _: float) -> None:
    """57P01, as of a restart or a failover."""
    world.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")


def read_only(world: World, seconds: float) -> None:
    """25006, as of a server that was failed over from."""
    world.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    world.execute("SELECT pg_reload_conf()")
    time.sleep(seconds)
    with world.connect(options="-c default_transaction_read_only=off") as connection:
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")


def take_all_connections(world: World, seconds: float) -> None:
    """53300: no connection is left."""
    until = time.monotonic() + seconds
    with world.connect() as owner, ExitStack() as taken:
        while time.monotonic() < until:
            try:
                taken.enter_context(
                    psycopg.connect(direct(world), autocommit=True, connect_timeout=2, application_name="taker")
                )
            except psycopg.OperationalError:
                # None is left; what functions hold is taken from them, until they find none.
                owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND "
                    "application_name <> 'taker'"
                )


def lock_sessions(world: World, seconds: float) -> None:
    """55P03: a table is locked for longer than functions wait for a lock."""
    with world.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE muster.analytics_sessions IN ACCESS EXCLUSIVE MODE")
        time.sleep(max(seconds, 1.0))


def time_out_statements(world: World, seconds: float) -> None:
    """57014: statements take longer than they may."""
    world.execute("ALTER ROLE muster_ingest SET lock_timeout = '0'")
    terminate_backends(world, seconds)
    with world.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE muster.analytics_sessions IN ACCESS EXCLUSIVE MODE")
        time.sleep(max(seconds, 2.0))
    world.execute("ALTER ROLE muster_ingest SET lock_timeout = '500ms'")
    terminate_backends(world, seconds)


def deadlock(world: World, _: float) -> None:
    """40P01: sessions are locked in the order that ingest does not take, while it locks them in its own."""
    latest = "SELECT id FROM muster.analytics_sessions WHERE id::text LIKE '%-0000-4000-8000-000000000000'"
    with world.connect() as connection, suppress(psycopg.errors.DeadlockDetected), connection.transaction():
        # Ingest notices first, and is chosen to give way.
        connection.execute("SET LOCAL deadlock_timeout = '5s'")
        for order in ("DESC", "ASC"):
            connection.execute(f"{latest} ORDER BY id {order} LIMIT 3 FOR UPDATE")
            time.sleep(0.2)


def slow_link(world: World, seconds: float) -> None:
    """Every packet takes its time."""
    world.link.delay_seconds = world.chance.uniform(0.05, 0.3)
    time.sleep(seconds)
    world.link.delay_seconds = 0.0


def cut_link(world: World, _: float) -> None:
    """All connections end without a word."""
    world.link.cut_all()


def cut_reply(world: World, _: float) -> None:
    """A connection ends in the middle of an answer."""
    world.link.fault = "cut_reply"


def half_close(world: World, seconds: float) -> None:
    """The server's side of connections is closed, and the other is not."""
    world.link.fault = "half_close"
    time.sleep(seconds / 4)
    world.link.fault = None


def lose_answer(world: World, seconds: float) -> None:
    """What is committed is not told: the connection ends between the commit and its answer."""
    world.link.fault = "lose_answer"
    time.sleep(seconds / 4)
    world.link.fault = None


def kill_function_after_commit(world: World, seconds: float) -> None:
    """A function is killed between its commit and its answer."""
    world.link.when_answer_is_lost = lambda: kill_functions(world)
    lose_answer(world, seconds)
    world.link.when_answer_is_lost = None


def kill_function(world: World, _: float) -> None:
    """A function is killed at any moment."""
    kill_functions(world)


def fill_disk(world: World, seconds: float) -> None:
    """ENOSPC, for tables and for the log of transactions."""
    if world.disk is None:
        world.left_out.add("fill_disk")
        return
    ballast = world.disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 65536)
    time.sleep(seconds)
    ballast.unlink()
    world.be_up()


def rotate_credentials(world: World, _: float) -> None:
    """The password changes, and connections that were made with the old one end."""
    world.new_password()
    terminate_backends(world, 0)


def migrate_twice(world: World, _: float) -> None:
    """Two migrations at once."""

    def work() -> None:
        with suppress(psycopg.OperationalError, MigrationRefused), world.connect() as connection:
            migrate(connection, MIGRATIONS)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


STRIKES: dict[str, Strike] = {
    strike.__name__: strike
    for strike in (
        kill_server,
        kill_one_backend,
        immediate_shutdown,
        terminate_backends,
        read_only,
        take_all_connections,
        lock_sessions,
        time_out_statements,
        deadlock,
        slow_link,
        cut_link,
        cut_reply,
        half_close,
        lose_answer,
        kill_function_after_commit,
        kill_function,
        fill_disk,
        rotate_credentials,
        migrate_twice,
    )
}


def kill_functions(world: World) -> None:
    """Kill -9 of one function's environments, or of all."""
    processes = world.function_processes()
    for process in processes if world.chance.random() < 0.5 else processes[:1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def direct(world: World) -> str:
    """The functions' login, to the server itself."""
    return world.login.replace(f":{world.link.port}/", f":{world.server.port}/")


def wait_until_up(world: World) -> None:
    """Wait while the server recovers by itself."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if world.answers():
            return
        time.sleep(0.05)
    world.be_up()
