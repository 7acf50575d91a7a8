"""`make run` and `make demo` as a new user starts them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local.cli.run import main
from local.postgres.binaries import find_binaries, reachable_binaries, server_user
from tests.support.databases import Cluster
from tests.support.folders import open_folder
from tests.support.functions import a_batch
from tests.support.http import http

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 60
LAST_LINE = "Press Ctrl-C to stop."


@dataclass
class Started:
    """A running server and its output."""

    url: str
    database_url: str
    keys: dict[str, str]
    output: str
    """What it printed until it was ready."""
    rest: str = ""
    """What it printed after that."""

    def get(self, path: str) -> Any:
        headers = {"authorization": f"Bearer {self.keys['read']}"}
        return http.get(f"{self.url}{path}", headers=headers).raise_for_status().json()

    def post(self) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys['write']}"}
        return http.post(f"{self.url}/v1/events", json=a_batch(), headers=headers)


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder in place of .muster."""
    with open_folder() as opened:
        yield opened


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(state: Path, port: int, *arguments: str, module: str = "local.cli.run") -> Iterator[Started]:
    """The command in the background, from its last line on. Ctrl-C ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--port", str(port), "--state", str(state), *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith(LAST_LINE):
                break
        else:
            pytest.fail(f"It ended before it was ready:\n{output}")
        written = json.loads((state / "local.json").read_text("utf-8"))
        started = Started(written["url"], written["databaseUrl"], written["keys"], output)
        try:
            yield started
        finally:
            process.send_signal(signal.SIGINT)
            started.rest = process.stdout.read()
            assert process.wait() == 0, started.rest


def environment() -> dict[str, str]:
    found = {**os.environ, "PYTHONPATH": "layers/shared"}
    found.pop("DATABASE_URL", None)
    return found


def pg_ctl(cluster: Path, *arguments: str) -> None:
    """What an operator types; as root, in the name of the server's user."""
    user = server_user()
    program = str(reachable_binaries(find_binaries(), user) / "pg_ctl")
    subprocess.run(
        [program, "-D", str(cluster), *arguments],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        user=user.uid if os.getuid() == 0 else None,
        group=user.gid if os.getuid() == 0 else None,
        extra_groups=[] if os.getuid() == 0 else None,
    )


def test_the_terminal_shows_addresses_and_keys_but_no_log(state: Path, port: int) -> None:
    with running(state, port) as started:
        assert re.search(r"^Applied \d+ migrations?\.$", started.output, re.MULTILINE)
        assert f"Open http://127.0.0.1:{port} in a browser." in started.output
        for kind, key in started.keys.items():
            assert re.search(rf"^  {kind} key +{key}$", started.output, re.MULTILINE)
        for name in ("local.json", "postgres", "functions.log"):
            assert (state / name).exists()
            assert str(state / name) in started.output
        assert started.post().json()["accepted"] == 2
    assert started.rest.strip() == "Stopped."
    assert "{" not in started.output
    assert len(started.output.splitlines()) <= 16
    log = (state / "functions.log").read_text("utf-8")
    assert '"migrations_applied"' in log
    assert '"ingest_result"' in log


def test_logs_shows_the_log_on_the_terminal_and_keeps_the_file(state: Path, port: int) -> None:
    with running(state, port, "--logs") as started:
        started.post()
    assert 'IngestFunction | {"level":"INFO","message":"ingest_result"' in started.rest
    assert '"ingest_result"' in (state / "functions.log").read_text("utf-8")


def test_a_second_start_keeps_keys_data_and_the_last_log(state: Path, port: int) -> None:
    with running(state, port) as first:
        assert first.url == f"http://127.0.0.1:{port}"
        assert first.post().json()["accepted"] == 2
        assert (state / "local.json").stat().st_mode & 0o077 == 0
    with running(state, port) as second:
        assert "The database is up to date." in second.output
        assert second.keys == first.keys
        assert second.database_url == first.database_url
        answer = second.get("/v1/diagnostics")
        assert (answer["status"], answer["counts"]["analytics_events"]) == ("ok", 2)
        assert '"ingest_result"' in (state / "functions.log.1").read_text("utf-8")


