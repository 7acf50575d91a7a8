"""make mutants: a change that no test notices survives, in Python and in SQL, and one that a test notices does not."""

import json
import subprocess
import sys
from pathlib import Path

from local.paths import PROJECT

MODULE = """
from functools import cache

@cache
def limit() -> int:
    return 24

def is_late(hours: int) -> bool:
    return hours > limit()
"""
FUNCTION = """
CREATE OR REPLACE FUNCTION muster.is_late(p_hours integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN p_hours > 24; -- 24 < 25 AND NOT 'true'
END
$$;
"""
TESTS = """
import psycopg
import pytest
from tests.support.databases import cluster
from late_events import is_late

@pytest.fixture(scope="module")
def url():
    with cluster() as server, server.database() as made:
        yield made

def test_sql(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT muster.is_late(25), muster.is_late(1)").fetchone() == (True, False)
    assert is_late(99)  # only this test runs the line of the cached function

# The last test that uses the database of both.
def test_python(url: str) -> None:
    assert is_late(25) and not is_late(1)
"""
EQUIVALENTS = """
[[equivalent]]
file = "{file}"
changed = ["- return hours > limit()", "+ return hours >= limit()"]
reason = "An event is never exactly 24 hours late."
"""


def test_a_mutant_survives_weak_tests_and_is_killed_by_strong_ones(tmp_path: Path) -> None:
    module, function, tests = tmp_path / "late_events.py", tmp_path / "is_late.sql", tmp_path / "test_late_events.py"
    equivalents = tmp_path / "equivalents.toml"
    module.write_text(MODULE, "utf-8")
    function.write_text(FUNCTION, "utf-8")
    tests.write_text(TESTS, "utf-8")
    equivalents.write_text(EQUIVALENTS.format(file=module.as_posix()), "utf-8")
    options = ("--tests", str(tests), "--equivalents", str(equivalents), "--state", str(tmp_path))
    finished = subprocess.run(
        [sys.executable, "-m", "tests.mutants.run", str(module), str(function), "--json", *options],
        cwd=PROJECT,
        env={"PYTHONPATH": f"layers/shared:{tmp_path}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    mutants = json.loads(finished.stdout)["mutants"]
    found = {(Path(each["file"]).suffix, each["changed"][1]): each for each in mutants}
    assert {change: each["outcome"] for change, each in found.items()} == {
        (".py", "+ return hours >= limit()"): "survived",
        (".py", "+ return hours <= limit()"): "killed",
        (".py", "+ return 25"): "killed",
        (".py", "+ return 23"): "survived",
        (".sql", "+ RETURN p_hours >= 24; -- 24 < 25 AND NOT 'true'"): "survived",
        (".sql", "+ RETURN p_hours > 25; -- 24 < 25 AND NOT 'true'"): "killed",
        (".sql", "+ RETURN p_hours > 23; -- 24 < 25 AND NOT 'true'"): "survived",
    }
    assert [each["explained"] for each in mutants if each["explained"]] == ["An event is never exactly 24 hours late."]
    assert {each["line"] for each in mutants} == {4, 6, 9}
    assert "7 of 7 mutants" in finished.stderr
    assert "3 killed, 4 survived (1 of them explained), 0 timed out, 0 invalid" in finished.stderr
