"""make doctor: the diagnostics as a table, and an exit status that a script can use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg

from local.gateway.server import local_api
from tests.support.databases import Cluster, make_project

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local.cli.doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "layers/shared", "no_proxy": "*", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_reports_what_fails_and_how_to_fix_it(postgres: Cluster) -> None:
    with postgres.database() as url:
        key = make_project(url).keys["read"]
        with local_api(environment={"DATABASE_URL": url}, parameters={"DatabaseMode": "external"}) as api:
            well = doctor("--url", api.url, "--key", key)
            assert well.returncode == 0, well.stderr
            assert "Muster is ok (ingest is direct)." in well.stdout
            assert "write_canary" in well.stdout
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP INDEX muster.analytics_events_time")
            broken = doctor("--url", api.url, "--key", key)
            assert broken.returncode == 1
            assert "Muster is failing" in broken.stdout
            assert "CREATE INDEX analytics_events_time" in broken.stdout.replace("\n", " ")
            as_json = doctor("--url", api.url, "--key", key, "--json")
            assert (as_json.returncode, json.loads(as_json.stdout)["status"]) == (1, "failing")
            refused = doctor("--url", api.url, "--key", "mr_unknown")
            assert (refused.returncode, refused.stdout) == (2, "")
            assert "unknown or revoked" in refused.stderr


def test_an_unreachable_server_is_named() -> None:
    finished = doctor("--url", "http://127.0.0.1:1", "--key", "mr_key")
    assert finished.returncode == 2
    assert "No Muster answers at http://127.0.0.1:1" in finished.stderr
