"""The browser client: its own tests and its size."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.web import WEB, node

MAX_GZIPPED_BYTES = 6 * 1024


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder of the built client."""
    node("node", "build.mjs")
    return WEB / "client" / "dist"


def test_the_clients_own_tests_pass() -> None:
    assert " passed" in node("npx", "vitest", "run", "--no-color")


def test_the_client_costs_a_page_6_kb_at_most(built: Path) -> None:
    for name in ("muster.js", "muster.mjs"):
        size = len(gzip.compress((built / name).read_bytes(), 9, mtime=0))
        assert 3_000 < size <= MAX_GZIPPED_BYTES, f"{name} has {size} bytes gzipped"


def test_the_clients_script_adds_one_global_name_and_no_eval(built: Path) -> None:
    script = (built / "muster.js").read_text("utf-8")
    # Everything is inside a function, so `muster` is the only name that reaches the page.
    assert script.removeprefix('"use strict";').startswith("(()=>{")
    assert script.rstrip().endswith("})();")
    assert "eval(" not in script
    assert "Function(" not in script


def test_the_client_needs_nothing_at_run_time() -> None:
    assert "dependencies" not in json.loads((WEB / "client" / "package.json").read_text("utf-8"))


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text("utf-8"))
    for name, package in lock["packages"].items():
        assert package.get("link") or "resolved" not in package, name
        assert package.get("link") or "integrity" in package or not name.startswith("node_modules/"), name