def test_a_stopped_postgres_is_a_503_and_a_restarted_one_a_200(state: Path, port: int) -> None:
    with running(state, port) as started:
        cluster = state / "postgres" / "cluster"
        assert started.post().status_code == 200
        postmaster = psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0]))
        postmaster.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while postmaster.is_running() and postmaster.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(3):
            down = started.post()
            assert (down.status_code, down.json()["error"]["code"]) == (503, "database_unavailable")
            assert int(down.headers["retry-after"]) > 0
        pg_ctl(cluster, "start", "-w", "-l", str(cluster / "by-hand.log"))
        try:
            assert [started.post().status_code for _ in range(3)] == [200, 200, 200]
        finally:
            pg_ctl(cluster, "stop", "-m", "fast")


def test_the_users_own_database_is_migrated_and_used(state: Path, port: int, postgres: Cluster) -> None:
    with postgres.database(template="template0") as url:
        with running(state, port, "--database-url", url) as started:
            assert started.database_url == url
            assert url not in started.output
            assert "data       in the database of DATABASE_URL" in started.output
            assert re.search(r"^Applied \d+ migrations?\.$", started.output, re.MULTILINE)
            assert started.post().status_code == 200
        with running(state, port, "--database-url", url) as again:
            assert again.keys == started.keys


def fail(*arguments: str, module: str = "local.cli.run") -> str:
    """The one line that a command prints when it cannot start."""
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    (line,) = run.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_taken_port_is_reported_before_anything_starts(state: Path, command: str) -> None:
    module = "local.cli.run" if command == "run" else "local.demo.run"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        line = fail("--port", str(port), "--state", str(state), module=module)
    assert line == f"Another program uses port {port}. Choose another one: make {command} PORT={port + 1}"
    assert list(state.iterdir()) == []


def test_an_unreachable_database_is_reported_in_one_sentence(state: Path, port: int) -> None:
    url = f"postgresql://muster@127.0.0.1:{port}/muster"
    line = fail("--port", "0", "--state", str(state), "--database-url", url)
    assert line.startswith("The database cannot be used: ")
    assert line.endswith("Check DATABASE_URL, or leave it out.")


def test_fresh_never_empties_the_users_own_database(state: Path) -> None:
    line = fail("--port", "0", "--state", str(state), "--fresh", "--database-url", "postgresql://127.0.0.1/mine")
    assert "Leave out FRESH=1, or leave out DATABASE_URL." in line


def test_a_file_in_place_of_the_folder_is_reported_in_one_sentence(state: Path) -> None:
    (state / "file").touch()
    for folder in (state / "file", state / "file" / "below"):
        line = fail("--port", "0", "--state", str(folder))
        assert line == f"A file is where the folder {folder} should be. Remove that file."


@pytest.fixture
def in_process() -> Iterator[None]:
    """The command changes how this process takes SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_an_unwritable_folder_is_reported_in_one_sentence(
    in_process: None, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere
    assert main(["--port", "0", "--state", str(state)]) == 1
    assert capsys.readouterr().err == f"Your user may not write to {state}. Give it access to this folder.\n"


def test_a_missing_postgres_is_reported_with_its_remedy(
    in_process: None, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("local.postgres.binaries.PACKAGE", "not_installed")
    monkeypatch.setattr("local.postgres.binaries.SYSTEM_FOLDERS", ())
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["--port", "0", "--state", str(state)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("This machine has no PostgreSQL")
    assert line.endswith("make run DATABASE_URL=postgresql://…")


def test_a_demo_prints_paths_that_exist_and_keeps_its_keys_and_data(state: Path, port: int) -> None:
    folder = state / "demo"
    events = "/v1/metrics?timeframe=all"
    with running(folder, port, module="local.demo.run") as first:
        assert re.search(r"^Sending demo data: [\d,]+ events of \d+ participants\.$", first.output, re.MULTILINE)
        assert f"Open http://127.0.0.1:{port} in a browser." in first.output
        for name in ("local.json", "postgres", "functions.log"):
            assert (folder / name).exists()
            assert str(folder / name) in first.output
        assert "{" not in first.output
        sent = first.get(events)["totals"]["events"]
        assert sent > 5_000
    assert first.rest.strip() == "Stopped."
    with running(folder, port, module="local.demo.run") as second:
        assert "The demo data is already there." in second.output
        assert second.keys == first.keys
        assert sent <= second.get(events)["totals"]["events"] < sent + 500
    assert second.rest.strip() == "Stopped."
