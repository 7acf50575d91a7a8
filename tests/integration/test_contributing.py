"""CONTRIBUTING.md: its recipes are followed step by step on a copy of the repository, and what they add works."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Cluster

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
RECIPES = [
    "Add a filter",
    "Add a route",
    "Add a check to diagnostics",
    "Add a migration",
    "Add a SQL function",
]
COMMANDS = {"schema": "local.cli.schema", "openapi": "local.openapi"}
_STEP = re.compile(r"^\d+\. ", re.MULTILINE)
_BLOCK = re.compile(r"^ {3}```\w+\n(.*?)^ {3}```$", re.MULTILINE | re.DOTALL)

# On a copy that has followed the recipes: everything that they add, through the handlers and SQL.
PROGRAM = """
import contextlib, json, sys
import psycopg, pytest
from functions.diagnostics import app as diagnostics
from functions.ingest import app as ingest
from functions.metrics import app as metrics
from muster.api.app import database
from muster.db.client import call_value
from muster.projects.actions import run_action
from local.paths import MIGRATIONS
from tests.support.databases import make_project
from tests.support.functions import Caller, a_batch, an_event

url = sys.argv[1]
with contextlib.redirect_stdout(sys.stderr), pytest.MonkeyPatch.context() as environment:  # its log
    with psycopg.connect(url, autocommit=True) as connection:
        migrated = run_action(connection, MIGRATIONS, {"action": "migrate"})
        project = make_project(url)
        environment.setenv("DATABASE_URL", url)
        environment.setenv("DATABASE_ROLE", "muster_ingest")
        post = Caller(ingest.lambda_handler, project, "muster_ingest", environment)
        post("POST /v1/events", a_batch(an_event(area="shop"), an_event(area="shelf"), an_event(area="cart")))
        read = Caller(metrics.lambda_handler, project, "muster_reader", environment)
        diagnose = Caller(diagnostics.lambda_handler, project, "muster_reader", environment)
        shown = lambda **query: read("GET /v1/metrics", kind="read", query=query).json["totals"]["events"]
        answer = {
            "migrated": [migrated["status"], migrated["differences"], migrated["applied"][-1]],
            "filtered": [shown(areaPrefix="sh"), shown(areaPrefix=["shop", "ca"]), shown(areaPrefix="x"), shown()],
            "browsers": read("GET /v1/metrics/browsers", kind="read").json,
            "refused": read("GET /v1/metrics/browsers", kind="write").code,
            "checks": [each for each in diagnose("GET /v1/diagnostics", kind="read").json["checks"]
                       if each["name"] == "collation"],
        }
        connection.execute("UPDATE muster.analytics_sessions SET referrer = 'example.com'")
        answer["referred"] = call_value(connection, "count_referred_sessions", {"project_id": project.id})
    database().close()
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Step:
    """One numbered step: what it says, and the text that it adds, if any."""

    says: str
    adds: str | None


def steps(recipe: str) -> list[Step]:
    section = TEXT.split(f"\n## {recipe}\n")[1].split("\n## ")[0]
    found = []
    for part in _STEP.split(section)[1:]:
        step = re.split(r"\n\n+(?=\S)", part)[0] + "\n"  # what follows is no part of it
        says, block = step.split("\n\n")[0], _BLOCK.search(step)
        found.append(Step(" ".join(says.split()), re.sub("^ {3}", "", block[1], flags=re.MULTILINE) if block else None))
    return found


class Copy:
    """A copy of the repository that follows steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in files.split("\0"):
            if name and not name.startswith(("web/", "docs/")) and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        numbers = [int(path.name[:4]) for path in (folder / "migrations").glob("[0-9]*.sql")]
        self.next_migration = f"{max(numbers) + 1:04d}"

    def follow(self, step: Step) -> None:
        if match := re.match(r"Create `(\S+)`", step.says):
            path = self.folder / match[1].replace("NNNN", self.next_migration)
            assert not path.exists(), step.says
            assert step.adds is not None
            path.write_text(step.adds, "utf-8")
        elif match := re.match(r"In `(\S+)`(?:, under `([^`]+)`)?, (before|after) `([^`]+)`, add", step.says):
            assert step.adds is not None
            self._insert(self.folder / match[1], match[2] or "", match[3], match[4], step.adds)
        elif match := re.match(r"Run `make", step.says):
            for target in re.findall(r"`make (\w+)`", step.says):
                self.run("-m", COMMANDS[target])
        else:
            assert step.adds is None, f"a step that no one follows: {step.says}"

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": f"{self.folder}:{self.folder / 'layers' / 'shared'}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        return done.stdout

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))

    @staticmethod
    def _insert(path: Path, under: str, where: str, anchor: str, text: str) -> None:
        lines = path.read_text("utf-8").splitlines(keepends=True)
        start = next(number for number, line in enumerate(lines) if line.strip().startswith(under))
        place = next(number for number, line in enumerate(lines) if number >= start and line.strip().startswith(anchor))
        place += where == "after"
        indent = re.match(r" *", lines[place])
        assert indent is not None
        lines.insert(place, textwrap.indent(textwrap.dedent(text), indent[0]))
        path.write_text("".join(lines), "utf-8")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_files_that_a_recipe_names_are_there(recipe: str) -> None:
    created: set[str] = set()
    for step in steps(recipe):
        created |= set(re.findall(r"^Create `(\S+)`", step.says))
        named = set(re.findall(r"`((?:layers|migrations|functions|tests|local)/\S+|template\.yaml)`", step.says))
        assert [name for name in named - created if not (ROOT / name).exists()] == [], step.says


def test_every_recipe_is_followed() -> None:
    assert re.findall(r"^## (Add .+)$", TEXT, re.MULTILINE) == RECIPES


def test_the_recipes_work_as_they_stand(postgres: Cluster, tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    listed = [step for recipe in RECIPES for step in steps(recipe)]
    assert len(listed) > len(RECIPES) * 2
    commands = [step for step in listed if step.says.startswith("Run ")]
    for step in [step for step in listed if step not in commands]:
        copy.follow(step)
    # Once for all recipes; each of them ends with these.
    targets = {target for step in commands for target in re.findall(r"`make (\w+)`", step.says)}
    assert targets == set(COMMANDS)
    copy.follow(Step(" and ".join(f"Run `make {target}`" for target in sorted(targets)), None))
    paths = copy.json("functions/web/openapi.json")["paths"]
    assert paths["/v1/metrics/browsers"]["get"]["operationId"] == "get_browsers"
    assert "areaPrefix" in [each["name"] for each in paths["/v1/metrics"]["get"]["parameters"]]
    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_agreement.py")
    with postgres.database(template="template0") as url:
        answer = json.loads(copy.run("-c", PROGRAM, url))
    assert answer["migrated"] == ["ok", [], f"{copy.next_migration}_session_referrers"]
    assert answer["filtered"] == [2, 2, 0, 3]
    assert answer["browsers"] == {"sessions": {"Chrome": 1}}
    assert answer["refused"] == "key_not_allowed"
    assert [check["status"] for check in answer["checks"]] == ["pass"]
    assert answer["referred"] == 1
