"""`make run`, as a newcomer starts it."""

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
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from local.postgres.binaries import find_binaries, reachable_binaries, server_user
from tests.support.databases import MIGRATIONS, Cluster
from tests.support.folders import open_folder
from tests.support.functions import a_batch

ROOT = Path(__file__).resolve().parents[2]


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
def running(state: Path, port: int, *arguments: str) -> Iterator[dict[str, Any]]:
    """make run in the background, until it says where it serves; ended by Ctrl-C."""
    command = [sys.executable, "-m", "local.cli.run", "--port", str(port), "--state", str(state), *arguments]
    environment = {**os.environ, "PYTHONPATH": "layers/shared"}
    environment.pop("DATABASE_URL", None)
    with (state / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 60
            while f"serves on http://127.0.0.1:{port}" not in (said := (state / "output").read_text()):
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.05)
            yield {**json.loads((state / "local.json").read_text()), "output": said}
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, (state / "output").read_text()


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


def post(api: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {api['keys']['write']}"}
    return httpx.post(f"{api['url']}/v1/events", json=a_batch(), headers=headers, trust_env=False, timeout=30)


def test_it_serves_prints_its_keys_and_keeps_them_and_the_data(state: Path, port: int) -> None:
    with running(state, port) as first:
        assert first["url"] == f"http://127.0.0.1:{port}"
        assert post(first).json()["accepted"] == 1
        for key in first["keys"].values():
            assert key in first["output"]
        assert (state / "local.json").stat().st_mode & 0o077 == 0
    with running(state, port) as second:
        assert second["keys"] == first["keys"]
        assert second["databaseUrl"] == first["databaseUrl"]
        headers = {"authorization": f"Bearer {second['keys']['read']}"}
        answer = httpx.get(f"{second['url']}/v1/diagnostics", headers=headers, trust_env=False).json()
        assert (answer["status"], answer["counts"]["analytics_events"]) == ("ok", 1)


def test_a_stopped_postgres_is_a_503_and_started_again_a_200(state: Path, port: int) -> None:
    with running(state, port) as api:
        cluster = state / "postgres" / "cluster"
        assert post(api).status_code == 200
        postmaster = psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0]))
        postmaster.send_signal(signal.SIGINT)
        while postmaster.is_running() and postmaster.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)
        for _ in range(3):
            down = post(api)
            assert (down.status_code, down.json()["error"]["code"]) == (503, "database_unavailable")
            assert int(down.headers["retry-after"]) > 0
        pg_ctl(cluster, "start", "-w", "-l", str(cluster / "by-hand.log"))
        try:
            assert [post(api).status_code for _ in range(3)] == [200, 200, 200]
        finally:
            pg_ctl(cluster, "stop", "-m", "fast")


def test_a_database_of_ones_own_is_migrated_and_used(state: Path, port: int, postgres: Cluster) -> None:
    with postgres.database(template="template0") as url:
        with running(state, port, "--database-url", url) as api:
            assert api["databaseUrl"] == url
            assert f"{len(list(MIGRATIONS.glob('*.sql')))} applied" in api["output"]
            assert post(api).status_code == 200
        with running(state, port, "--database-url", url) as again:
            assert again["keys"] == api["keys"]


def test_a_taken_port_and_a_database_that_is_away_are_told_in_a_sentence(state: Path, port: int) -> None:
    def fail(*arguments: str) -> str:
        command = [sys.executable, "-m", "local.cli.run", "--state", str(state), *arguments]
        environment = {**os.environ, "PYTHONPATH": "layers/shared"}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 1, run.stdout
        assert "Traceback" not in run.stderr
        return run.stderr

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert re.search(rf"Port {port} cannot be used: .*Choose another", fail("--port", str(port)))
    away = fail("--port", str(port), "--database-url", f"postgresql://muster@127.0.0.1:{port}/muster")
    assert "The database cannot be used" in away
