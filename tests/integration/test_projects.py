"""make project, make keys and the like: projects and keys from a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from muster.auth.keys import authenticate, hash_key
from muster.platform.errors import InvalidKey

ROOT = Path(__file__).resolve().parents[2]


def projects(database_url: str | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": "layers/shared"}
    environment.pop("DATABASE_URL", None)
    named = ["--database-url", database_url] if database_url else []
    return subprocess.run(
        [sys.executable, "-m", "local.cli.projects", *named, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_projects_and_their_keys_are_created_changed_and_listed(database_url: str) -> None:
    made = projects(database_url, "project", "My pilot", "timeZone=Europe/Berlin", "allowedOrigins=https://a.example")
    assert made.returncode == 0, made.stderr
    assert "shown only once" in made.stdout
    write = re.findall(r"mw_\S+", made.stdout)[0]
    changed = projects(database_url, "project", "My pilot", "retentionDays=90", "rollupKeys=plan,tier")
    assert "mw_" not in changed.stdout
    listed = projects(database_url, "list").stdout
    for line in (
        "timeZone +Europe/Berlin",
        "allowedOrigins +https://a.example",
        "retentionDays +90",
        "rollupKeys +plan,tier",
    ):
        assert re.search(line, listed), listed
    another = projects(database_url, "key", "My pilot", "read", "--note", "dashboard\x1b[31m").stdout.split()[0]
    keys = projects(database_url, "keys", "My pilot").stdout
    assert len(keys.splitlines()) == 5
    assert (another[:8] in keys, another in keys, "\x1b" in keys) == (True, False, False)
    revoked = projects(database_url, "revoke", write)
    assert f"The write key {write[:8]}" in revoked.stdout
    with psycopg.connect(database_url) as connection, pytest.raises(InvalidKey):
        authenticate(connection, hash_key(write), ("write",))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["project", "p", "timeZone"], "A setting has the form name=value"),
        (["project", "p", "retentionDays=soon"], "'retentionDays' must be a whole number"),
        (["keys", "nowhere"], "There is no project 'nowhere'"),
        (["key", "nowhere", "root"], "'kind' must be one of"),
        (["revoke", "mw_nobod"], "There is no such key"),
    ],
)
def test_an_impossible_request_is_refused_in_a_sentence(database_url: str, arguments: list[str], sentence: str) -> None:
    finished = projects(database_url, *arguments)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert sentence in finished.stderr
