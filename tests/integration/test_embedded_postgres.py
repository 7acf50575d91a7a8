"""The embedded Postgres starts again with all committed data, however it ended."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from local.ports import free_port
from local.postgres import Postgres, PostgresError, find_binaries, start_postgres
from local.postgres.binaries import reachable_binaries, server_user
from local.postgres.processes import launch, wait_for_an_orphan
from tests.support.folders import open_folder

ROOT = Path(__file__).resolve().parents[2]
# Only a broken server takes as long as this.
LONGEST_SECONDS = 60
# Starts a server in one of its threads, prints its process id or the error, and waits until it is killed. Once the
# thread has ended, it prints the URL.
CHILD = """
import signal, sys, threading
from pathlib import Path
from local.postgres import PostgresError, start_postgres
servers = []  # keeps the server alive
def start():
    binaries = Path(sys.argv[3]) if sys.argv[3] else None
    try:
        server = start_postgres(Path(sys.argv[1]), durable=False, binaries=binaries)
        servers.append(server)
        print(server.pid, flush=True)
    except PostgresError as error:
        print(error, flush=True)
if sys.argv[2] == "main":
    start()
else:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
print(*[server.url for server in servers], flush=True)
signal.pause()
"""
# Makes half a cluster, and removes it on a signal to end, as the real one does.
STUCK_INITDB = """#!/bin/sh
trap 'rm -rf "$2"; exit 1' INT
touch "$2/PG_VERSION"
while :; do sleep 0.1; done
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short-lived folder that any user may pass through."""
    with open_folder() as opened:
        yield opened / "data"
        for cluster in opened.rglob("cluster"):  # of a parent that was killed
            wait_for_an_orphan(cluster)
        for kept in opened.rglob("sockets"):
            shutil.rmtree(kept.read_text())


def happens(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not (happened := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened


def is_serving(pid: int) -> bool:
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def ends(pid: int) -> bool:
    return happens(lambda: not is_serving(pid))


def write(server: Postgres, number: int) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def read(server: Postgres) -> list[int]:
    with psycopg.connect(server.url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


@contextmanager
def a_parent(folder: Path, *, thread: str = "main", binaries: Path | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Another process that starts a server. It is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), thread, str(binaries or "")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,  # -c imports from there
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def said(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_it_answers_over_tcp_and_over_its_socket(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        for url in (server.url, server.socket_url):
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("muster",)
                row = connection.execute("SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database").fetchone()
                assert row is not None
                assert row[1] == "UTF8"
        listening = {each.laddr.ip for each in psutil.Process(server.pid).net_connections("tcp")}
    assert listening == {"127.0.0.1"}


def test_a_wrong_password_is_refused(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        password = server.url.partition("muster:")[2].partition("@")[0]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url.replace(password, "guessed"))
        assert (server.data / "password").stat().st_mode & 0o077 == 0


def test_it_keeps_data_and_address_between_runs(folder: Path) -> None:
    with start_postgres(folder) as server:
        write(server, 1)
        url = server.url
    with start_postgres(folder) as server:
        assert server.url == url
        assert read(server) == [1]


def test_fresh_starts_over(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        write(server, 1)
    with start_postgres(folder, durable=False, fresh=True) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)


@pytest.mark.parametrize("end", ["stop", "immediate", "kill"])
def test_it_restarts_with_all_committed_data_however_it_ended(folder: Path, end: str) -> None:
    with start_postgres(folder) as server:
        url = server.url
        for number in range(3):
            write(server, number)
            pid = server.pid
            {"stop": server.stop, "immediate": lambda: server.stop(immediate=True), "kill": server.kill}[end]()
            assert not psutil.pid_exists(pid)
            server.start()
            assert read(server) == list(range(number + 1))
        assert server.url == url


@pytest.mark.parametrize("thread", ["main", "another"])
def test_it_outlives_its_starting_thread_and_ends_with_the_process(folder: Path, thread: str) -> None:
    with a_parent(folder, thread=thread) as parent:
        pid, url = int(said(parent)), said(parent)
        # A stopping server accepts no new connection.
        psycopg.connect(url).close()
    assert ends(pid)


def test_a_new_server_takes_over_the_data_of_a_killed_parent(folder: Path) -> None:
    with a_parent(folder) as parent:
        pid = int(said(parent))
        sockets = Path((folder / "sockets").read_text())
        assert sockets.is_dir()
    with start_postgres(folder, durable=False) as server:
        assert not is_serving(pid)
        write(server, 1)
        assert not sockets.exists()


def programs_with_a_stuck_initdb(folder: Path) -> Path:
    folder.mkdir()
    (folder / "postgres").symlink_to(reachable_binaries(find_binaries(), server_user()) / "postgres")
    (folder / "initdb").write_text(STUCK_INITDB)
    (folder / "initdb").chmod(0o755)
    return folder


def test_a_cluster_that_was_half_made_at_a_kill_is_made_again(folder: Path) -> None:
    with a_parent(folder, binaries=programs_with_a_stuck_initdb(folder.parent / "bin")):
        assert happens(lambda: any(folder.glob("cluster.partial-*/PG_VERSION")))
    assert not (folder / "cluster").exists()
    with start_postgres(folder, durable=False) as server:
        write(server, 1)
        assert read(server) == [1]


def test_a_busy_process_of_a_killed_server_does_not_block_a_restart(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server, closing(psycopg.connect(server.url)) as connection:
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        busy = connection.info.backend_pid
        with closing(psycopg.connect(server.url, autocommit=True)) as watcher:
            state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
            assert happens(lambda: watcher.execute(state, [busy]).fetchone() == ("active",))
        os.kill(server.pid, signal.SIGKILL)  # as the system does when memory runs out
        assert ends(server.pid)
        assert is_serving(busy)
        server.start()
        assert not is_serving(busy)
        write(server, 1)


def test_a_reused_process_number_is_not_taken_for_a_server(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        cluster = server.data / "cluster"
    user = {"user": server_user().uid, "group": server_user().gid, "extra_groups": []} if os.getuid() == 0 else {}
    # It waits for its input to end.
    with subprocess.Popen(["cat"], cwd="/", stdin=subprocess.PIPE, **user) as other:  # type: ignore[call-overload] # untyped keywords
        (cluster / "postmaster.pid").write_text(f"{other.pid}\n{cluster}\n")
        with start_postgres(folder, durable=False) as server:
            write(server, 1)
        assert other.poll() is None


def test_a_second_server_on_the_same_data_is_refused_by_name(folder: Path) -> None:
    in_use = pytest.raises(PostgresError, match=f"Process {os.getpid()} uses the database")
    with start_postgres(folder, durable=False), in_use:
        start_postgres(folder, durable=False)


def test_several_run_at_once(folder: Path) -> None:
    with start_postgres(folder / "a", durable=False) as one, start_postgres(folder / "b", durable=False) as two:
        write(one, 1)
        write(two, 2)
        assert (read(one), read(two)) == ([1], [2])


def test_one_of_several_processes_gets_the_data_and_the_others_say_so(folder: Path) -> None:
    with a_parent(folder) as one, a_parent(folder) as two, a_parent(folder / "other") as third:
        answers = sorted([said(one), said(two)])
        assert said(third).isdecimal()
    assert answers[0].isdecimal()
    assert re.search(r"Process \d+ uses the database .* Stop that process first", answers[1])


def test_a_server_started_by_hand_is_reported_by_its_process_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.postgres.processes.STOP_SECONDS", 0.2)
    with start_postgres(folder, durable=False) as server:
        cluster = server.data / "cluster"
    user = server_user()
    programs = reachable_binaries(find_binaries(), user)
    with (folder / "by-hand.log").open("wb") as log:
        by_hand = launch([str(programs / "postgres"), "-D", str(cluster), "-k", str(folder)], user, output=log)
    try:
        # A server makes the file first, and writes its number into it then.
        number = cluster / "postmaster.pid"
        assert happens(lambda: number.exists() and number.read_text("ascii").startswith(f"{by_hand.pid}\n"))
        with pytest.raises(PostgresError, match=f"Process {by_hand.pid} still serves .*: kill -INT {by_hand.pid}"):
            start_postgres(folder, durable=False)
        assert is_serving(by_hand.pid)
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()


def test_an_interrupted_initdb_is_repeated(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        data = server.data
    shutil.rmtree(data / "cluster" / "base")
    (data / "cluster").rename(data / "cluster.partial-killed")
    with start_postgres(folder, durable=False) as server:
        write(server, 1)
        assert not list(data.glob("cluster.partial*"))


def test_data_of_another_version_is_refused_with_that_version(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        version = server.data / "cluster" / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(PostgresError, match=r"PostgreSQL 14 made the data .* make run FRESH=1"):
        start_postgres(folder, durable=False)
    with start_postgres(folder, durable=False, fresh=True) as server:
        write(server, 1)


def test_a_taken_port_is_refused_with_its_number(folder: Path) -> None:
    with (
        start_postgres(folder / "a", durable=False) as one,
        pytest.raises(PostgresError, match="Another program uses port"),
    ):
        start_postgres(folder / "b", durable=False, port=one.port)


def test_a_port_taken_just_before_the_start_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        taken = listener.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr("local.postgres.folder.free_port", lambda: next(ports, 0) or free_port())
        with start_postgres(folder, durable=False) as server:
            assert server.port != taken
            write(server, 1)


def test_a_server_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    with pytest.raises(PostgresError, match="shared_buffers") as error:
        start_postgres(folder, durable=False, settings={"shared_buffers": "plenty"})
    assert "server.log" in str(error.value)


def test_root_starts_it_as_another_user_from_a_closed_folder(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root drops its rights; these tests do not run as root")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with start_postgres(closed / "data", durable=False) as server:
        assert psutil.Process(server.pid).uids().effective == server_user().uid != 0
        assert not server.data.is_relative_to(closed)
        with psycopg.connect(server.socket_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        data = server.data
    shutil.rmtree(data)


def test_it_starts_in_new_folders_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with start_postgres(folder / "new" / "data", durable=False) as server:
            write(server, 1)
            assert server.data == folder / "new" / "data"
    finally:
        os.umask(before)
